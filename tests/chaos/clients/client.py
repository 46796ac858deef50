"""A counting client written with python-socketio: client.py URL MODE.

MODE is `resume`: it connects again by itself, begins where each client_assigned says, and waits for
each acknowledgement; or `field`: it takes its role and the place where it begins from its first
client_assigned only, counts on by itself, and ends when it is disconnected.

It prints `ack NUMBER` for each number that the server has acknowledged.
"""

import os
import sys
import threading

import socketio

URL, IS_FIELD = sys.argv[1], sys.argv[2] == "field"
PAUSE = 0.005 if IS_FIELD else 0
client = socketio.Client(reconnection=not IS_FIELD, reconnection_delay=0.1, reconnection_delay_max=1)
may_send = threading.Event()
running = threading.Event()
state = {"role": None, "number": None}


def acknowledged(sent):
    def handle(answer=None):
        if answer and answer["ok"]:
            print(f"ack {sent}", flush=True)
        if not IS_FIELD and state["number"] == sent:
            state["number"] = sent + 2
            may_send.set()

    return handle


@client.event
def client_assigned(data):
    if IS_FIELD and state["role"] is not None:
        return
    first = 1 if data["client_id"] == "client1" else 2
    last = data["last_number"]
    state["role"] = data["client_id"]
    state["number"] = (last or first) if IS_FIELD else (last + 2 if last else first)
    may_send.set()


@client.event
def start_game():
    running.set()


@client.event
def stop_game():
    running.clear()


@client.event
def disconnect(reason):
    print(f"disconnected {reason}", flush=True)
    running.clear()
    if IS_FIELD or reason == client.reason.SERVER_DISCONNECT:
        os._exit(0)


try:
    client.connect(URL, transports=["websocket"], wait_timeout=5)
except socketio.exceptions.ConnectionError as error:
    print(f"refused {error}", flush=True)
    os._exit(1)
while True:
    running.wait()
    if not IS_FIELD:
        may_send.wait()
        may_send.clear()
    role, number = state["role"], state["number"]
    try:
        client.emit("number", {"client_id": role, "number": number}, callback=acknowledged(number))
    except socketio.exceptions.SocketIOError:
        if IS_FIELD:
            os._exit(1)
        continue
    if IS_FIELD:
        state["number"] = number + 2
        client.sleep(PAUSE)
