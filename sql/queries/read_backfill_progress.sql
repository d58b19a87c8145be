-- A backfill's partitions by outcome, their rows, and how fast they were lately.
WITH outcomes AS MATERIALIZED (
    SELECT partition_key, load_id, state, started_at, finished_at, rows_read, rows_inserted,
           rows_updated, rows_unchanged, rows_duplicate, rows_rejected, rows_skipped
    FROM ops.backfill_outcomes
    WHERE backfill_id = %(backfill_id)s
),
lately AS (
    SELECT sum(o.rows_read) AS rows_read,
           sum(o.rows_inserted + o.rows_updated + o.rows_unchanged) AS rows_kept,
           extract(epoch FROM max(o.finished_at) - min(o.started_at))::float8 AS seconds
    FROM outcomes AS o
    WHERE o.state IN ('success', 'partial', 'failed')
      AND o.finished_at > (SELECT max(l.finished_at) FROM outcomes AS l) - interval '5 minutes'
)
SELECT count(*) FILTER (WHERE state = 'success') AS success,
       count(*) FILTER (WHERE state = 'partial') AS partial,
       count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE state = 'skipped') AS skipped,
       count(*) FILTER (WHERE state = 'not_ready') AS not_ready,
       count(*) FILTER (WHERE state = 'unconfirmed_empty') AS unconfirmed_empty,
       count(*) FILTER (WHERE state = 'running') AS running,
       count(*) FILTER (WHERE state = 'waiting') AS waiting,
       -- What is recognised and published within one look never shows as running.
       (SELECT o.partition_key FROM outcomes AS o WHERE o.load_id IS NOT NULL
        ORDER BY (o.state = 'running') DESC, o.started_at DESC, o.partition_key DESC
        LIMIT 1) AS current_key,
       coalesce(sum(rows_read), 0)::bigint AS rows_read,
       coalesce(sum(rows_inserted), 0)::bigint AS rows_inserted,
       coalesce(sum(rows_updated), 0)::bigint AS rows_updated,
       coalesce(sum(rows_unchanged), 0)::bigint AS rows_unchanged,
       coalesce(sum(rows_duplicate), 0)::bigint AS rows_duplicate,
       coalesce(sum(rows_rejected), 0)::bigint AS rows_rejected,
       coalesce(sum(rows_skipped), 0)::bigint AS rows_skipped,
       (SELECT rows_read / nullif(seconds, 0) FROM lately)::float8 AS rows_per_second,
       (SELECT rows_kept / nullif(seconds, 0) FROM lately)::float8 AS symbols_per_second,
       max(greatest(started_at, finished_at)) AS updated_at
FROM outcomes
