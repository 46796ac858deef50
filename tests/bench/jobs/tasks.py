"""The task of the baseline on Celery: one row, inserted and committed.

Settings: DATABASE_PORT, DATABASE_NAME and AMQP_URL; the table is there.
"""

import json
import os

import celery
import pymysql

app = celery.Celery("tasks", broker=os.environ["AMQP_URL"])
app.conf.update(
    # As safe as Celery can be told to be.
    broker_transport_options={"confirm_publish": True},
    # A connection for each thread that submits; the default is 10.
    broker_pool_limit=64,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_default_delivery_mode="persistent",
    task_default_queue="celery-jobs",
    task_default_queue_type="quorum",
    # What a worker needs not to wait for the broker between short tasks; the default is 4.
    worker_prefetch_multiplier=32,
    # The row is the result.
    task_ignore_result=True,
)

database = None


@app.task(name="user-request")
def user_request(user_id, data):
    global database
    if database is None:
        database = pymysql.connect(
            host="127.0.0.1",
            port=int(os.environ["DATABASE_PORT"]),
            user="root",
            database=os.environ["DATABASE_NAME"],
        )
    job = bytes.fromhex(user_request.request.id.replace("-", ""))
    with database.cursor() as cursor:
        row = (job, user_id, json.dumps(data))
        cursor.execute("INSERT INTO celery_effects (job_id, user_id, data) VALUES (%s, %s, %s)", row)
    database.commit()
