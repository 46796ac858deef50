"""POST /jobs on Flask: a row inserted and committed, a message published and confirmed, 202.

Each thread keeps a connection to the database and one to the broker. Settings:
DATABASE_PORT, DATABASE_NAME and AMQP_URL; the table and the queue are there.
"""

import json
import os
import threading
import time
import uuid

import flask
import pika
import pymysql

INSERT = (
    "INSERT INTO flask_jobs (id, request_hash, kind, payload, max_attempts, created_at, run_at) "
    "VALUES (%s, %s, %s, %s, 5, %s, %s)"
)
PERSISTENT = pika.BasicProperties(delivery_mode=2)
NO_HASH = bytes(32)

app = flask.Flask(__name__)
mine = threading.local()


def links():
    if not hasattr(mine, "links"):
        database = pymysql.connect(
            host="127.0.0.1",
            port=int(os.environ["DATABASE_PORT"]),
            user="root",
            database=os.environ["DATABASE_NAME"],
        )
        # Nobody answers heartbeats between two rounds.
        broker = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"] + "?heartbeat=0"))
        channel = broker.channel()
        channel.confirm_delivery()
        mine.links = database, channel
    return mine.links


@app.post("/jobs")
def submit():
    request = flask.request.get_json()
    database, channel = links()
    job = uuid.uuid4()
    now = int(time.time() * 1000)
    with database.cursor() as cursor:
        row = (job.bytes, NO_HASH, request["kind"], json.dumps(request["payload"]), now, now)
        cursor.execute(INSERT, row)
    database.commit()
    # Returns once it is confirmed; raises if it is refused or cannot be routed.
    channel.basic_publish("", "flask", job.bytes, PERSISTENT, mandatory=True)
    answer = flask.jsonify(job_id=str(job), status="queued")
    return answer, 202, {"Location": f"/jobs/{job}"}
