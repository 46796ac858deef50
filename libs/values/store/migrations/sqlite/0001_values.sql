-- Users write to `values` by hand: an id alone is enough.
CREATE TABLE IF NOT EXISTS `values` (
    id            INTEGER PRIMARY KEY,
    value         INTEGER NOT NULL DEFAULT 0,
    initial_value INTEGER,
    first_tick    INTEGER NOT NULL DEFAULT (unixepoch()), -- seconds since 1970
    last_tick     INTEGER NOT NULL DEFAULT (unixepoch()), -- seconds since 1970
    owner         INTEGER, -- workers.incarnation
    epoch         INTEGER NOT NULL DEFAULT 0, -- grows when the owner changes
    CONSTRAINT values_one_second_is_one_increment CHECK (value - initial_value = last_tick - first_tick),
    CONSTRAINT values_ticks_are_seconds CHECK (first_tick >= 0 AND last_tick >= 0)
) STRICT;

CREATE INDEX IF NOT EXISTS values_owner ON `values` (owner);

-- A default cannot refer to another column here. 0 ticks at insertion unless the
-- user says otherwise, so the invariant gives the value that the row began with.
CREATE TRIGGER IF NOT EXISTS values_initial_value AFTER INSERT ON `values` WHEN NEW.initial_value IS NULL
BEGIN
    UPDATE `values` SET initial_value = value - (last_tick - first_tick) WHERE id = NEW.id;
END;

CREATE TABLE IF NOT EXISTS workers (
    incarnation INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT NOT NULL, -- pod or task
    state       TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'draining', 'dead')),
    capacity    INTEGER NOT NULL, -- ids; 0 while leaving
    heartbeat   INTEGER NOT NULL, -- milliseconds since 1970
    generation  INTEGER NOT NULL DEFAULT 0 -- grows when ids are given or taken
) STRICT;

CREATE TABLE IF NOT EXISTS manager_lease (
    id     INTEGER PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    term   INTEGER NOT NULL DEFAULT 0,
    holder TEXT NOT NULL DEFAULT '',
    until  INTEGER NOT NULL DEFAULT 0 -- milliseconds since 1970
) STRICT;

INSERT OR IGNORE INTO manager_lease (id) VALUES (1);
