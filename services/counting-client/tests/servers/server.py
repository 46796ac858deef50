"""A counting server written with python-socketio: server.py PORT FILE.

It hands out the roles in order, keeps the numbers of each role in FILE, one "ROLE NUMBER" a line,
and prints what it does. A number that leaves out one of its role ends it. A number is acknowledged,
with nothing, once all numbers before it are there. A client learns its role before its connection
is accepted.
"""

import asyncio
import os
import sys

import socketio
from aiohttp import web

PORT, FILE = int(sys.argv[1]), sys.argv[2]
ROLES = ["client1", "client2"]
last = dict.fromkeys(ROLES, 0)
holders = {}

if os.path.exists(FILE):
    for line in open(FILE):
        role, number = line.split()
        last[role] = int(number)

server = socketio.AsyncServer(async_mode="aiohttp", ping_interval=1, ping_timeout=1)
counted = asyncio.Condition()


def following(role):
    return last[role] + 2 if last[role] else ROLES.index(role) + 1


def say(text):
    print(text, flush=True)


@server.event
async def connect(sid, environ, auth):
    free = [role for role in ROLES if role not in holders.values()]
    if not free:
        raise socketio.exceptions.ConnectionRefusedError("both roles are taken")
    wanted = (auth or {}).get("role")
    role = wanted if wanted in free else free[0]
    holders[sid] = role
    say(f"{role} connected, auth {auth}")
    await server.emit("client_assigned", {"client_id": role, "last_number": last[role]}, to=sid)
    if len(holders) == 2:
        await server.emit("start_game")
        # The one that connects is not among the connections yet.
        await server.emit("start_game", to=sid)


@server.event
async def number(sid, data):
    role, value = holders[sid], data["number"]
    if data["client_id"] != role or value > following(role):
        say(f"WRONG {data} of {role}, whose next number is {following(role)}")
        os._exit(1)
    if value == following(role):
        with open(FILE, "a") as file:
            file.write(f"{role} {value}\n")
        last[role] = value
        say(f"{role} {value}")
    else:
        say(f"again {role} {value}")
    async with counted:
        counted.notify_all()
        await counted.wait_for(lambda: value < min(map(following, ROLES)))


@server.event
async def disconnect(sid, reason):
    say(f"{holders.pop(sid, None)} disconnected: {reason}")
    await server.emit("stop_game")


async def started(app):
    say("listening")


application = web.Application()
application.on_startup.append(started)
server.attach(application)
web.run_app(application, host="127.0.0.1", port=PORT, print=None, handle_signals=False)
