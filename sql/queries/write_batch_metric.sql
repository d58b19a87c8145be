WITH quick AS MATERIALIZED (
    -- A figure that a crash of the server loses is no loss; waiting for the disk would be one.
    SELECT set_config('synchronous_commit', 'off', true)
)
INSERT INTO ops.batch_metrics (
    target, shard, origin, load_id, row_count, inserted, updated, unchanged, duplicate, rejected,
    is_committed, seconds, database_seconds, alert_seconds, outbox_seconds, waited_seconds)
SELECT %(target)s, %(shard)s, %(origin)s, %(load_id)s, %(read)s, %(inserted)s, %(updated)s,
       %(unchanged)s, %(duplicate)s, %(rejected)s, %(is_committed)s, %(seconds)s,
       %(database_seconds)s, %(alert_seconds)s, %(outbox_seconds)s, %(waited_seconds)s
FROM quick
