"""A counting client by python-socketio: client.py URL WINDOW SECONDS.

From start_game on, it counts for SECONDS with up to WINDOW numbers that are not acknowledged. It
prints how many were acknowledged in that time, and each time of an acknowledgement in milliseconds,
as JSON.
"""

import json
import sys
import threading
import time

import socketio

URL, WINDOW, SECONDS = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
client = socketio.Client(reconnection=False)
slots = threading.Semaphore(WINDOW)
assigned = {}
started = threading.Event()
times = []


@client.event
def client_assigned(data):
    assigned.update(data)


@client.event
def start_game():
    started.set()


client.connect(URL, transports=["websocket"])
if not started.wait(30):
    sys.exit("no start_game")
end = time.monotonic() + SECONDS
number = 1 if assigned["client_id"] == "client1" else 2


def acknowledged(sent_at):
    def handle(answer):
        now = time.monotonic()
        if now < end:
            times.append(round((now - sent_at) * 1000, 3))
        slots.release()

    return handle


while time.monotonic() < end:
    if slots.acquire(timeout=0.1):
        message = {"client_id": assigned["client_id"], "number": number}
        client.emit("number", message, callback=acknowledged(time.monotonic()))
        number += 2
client.disconnect()
print(json.dumps(times))
