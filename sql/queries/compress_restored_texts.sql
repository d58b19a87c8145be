-- As migration 0010 has it: a backup leaves compression methods out, which servers differ in.
DO $block$
BEGIN
    IF to_regclass('documents.texts') IS NOT NULL
       AND (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression')
    THEN
        ALTER TABLE documents.texts ALTER COLUMN text SET COMPRESSION lz4;
        ALTER TABLE documents.chunks ALTER COLUMN text SET COMPRESSION lz4;
    END IF;
END
$block$
