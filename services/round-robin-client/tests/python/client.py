"""Sends messages to round-robin-server and prints the answers: client.py ws://HOST:8002/ws NAME COUNT.

Made from docs/round-robin.md alone. It stores nothing: each run continues where the server is.
"""
import asyncio, itertools, json, random, sys, websockets

url, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
hello = {"type": "hello", "client_id": name}  # with epoch and last_served, once they are known
waiting, following = {}, 0  # the messages without an answer, by counter; the counter of the next one

def message(counter):
    return {"type": "message", "counter": counter, "message": waiting[counter]}

async def talk(socket):
    global count, following, waiting
    await socket.send(json.dumps(hello))
    while count or waiting:
        frame = json.loads(await asyncio.wait_for(socket.recv(), 30))
        kind, counter, replies = frame["type"], frame.get("counter"), []
        if kind in ("resumed", "lost"):
            missing, taken = frame["first_missing"], frame.get("ahead", [])
            if kind == "lost" or "epoch" not in hello:
                hello["last_served"] = frame["from"] - 1
            hello["epoch"], following = frame["epoch"], max(following, missing)
            waiting = {n: text for n, text in waiting.items() if n > hello["last_served"]}
            if missing < min(waiting, default=following):
                sys.exit("the server lost messages that this client no longer has")
            replies = [message(n) for n in waiting if n >= missing and n not in taken]
        elif kind == "served" and counter > hello["last_served"]:
            assert counter == hello["last_served"] + 1, "an answer is missing"
            hello["last_served"] = counter
            print(counter, frame["replica"], waiting.pop(counter, "of an earlier run"), flush=True)
            replies = [{"type": "ack", "counter": counter}]
        elif kind == "refused":
            if frame["code"] != "unavailable":
                sys.exit(f"refused: {frame}")
            replies = [message(counter)]
        elif kind == "goaway":
            return frame["retry_after_ms"] / 1000
        while count and len(waiting) < 1000:
            count, counter = count - 1, next(n for n in itertools.count(following) if n not in taken)
            waiting[counter], following = f"message {counter}", counter + 1
            replies.append(message(counter))
        for reply in replies:
            await socket.send(json.dumps(reply))

async def main():
    failures = 0
    while count or waiting:
        before, delay = hello.get("last_served"), None
        try:
            async with websockets.connect(url, open_timeout=5, ping_interval=5, ping_timeout=5, max_queue=None) as socket:
                delay = await talk(socket)
        except (OSError, AssertionError, asyncio.TimeoutError, websockets.WebSocketException) as error:
            if getattr(error, "code", None) in (1002, 1009, 4001):
                sys.exit(f"the server ended the session: {error}")
        failures = failures + 1 if hello.get("last_served") == before else 0
        await asyncio.sleep(random.uniform(0, min(0.05 * 2**failures, 1)) if delay is None else delay)

asyncio.run(main())
