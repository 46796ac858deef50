"""Submits tasks to Celery for so many seconds, from so many threads; prints how many.

Each thread waits for the confirm of one task before it submits the next one. Prints
"go" when all are connected, and the first one that is counted in time follows.
"""

import sys
import threading
import time

from tasks import user_request


def submit():
    user_request.delay("ada", "what a user asks for")


def submit_for(seconds, barrier, counts):
    submit()
    barrier.wait()
    count = 1
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        submit()
        count += 1
    counts.append(count)


def main():
    seconds, threads = float(sys.argv[1]), int(sys.argv[2])
    counts = []
    barrier = threading.Barrier(threads, action=lambda: print("go", flush=True))
    submitters = [threading.Thread(target=submit_for, args=(seconds, barrier, counts)) for _ in range(threads)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join()
    if len(counts) < threads:
        sys.exit("a thread has failed")
    print(sum(counts), flush=True)


if __name__ == "__main__":
    main()
