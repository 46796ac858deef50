-- Random numbers that fence the older holder of a number that comes again: after rows
-- were lost, the database hands out an incarnation or a term for a second time.
--
-- MySQL has no ADD COLUMN IF NOT EXISTS.
SET @add = IF(
    EXISTS (SELECT * FROM information_schema.columns
            WHERE table_schema = DATABASE() AND table_name = 'workers' AND column_name = 'token'),
    'DO 0', 'ALTER TABLE workers ADD COLUMN token BIGINT NOT NULL DEFAULT 0');
PREPARE add_token FROM @add;
EXECUTE add_token;

SET @add = IF(
    EXISTS (SELECT * FROM information_schema.columns
            WHERE table_schema = DATABASE() AND table_name = 'manager_lease' AND column_name = 'token'),
    'DO 0', 'ALTER TABLE manager_lease ADD COLUMN token BIGINT NOT NULL DEFAULT 0');
PREPARE add_token FROM @add;
EXECUTE add_token;
DEALLOCATE PREPARE add_token;
