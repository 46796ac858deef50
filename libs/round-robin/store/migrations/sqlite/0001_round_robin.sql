-- All times are milliseconds since 1970, by this database's clock.

-- The length of the turns of all replicas, in milliseconds. One row.
CREATE TABLE IF NOT EXISTS turn_length (
    id      INTEGER PRIMARY KEY, -- always 1
    quantum INTEGER NOT NULL
) STRICT;

-- The replicas of the server. Each one registers when it starts.
CREATE TABLE IF NOT EXISTS replicas (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL, -- pod or task
    is_leaving INTEGER NOT NULL DEFAULT 0, -- gets no further turns
    heartbeat  INTEGER NOT NULL,
    token      INTEGER NOT NULL -- tells two holders of one id apart
) STRICT;

-- Which replica serves in each turn.
CREATE TABLE IF NOT EXISTS turns (
    turn    INTEGER PRIMARY KEY, -- time divided by the length of a turn
    replica INTEGER NOT NULL, -- replicas.id
    token   INTEGER NOT NULL, -- replicas.token
    name    TEXT NOT NULL, -- replicas.name
    served  INTEGER NOT NULL DEFAULT 0 -- messages served in this turn
) STRICT;

-- The position of each client. Messages before next_to_serve are served, those from there to before
-- first_missing can be served, and those above first_missing wait for it.
CREATE TABLE IF NOT EXISTS clients (
    client_id     TEXT NOT NULL PRIMARY KEY,
    epoch         INTEGER NOT NULL DEFAULT 0, -- number of its latest connection
    first_kept    INTEGER NOT NULL DEFAULT 1, -- lower counters were deleted or never sent
    next_to_serve INTEGER NOT NULL DEFAULT 1,
    first_missing INTEGER NOT NULL DEFAULT 1,
    last_received INTEGER NOT NULL DEFAULT -1, -- the highest counter
    acknowledged  INTEGER NOT NULL DEFAULT -1, -- the client has the answers up to this counter
    seen_at       INTEGER NOT NULL -- when it last sent or was served, to within a second
) STRICT, WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS clients_waiting ON clients (client_id) WHERE next_to_serve < first_missing;
CREATE INDEX IF NOT EXISTS clients_seen ON clients (seen_at);

-- What clients sent. The view `messages` adds by whom and when it was served.
CREATE TABLE IF NOT EXISTS received_messages (
    client_id   TEXT NOT NULL,
    counter     INTEGER NOT NULL,
    message     TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    PRIMARY KEY (client_id, counter)
) STRICT, WITHOUT ROWID;

-- Consecutive messages of one client that one transaction served. A range lies in one block, so that
-- a message finds its range by the block of its counter.
CREATE TABLE IF NOT EXISTS served_ranges (
    client_id     TEXT NOT NULL,
    block         INTEGER NOT NULL, -- the counters divided by 100
    first_counter INTEGER NOT NULL,
    last_counter  INTEGER NOT NULL,
    turn          INTEGER NOT NULL, -- turns.turn
    replica       TEXT NOT NULL, -- replicas.name
    served_at     INTEGER NOT NULL,
    PRIMARY KEY (client_id, block, first_counter)
) STRICT, WITHOUT ROWID;

-- Each message: counter, text, when it was received, and by which replica and when it was served.
CREATE VIEW IF NOT EXISTS messages AS
SELECT received.client_id, received.counter, received.message, received.received_at, served.replica, served.served_at
FROM received_messages AS received
LEFT JOIN served_ranges AS served
    ON served.client_id = received.client_id AND served.block = received.counter / 100
    AND received.counter BETWEEN served.first_counter AND served.last_counter;
