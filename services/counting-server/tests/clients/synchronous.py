"""A client as in the field, written with python-socketio: synchronous.py URL TRANSPORTS LAST.

It takes its role and the place where it begins from its first client_assigned only, counts on by
itself up to LAST, and ends when it is disconnected. It prints what the server answers.
"""

import json
import os
import sys
import threading

import socketio

URL, TRANSPORTS, LAST = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])
client = socketio.Client(reconnection=False)
# Handlers run in threads of their own, in any order.
assigned = threading.Event()
running = threading.Event()
role, number = None, None


def say(text):
    # At once, because handlers run in threads of their own.
    os.write(1, f"{text}\n".encode())


@client.event
def client_assigned(data):
    global role, number
    if role is None:
        role = data["client_id"]
        number = data["last_number"] or (1 if role == "client1" else 2)
        say(f"role {role} {number}")
        assigned.set()


@client.event
def start_game(*data):
    say(f"start {len(data)}")
    running.set()


@client.event
def stop_game(*data):
    say(f"stop {len(data)}")
    running.clear()


@client.event
def disconnect(reason):
    say(f"disconnected {reason}")
    os._exit(0)


def answered(sent):
    return lambda answer: say(f"answer {sent} {json.dumps(answer)} by {client.transport()}")


try:
    client.connect(URL, transports=TRANSPORTS)
except socketio.exceptions.ConnectionError as error:
    say(f"refused {error}")
    os._exit(1)
assigned.wait()
while number <= LAST:
    running.wait()
    client.emit("number", {"client_id": role, "number": number}, callback=answered(number))
    number += 2
    client.sleep(0.02)
client.wait()
