"""POST /messages on Flask: a row inserted and committed, then the answer.

The row is stored as served at once: it keeps no order, and any worker serves at any time. Each
thread keeps a connection to the database. Settings: DATABASE_PORT, DATABASE_NAME and REPLICA_NAME;
the table is there.
"""

import os
import threading
import time

import flask
import pymysql

REPLICA = os.environ["REPLICA_NAME"]
INSERT = (
    "INSERT INTO flask_messages (client_id, counter, message, received_at, replica, served_at) "
    "VALUES (%s, %s, %s, %s, %s, %s)"
)

app = flask.Flask(__name__)
mine = threading.local()


def connection():
    if not hasattr(mine, "database"):
        mine.database = pymysql.connect(
            host="127.0.0.1",
            port=int(os.environ["DATABASE_PORT"]),
            user="root",
            database=os.environ["DATABASE_NAME"],
        )
    return mine.database


@app.post("/messages")
def submit():
    request = flask.request.get_json()
    client, counter, message = request["client_id"], request["counter"], request["message"]
    now = int(time.time() * 1000)
    database = connection()
    with database.cursor() as cursor:
        cursor.execute(INSERT, (client, counter, message, now, REPLICA, now))
    database.commit()
    return flask.jsonify(
        client_id=client, counter=counter, message=message, replica=REPLICA, received_at_ms=now, served_at_ms=now
    )
