-- Users write to `values` by hand: an id alone is enough.
CREATE TABLE IF NOT EXISTS `values` (
    id            BIGINT NOT NULL AUTO_INCREMENT,
    value         BIGINT NOT NULL DEFAULT 0,
    initial_value BIGINT NOT NULL DEFAULT (value),
    first_tick    BIGINT NOT NULL DEFAULT (unix_timestamp()) COMMENT 'seconds since 1970',
    last_tick     BIGINT NOT NULL DEFAULT (first_tick) COMMENT 'seconds since 1970',
    owner         BIGINT NULL COMMENT 'workers.incarnation',
    epoch         BIGINT NOT NULL DEFAULT 0 COMMENT 'grows when the owner changes',
    PRIMARY KEY (id),
    KEY values_owner (owner),
    CONSTRAINT values_one_second_is_one_increment CHECK (value - initial_value = last_tick - first_tick),
    CONSTRAINT values_ticks_are_seconds CHECK (first_tick >= 0 AND last_tick >= 0)
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS workers (
    incarnation BIGINT NOT NULL AUTO_INCREMENT,
    name        VARCHAR(253) NOT NULL COMMENT 'pod or task',
    state       VARCHAR(16) NOT NULL DEFAULT 'active' COMMENT 'active, draining or dead',
    capacity    INT UNSIGNED NOT NULL COMMENT 'ids; 0 while leaving',
    heartbeat   BIGINT NOT NULL COMMENT 'milliseconds since 1970',
    generation  BIGINT NOT NULL DEFAULT 0 COMMENT 'grows when ids are given or taken',
    PRIMARY KEY (incarnation),
    CONSTRAINT workers_state CHECK (state IN ('active', 'draining', 'dead'))
) ENGINE = InnoDB;

CREATE TABLE IF NOT EXISTS manager_lease (
    id     TINYINT NOT NULL DEFAULT 1,
    term   BIGINT NOT NULL DEFAULT 0,
    holder VARCHAR(253) NOT NULL DEFAULT '',
    until  BIGINT NOT NULL DEFAULT 0 COMMENT 'milliseconds since 1970',
    PRIMARY KEY (id),
    CONSTRAINT manager_lease_is_one_row CHECK (id = 1)
) ENGINE = InnoDB;

INSERT IGNORE INTO manager_lease (id) VALUES (1);
