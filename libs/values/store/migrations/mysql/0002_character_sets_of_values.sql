-- Every text column says its character set itself, whatever the default of the database is.
-- A migration may run again after a failure; it then changes nothing.
ALTER TABLE `values`
    DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

ALTER TABLE workers
    MODIFY name  VARCHAR(253) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'pod or task',
    MODIFY state VARCHAR(16) CHARACTER SET ascii NOT NULL DEFAULT 'active' COMMENT 'active, draining or dead',
    DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

ALTER TABLE manager_lease
    MODIFY holder VARCHAR(253) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
    DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
