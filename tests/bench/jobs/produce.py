"""Submits tasks to Celery, one after the other, for so many seconds; prints how many.

Prints "go" before the first one that is counted in time: connecting is not.
"""

import sys
import time

from tasks import user_request


def submit():
    user_request.delay("ada", "what a user asks for")


def main():
    seconds = float(sys.argv[1])
    submit()
    print("go", flush=True)
    end = time.monotonic() + seconds
    count = 1
    while time.monotonic() < end:
        submit()
        count += 1
    print(count, flush=True)


if __name__ == "__main__":
    main()
