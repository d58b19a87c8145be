-- Slots of Dagster's pools in its own tables: how many there are, are taken, and are waited for.
SELECT
    l.concurrency_key AS pool,
    l."limit" AS slots,
    (
        SELECT count(*)
        FROM dagster.concurrency_slots AS s
        WHERE s.concurrency_key = l.concurrency_key AND s.run_id IS NOT NULL AND NOT s.deleted
    ) AS taken,
    (
        SELECT count(*)
        FROM dagster.pending_steps AS p
        WHERE p.concurrency_key = l.concurrency_key AND p.assigned_timestamp IS NULL
    ) AS waiting
FROM dagster.concurrency_limits AS l
ORDER BY l.concurrency_key
