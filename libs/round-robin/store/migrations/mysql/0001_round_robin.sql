-- All times are milliseconds since 1970, by this database's clock.

CREATE TABLE IF NOT EXISTS turn_length (
    id      TINYINT NOT NULL COMMENT 'always 1',
    quantum BIGINT NOT NULL COMMENT 'milliseconds',
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
    COMMENT 'the length of the turns of all replicas; one row, which a replica locks while it registers';

CREATE TABLE IF NOT EXISTS replicas (
    id         BIGINT NOT NULL AUTO_INCREMENT,
    name       VARCHAR(253) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'pod or task',
    is_leaving BOOLEAN NOT NULL DEFAULT FALSE COMMENT 'gets no further turns',
    heartbeat  BIGINT NOT NULL COMMENT 'milliseconds since 1970',
    token      BIGINT NOT NULL COMMENT 'tells two holders of one id apart',
    PRIMARY KEY (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
    COMMENT 'the replicas of the server; each one registers when it starts';

CREATE TABLE IF NOT EXISTS turns (
    turn    BIGINT NOT NULL COMMENT 'time divided by the length of a turn',
    replica BIGINT NOT NULL COMMENT 'replicas.id',
    token   BIGINT NOT NULL COMMENT 'replicas.token',
    name    VARCHAR(253) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'replicas.name',
    served  BIGINT NOT NULL DEFAULT 0 COMMENT 'number of messages that were served in the turn',
    PRIMARY KEY (turn)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
    COMMENT 'which replica serves in each turn';

CREATE TABLE IF NOT EXISTS clients (
    client_id     VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    epoch         BIGINT NOT NULL DEFAULT 0 COMMENT 'number of its latest connection',
    first_kept    BIGINT NOT NULL DEFAULT 1 COMMENT 'lower counters were deleted or never sent',
    next_to_serve BIGINT NOT NULL DEFAULT 1 COMMENT 'lower counters were served',
    first_missing BIGINT NOT NULL DEFAULT 1 COMMENT 'lower counters can be served, higher ones wait for it',
    last_received BIGINT NOT NULL DEFAULT -1 COMMENT 'the highest counter',
    acknowledged  BIGINT NOT NULL DEFAULT -1 COMMENT 'the client has the answers up to this counter',
    seen_at       BIGINT NOT NULL COMMENT 'when it last sent or was served, milliseconds since 1970, to within a second',
    is_waiting    BOOLEAN GENERATED ALWAYS AS (next_to_serve < first_missing) STORED COMMENT 'has messages to serve',
    PRIMARY KEY (client_id),
    KEY clients_waiting (is_waiting, client_id),
    KEY clients_seen (seen_at)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
    COMMENT 'the position of each client';

CREATE TABLE IF NOT EXISTS received_messages (
    client_id   VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    counter     BIGINT NOT NULL,
    message     TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    received_at BIGINT NOT NULL COMMENT 'milliseconds since 1970',
    PRIMARY KEY (client_id, counter)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
    COMMENT 'what clients sent; the view messages adds by whom and when it was served';

-- A range lies in one block, so that a message finds its range by the block of its counter.
CREATE TABLE IF NOT EXISTS served_ranges (
    client_id     VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    block         BIGINT NOT NULL COMMENT 'the counters divided by 100',
    first_counter BIGINT NOT NULL,
    last_counter  BIGINT NOT NULL,
    turn          BIGINT NOT NULL COMMENT 'turns.turn',
    replica       VARCHAR(253) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'replicas.name',
    served_at     BIGINT NOT NULL COMMENT 'milliseconds since 1970',
    PRIMARY KEY (client_id, block, first_counter)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
    COMMENT 'consecutive messages of one client that one transaction served';

CREATE OR REPLACE SQL SECURITY INVOKER VIEW messages AS
SELECT received.client_id, received.counter, received.message, received.received_at, served.replica, served.served_at
FROM received_messages AS received
LEFT JOIN served_ranges AS served
    ON served.client_id = received.client_id AND served.block = received.counter DIV 100
    AND received.counter BETWEEN served.first_counter AND served.last_counter;
