"""A client as in the field, written with python-socketio on asyncio: asynchronous.py URL TRANSPORTS LAST.

It takes its role and the place where it begins from its first client_assigned only, counts on by
itself up to LAST, and ends when it is disconnected. It prints what the server answers.
"""

import asyncio
import json
import os
import sys

import socketio

URL, TRANSPORTS, LAST = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])
client = socketio.AsyncClient(reconnection=False)
running = asyncio.Event()
role, number = None, None


def say(text):
    print(text, flush=True)


@client.event
async def client_assigned(data):
    global role, number
    if role is None:
        role = data["client_id"]
        number = data["last_number"] or (1 if role == "client1" else 2)
        say(f"role {role} {number}")


@client.event
async def start_game(*data):
    say(f"start {len(data)}")
    running.set()


@client.event
async def stop_game(*data):
    say(f"stop {len(data)}")
    running.clear()


@client.event
async def disconnect(reason):
    say(f"disconnected {reason}")
    os._exit(0)


def answered(sent):
    return lambda answer: say(f"answer {sent} {json.dumps(answer)} by {client.transport()}")


async def main():
    global number
    try:
        await client.connect(URL, transports=TRANSPORTS)
    except socketio.exceptions.ConnectionError as error:
        say(f"refused {error}")
        os._exit(1)
    await running.wait()
    while number <= LAST:
        await running.wait()
        await client.emit("number", {"client_id": role, "number": number}, callback=answered(number))
        number += 2
        await asyncio.sleep(0.02)
    await client.wait()


asyncio.run(main())
