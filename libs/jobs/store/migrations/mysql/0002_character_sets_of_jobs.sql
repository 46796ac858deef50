-- Every text column says its character set itself, whatever the default of the database is.
-- A migration may run again after a failure; it then changes nothing.
ALTER TABLE jobs
    MODIFY payload      LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'JSON',
    MODIFY worker       VARCHAR(253) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'who ran it last',
    MODIFY result       LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'JSON',
    MODIFY error        TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'of the last attempt that failed',
    MODIFY callback_url TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

ALTER TABLE attempts
    MODIFY worker VARCHAR(253) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    MODIFY error  TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

ALTER TABLE callbacks
    MODIFY url   TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    MODIFY error TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL COMMENT 'of the last attempt',
    DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

ALTER TABLE user_requests
    MODIFY user_id VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    MODIFY data    LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'JSON',
    DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
