-- The truth about every job. All times are milliseconds since 1970, by this database's clock.
CREATE TABLE IF NOT EXISTS jobs (
    id               BLOB NOT NULL PRIMARY KEY, -- a UUID of version 7: in the order of time
    idempotency_key  BLOB UNIQUE,
    request_hash     BLOB NOT NULL, -- whether a request with the same key is the same
    kind             TEXT NOT NULL,
    payload          TEXT NOT NULL, -- JSON
    priority         TEXT NOT NULL DEFAULT 'default', -- high, default or low
    state            TEXT NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'retry_wait', 'succeeded', 'failed', 'cancelled')),
    attempt          INTEGER NOT NULL DEFAULT 0, -- begun and not given back
    max_attempts     INTEGER NOT NULL,
    created_at       INTEGER NOT NULL,
    run_at           INTEGER NOT NULL, -- not begun before
    started_at       INTEGER, -- of the last attempt
    ended_at         INTEGER,
    lease_token      INTEGER NOT NULL DEFAULT 0, -- grows with every change of the state
    lease_owner      INTEGER, -- the claim that it runs under
    lease_until      INTEGER,
    due_at           INTEGER, -- when the sweeper has to look at it
    published_at     INTEGER, -- when the broker had confirmed its message
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    progress         REAL NOT NULL DEFAULT 0, -- 0 to 1
    worker           TEXT, -- who ran it last
    result           TEXT, -- JSON
    error            TEXT, -- of the last attempt that failed
    traceparent      TEXT,
    callback_url     TEXT,
    CONSTRAINT jobs_running_is_leased CHECK ((state = 'running') = (lease_until IS NOT NULL))
) STRICT;

CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state, run_at);
CREATE INDEX IF NOT EXISTS jobs_due ON jobs (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_ended ON jobs (ended_at, state) WHERE ended_at IS NOT NULL;

-- Attempts that are over.
CREATE TABLE IF NOT EXISTS attempts (
    job_id     BLOB NOT NULL,
    token      INTEGER NOT NULL, -- jobs.lease_token of the attempt
    attempt    INTEGER NOT NULL,
    worker     TEXT,
    started_at INTEGER,
    ended_at   INTEGER NOT NULL,
    outcome    TEXT NOT NULL,
    error      TEXT,
    PRIMARY KEY (job_id, token)
) STRICT, WITHOUT ROWID;

-- Who is to be called since a job has ended.
CREATE TABLE IF NOT EXISTS callbacks (
    job_id  BLOB NOT NULL PRIMARY KEY,
    url     TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    due_at  INTEGER, -- over if NULL
    error   TEXT -- of the last attempt
) STRICT;

CREATE INDEX IF NOT EXISTS callbacks_due ON callbacks (due_at) WHERE due_at IS NOT NULL;

-- What jobs of the kind user-request leave behind: one row each.
CREATE TABLE IF NOT EXISTS user_requests (
    job_id  BLOB NOT NULL PRIMARY KEY,
    user_id TEXT,
    data    TEXT NOT NULL -- JSON
) STRICT;
