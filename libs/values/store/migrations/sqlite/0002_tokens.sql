-- Random numbers that fence the older holder of a number that comes again: after rows
-- were lost, the database hands out an incarnation or a term for a second time.
ALTER TABLE workers ADD COLUMN token INTEGER NOT NULL DEFAULT 0;
ALTER TABLE manager_lease ADD COLUMN token INTEGER NOT NULL DEFAULT 0;
