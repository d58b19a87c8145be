-- A backfill and its partitions; no row if the same one has not ended yet.
WITH requested AS (
    INSERT INTO ops.backfills (asset_key, feed, target, scope, first_key, last_key, partitions,
                               fingerprint, is_forced, symbols, priority, retry_of, requested_by)
    VALUES (%(asset_key)s, %(feed)s, %(target)s, %(scope)s, %(first_key)s, %(last_key)s,
            %(partitions)s, %(fingerprint)s, %(is_forced)s, %(symbols)s, %(priority)s,
            %(retry_of)s, %(actor)s)
    ON CONFLICT (fingerprint) WHERE ended_at IS NULL DO NOTHING
    RETURNING backfill_id
),
partitioned AS (
    INSERT INTO ops.backfill_partitions (backfill_id, position, partition_key, why)
    SELECT requested.backfill_id, k.position, k.partition_key, k.why
    FROM requested,
         unnest(%(keys)s::text[], %(whys)s::text[]) WITH ORDINALITY
             AS k (partition_key, why, position)
)
SELECT backfill_id FROM requested
