-- The day on which a landing file arrived: that of its last change, unless its clock ran ahead.
ALTER TABLE devices.files
    ADD COLUMN arrival_day date NOT NULL GENERATED ALWAYS AS (
        (least(to_timestamp(modified_ns::double precision / 1e9), first_seen_at) AT TIME ZONE 'UTC')::date
    ) STORED;
COMMENT ON COLUMN devices.files.arrival_day IS 'Partition of the file (UTC).';

-- Files that wait are few among those that are done.
CREATE INDEX files_waiting ON devices.files (file_id) WHERE state = 'waiting';
