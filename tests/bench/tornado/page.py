"""The page of visit-counter on Tornado and redis-py: one INCR for each visit.

Arguments: port, port of Redis, number of processes, and two files that hold the
page before and after the number.
"""

import asyncio
import logging
import pathlib
import sys

import redis.asyncio
import tornado.httpserver
import tornado.netutil
import tornado.process
import tornado.web


class Page(tornado.web.RequestHandler):
    def initialize(self, store, before, after):
        self.store, self.before, self.after = store, before, after

    # A number that is never the same twice needs no validator.
    def compute_etag(self):
        return None

    async def get(self):
        number = await self.store.incr("tornado")
        self.set_header("Cache-Control", "no-store")
        self.finish(self.before + str(number).encode() + self.after)


async def serve(sockets, redis_port, before, after):
    store = redis.asyncio.Redis(port=redis_port)
    application = tornado.web.Application([("/", Page, {"store": store, "before": before, "after": after})])
    tornado.httpserver.HTTPServer(application).add_sockets(sockets)
    await asyncio.Event().wait()


def main():
    port, redis_port, processes = map(int, sys.argv[1:4])
    before, after = (pathlib.Path(file).read_bytes() for file in sys.argv[4:6])
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    sockets = tornado.netutil.bind_sockets(port, "127.0.0.1")
    if processes > 1:
        tornado.process.fork_processes(processes)
    asyncio.run(serve(sockets, redis_port, before, after))


if __name__ == "__main__":
    main()
