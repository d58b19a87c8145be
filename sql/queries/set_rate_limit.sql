-- A new bucket is full. A changed one keeps its tokens: configuring again gives nothing away.
INSERT INTO ops.rate_limits AS known
    (name, capacity, refill_per_second, tokens, failure_threshold, cool_down_seconds)
VALUES (%(name)s, %(capacity)s, %(refill_per_second)s, %(capacity)s, %(failure_threshold)s,
        %(cool_down_seconds)s)
ON CONFLICT (name) DO UPDATE
SET capacity = excluded.capacity,
    refill_per_second = excluded.refill_per_second,
    tokens = least(excluded.capacity, known.tokens + known.refill_per_second
        * greatest(0, extract(epoch FROM clock_timestamp() - known.updated_at)::double precision)),
    updated_at = clock_timestamp(),
    failure_threshold = excluded.failure_threshold,
    cool_down_seconds = excluded.cool_down_seconds
-- Every run says what it is configured with; mostly that is nothing new.
WHERE (known.capacity, known.refill_per_second, known.failure_threshold, known.cool_down_seconds)
    IS DISTINCT FROM (excluded.capacity, excluded.refill_per_second, excluded.failure_threshold,
                      excluded.cool_down_seconds)
