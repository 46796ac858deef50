CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    visits INTEGER NOT NULL CHECK (typeof(visits) = 'integer')
) STRICT, WITHOUT ROWID;
