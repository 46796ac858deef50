-- The truth about every job. All times are milliseconds since 1970, by this database's clock.
CREATE TABLE IF NOT EXISTS jobs (
    id               BINARY(16) NOT NULL COMMENT 'a UUID of version 7: in the order of time',
    idempotency_key  VARBINARY(255) NULL,
    request_hash     BINARY(32) NOT NULL COMMENT 'whether a request with the same key is the same',
    kind             VARCHAR(64) CHARACTER SET ascii NOT NULL,
    payload          LONGTEXT NOT NULL COMMENT 'JSON',
    priority         VARCHAR(8) CHARACTER SET ascii NOT NULL DEFAULT 'default' COMMENT 'high, default or low',
    state            VARCHAR(10) CHARACTER SET ascii NOT NULL DEFAULT 'queued',
    attempt          INT UNSIGNED NOT NULL DEFAULT 0 COMMENT 'begun and not given back',
    max_attempts     INT UNSIGNED NOT NULL,
    created_at       BIGINT NOT NULL,
    run_at           BIGINT NOT NULL COMMENT 'not begun before',
    started_at       BIGINT NULL COMMENT 'of the last attempt',
    ended_at         BIGINT NULL,
    lease_token      BIGINT NOT NULL DEFAULT 0 COMMENT 'grows with every change of the state',
    lease_owner      BIGINT NULL COMMENT 'the claim that it runs under',
    lease_until      BIGINT NULL,
    due_at           BIGINT NULL COMMENT 'when the sweeper has to look at it',
    published_at     BIGINT NULL COMMENT 'when the broker had confirmed its message',
    cancel_requested BOOLEAN NOT NULL DEFAULT FALSE,
    progress         DOUBLE NOT NULL DEFAULT 0 COMMENT '0 to 1',
    worker           VARCHAR(253) NULL COMMENT 'who ran it last',
    result           LONGTEXT NULL COMMENT 'JSON',
    error            TEXT NULL COMMENT 'of the last attempt that failed',
    traceparent      VARCHAR(64) CHARACTER SET ascii NULL,
    callback_url     TEXT NULL,
    PRIMARY KEY (id),
    UNIQUE KEY jobs_idempotency_key (idempotency_key),
    KEY jobs_state (state, run_at),
    KEY jobs_due (due_at),
    KEY jobs_ended (ended_at, state),
    CONSTRAINT jobs_states CHECK (state IN ('queued', 'running', 'retry_wait', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT jobs_running_is_leased CHECK ((state = 'running') = (lease_until IS NOT NULL))
) ENGINE = InnoDB;

-- Attempts that are over.
CREATE TABLE IF NOT EXISTS attempts (
    job_id     BINARY(16) NOT NULL,
    token      BIGINT NOT NULL COMMENT 'jobs.lease_token of the attempt',
    attempt    INT UNSIGNED NOT NULL,
    worker     VARCHAR(253) NULL,
    started_at BIGINT NULL,
    ended_at   BIGINT NOT NULL,
    outcome    VARCHAR(16) CHARACTER SET ascii NOT NULL,
    error      TEXT NULL,
    PRIMARY KEY (job_id, token)
) ENGINE = InnoDB;

-- Who is to be called since a job has ended.
CREATE TABLE IF NOT EXISTS callbacks (
    job_id  BINARY(16) NOT NULL,
    url     TEXT NOT NULL,
    attempt INT UNSIGNED NOT NULL DEFAULT 0,
    due_at  BIGINT NULL COMMENT 'over if NULL',
    error   TEXT NULL COMMENT 'of the last attempt',
    PRIMARY KEY (job_id),
    KEY callbacks_due (due_at)
) ENGINE = InnoDB;

-- What jobs of the kind user-request leave behind: one row each.
CREATE TABLE IF NOT EXISTS user_requests (
    job_id  BINARY(16) NOT NULL,
    user_id VARCHAR(255) NULL,
    data    LONGTEXT NOT NULL COMMENT 'JSON',
    PRIMARY KEY (job_id)
) ENGINE = InnoDB;
