-- What ended within the window, as metric, labels and value. A window of a table that was loaded
-- again counts with its newest load; streams are counted by batch, since their loads last.
WITH ended AS MATERIALIZED (
    SELECT DISTINCT ON (resource)
        target, state, rows_read, rows_inserted, rows_updated, rows_unchanged, rows_duplicate,
        rows_rejected, rows_skipped, (metrics ->> 'last_chunk_rows')::integer AS chunk_rows, load_id,
        EXTRACT(epoch FROM finished_at - started_at)::double precision AS seconds
    FROM ops.loads
    WHERE finished_at >= clock_timestamp() - make_interval(secs => %(window_seconds)s)
    ORDER BY resource, load_id DESC
),
batches AS MATERIALIZED (
    SELECT
        target,
        sum(row_count) AS all_rows,
        coalesce(sum(row_count) FILTER (WHERE NOT is_committed), 0) AS lost_rows,
        coalesce(sum(row_count) FILTER (WHERE is_committed), 0) AS read,
        sum(inserted) AS inserted,
        sum(updated) AS updated,
        sum(unchanged) AS unchanged,
        sum(duplicate) AS duplicate,
        sum(rejected) AS rejected,
        percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY seconds) AS seconds,
        sum(row_count) FILTER (WHERE is_committed) / %(window_seconds)s AS per_second
    FROM ops.batch_metrics
    WHERE finished_at >= clock_timestamp() - make_interval(secs => %(window_seconds)s)
    GROUP BY target
),
counted AS (
    SELECT
        target, sum(rows_read) AS all_rows, 0 AS lost_rows, sum(rows_read) AS read,
        sum(rows_inserted) AS inserted, sum(rows_updated) AS updated,
        sum(rows_unchanged) AS unchanged, sum(rows_duplicate) AS duplicate,
        sum(rows_rejected) AS rejected, sum(rows_skipped) AS skipped
    FROM ended
    WHERE target NOT IN (SELECT target FROM batches)
    GROUP BY target
    UNION ALL
    SELECT
        target, all_rows, lost_rows, read, inserted, updated, unchanged, duplicate, rejected, 0
    FROM batches
)
SELECT
    'batch_assets_recent_loads' AS metric,
    jsonb_build_object('target', target, 'state', state) AS labels,
    count(*)::double precision AS value
FROM ended
GROUP BY target, state
UNION ALL
SELECT
    'batch_assets_recent_rows',
    jsonb_build_object('target', c.target, 'outcome', o.outcome),
    o.row_count
FROM counted AS c
CROSS JOIN LATERAL (VALUES
    ('read', c.read), ('inserted', c.inserted), ('updated', c.updated), ('unchanged', c.unchanged),
    ('duplicate', c.duplicate), ('rejected', c.rejected), ('skipped', c.skipped)
) AS o (outcome, row_count)
UNION ALL
SELECT
    'batch_assets_recent_error_ratio',
    jsonb_build_object('target', target),
    (rejected + lost_rows)::double precision / all_rows
FROM counted
WHERE all_rows >= %(least_rows)s
UNION ALL
SELECT
    'batch_assets_recent_failed_load_ratio',
    jsonb_build_object('target', target),
    count(*) FILTER (WHERE state = 'failed')::double precision / count(*)
FROM ended
WHERE state IN ('success', 'partial', 'failed')
GROUP BY target
UNION ALL
SELECT
    'batch_assets_recent_load_seconds',
    jsonb_build_object('target', p.target, 'percentile', q.percentile),
    p.seconds[q.place]
FROM (
    SELECT target, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds) AS seconds
    FROM ended
    WHERE state IN ('success', 'partial')
    GROUP BY target
) AS p
CROSS JOIN LATERAL (VALUES (1, '50'), (2, '95')) AS q (place, percentile)
UNION ALL
SELECT
    'batch_assets_recent_chunk_rows',
    jsonb_build_object('target', target),
    (array_agg(chunk_rows ORDER BY load_id DESC))[1]
FROM ended
WHERE chunk_rows IS NOT NULL
GROUP BY target
UNION ALL
SELECT
    'batch_assets_recent_batch_seconds',
    jsonb_build_object('target', b.target, 'percentile', q.percentile),
    b.seconds[q.place]
FROM batches AS b
CROSS JOIN LATERAL (VALUES (1, '50'), (2, '95'), (3, '99')) AS q (place, percentile)
UNION ALL
SELECT
    'batch_assets_recent_rows_per_second', jsonb_build_object('target', target),
    coalesce(per_second, 0)
FROM batches
