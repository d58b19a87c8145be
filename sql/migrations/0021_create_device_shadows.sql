-- Buckets whose records run through code of the user: beside what is stored, to be compared, or in its place.
CREATE TABLE devices.shadow_buckets (
    bucket             smallint    NOT NULL,
    live_function      text COLLATE "C",
    shadow_function    text COLLATE "C",
    previous_function  text COLLATE "C",
    is_switched        boolean     NOT NULL DEFAULT false,
    compared_rows      bigint      NOT NULL DEFAULT 0,
    differing_rows     bigint      NOT NULL DEFAULT 0,
    changed_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT shadow_buckets_pkey PRIMARY KEY (bucket),
    CONSTRAINT shadow_buckets_bucket_is_known CHECK (bucket BETWEEN 0 AND 255)
);
COMMENT ON TABLE devices.shadow_buckets IS 'Functions by bucket, read by every part that is written; a bucket without a row stores records as they are.';
COMMENT ON COLUMN devices.shadow_buckets.live_function IS 'package.module:function whose result is stored; null for records as they are.';
COMMENT ON COLUMN devices.shadow_buckets.shadow_function IS 'The one whose result is compared with what is stored, and not stored.';
COMMENT ON COLUMN devices.shadow_buckets.previous_function IS 'What was live before the last switch, for rollback; null for records as they are.';

CREATE TABLE devices.shadow_differences (
    difference_id      bigint      GENERATED ALWAYS AS IDENTITY,
    bucket             smallint    NOT NULL,
    kind               text COLLATE "C" NOT NULL,
    device_sn          text COLLATE "C",
    measured_at        timestamptz,
    stored             jsonb,
    shadow             jsonb,
    reason             text,
    row_count          bigint      NOT NULL DEFAULT 1,
    load_id            bigint      NOT NULL,
    seen_at            timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT shadow_differences_pkey PRIMARY KEY (difference_id),
    CONSTRAINT shadow_differences_kind_is_known CHECK (kind IN ('changed', 'missing', 'failed'))
);
CREATE INDEX shadow_differences_by_bucket ON devices.shadow_differences (bucket, difference_id);
COMMENT ON TABLE devices.shadow_differences IS 'Where a function in shadow gave something else than what was stored, since it was started.';
COMMENT ON COLUMN devices.shadow_differences.stored IS 'Columns that differ, as they are stored; all of them for a row that is missing.';
COMMENT ON COLUMN devices.shadow_differences.row_count IS 'Rows of the bucket in a batch on which the function failed; 1 for the others.';
