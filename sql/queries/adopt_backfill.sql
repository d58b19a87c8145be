-- A backfill that was launched in Dagster itself, with its partitions, its segment and a line of the
-- audit; no row if it was adopted before.
WITH launched AS (
    -- By the server's clock it is no later than what is launched of it from here on.
    SELECT least(%(launched_at)s, clock_timestamp()) AS launched_at
),
adopted AS (
    INSERT INTO ops.backfills (asset_key, feed, target, scope, first_key, last_key, partitions,
                               fingerprint, is_forced, symbols, priority, state, requested_by,
                               requested_at, started_at, adopted_from)
    SELECT %(asset_key)s, %(feed)s, %(target)s, %(scope)s, %(first_key)s, %(last_key)s,
           %(partitions)s, %(fingerprint)s, %(is_forced)s, %(symbols)s, %(priority)s, 'running',
           %(actor)s, launched_at, launched_at, %(dagster_backfill_id)s
    FROM launched
    -- Of whichever index the other look was first in.
    ON CONFLICT DO NOTHING
    RETURNING backfill_id, requested_at
),
partitioned AS (
    INSERT INTO ops.backfill_partitions (backfill_id, position, partition_key)
    SELECT adopted.backfill_id, k.position, k.partition_key
    FROM adopted,
         unnest(%(keys)s::text[]) WITH ORDINALITY AS k (partition_key, position)
),
segmented AS (
    INSERT INTO ops.backfill_segments (dagster_backfill_id, backfill_id, partitions, launched_at,
                                       is_adopted, is_shared)
    SELECT %(dagster_backfill_id)s, backfill_id, %(partitions)s, requested_at, true, %(is_shared)s
    FROM adopted
),
audited AS (
    INSERT INTO ops.audit (actor, action, subject, detail)
    SELECT %(actor)s, 'backfill.adopt', backfill_id::text,
           jsonb_build_object('asset', %(asset_key)s::text,
                              'dagster_backfill', %(dagster_backfill_id)s::text,
                              'first', %(first_key)s::text, 'last', %(last_key)s::text,
                              'partitions', %(partitions)s::integer)
    FROM adopted
)
SELECT backfill_id FROM adopted
