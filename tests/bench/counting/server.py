"""The counting server on Flask-SocketIO: server.py MODE PORT FILE.

MODE is `threading` or `eventlet`. Each number is a line in words, appended and synced by itself, and
then acknowledged. The server gives the roles in the order in which clients come and starts them
together; it keeps no order of the numbers and rejects none.
"""

import os
import sys

MODE, PORT, FILE = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if MODE == "eventlet":
    import eventlet

    eventlet.monkey_patch()

import threading

import flask
from flask_socketio import SocketIO, emit
from num2words import num2words

app = flask.Flask(__name__)
server = SocketIO(app, async_mode=MODE)
lock = threading.Lock()
numbers = open(FILE, "a")
roles = {"client1": None, "client2": None}


@server.on("connect")
def connect():
    for role, holder in roles.items():
        if holder is None:
            roles[role] = flask.request.sid
            emit("client_assigned", {"client_id": role, "last_number": 0})
            break
    if all(roles.values()):
        server.emit("start_game")


@server.on("disconnect")
def disconnect(reason=None):
    for role, holder in roles.items():
        if holder == flask.request.sid:
            roles[role] = None


@server.on("number")
def number(data):
    line = num2words(data["number"]) + "\n"
    with lock:
        numbers.write(line)
        numbers.flush()
        os.fsync(numbers.fileno())
    return {"ok": True, "number": data["number"]}


server.run(app, host="127.0.0.1", port=PORT, log_output=False, allow_unsafe_werkzeug=True)
