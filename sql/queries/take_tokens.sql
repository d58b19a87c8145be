-- One statement, so that asking is atomic: the row is locked first, and only then is the clock read.
WITH locked AS MATERIALIZED (
    SELECT * FROM ops.rate_limits WHERE name = %(name)s FOR UPDATE
),
present AS MATERIALIZED (
    SELECT l.*, clock_timestamp() AS at FROM locked AS l
),
refilled AS (
    SELECT p.*,
           -- A clock that is set back takes nothing away.
           least(p.capacity, p.tokens + p.refill_per_second
               * greatest(0, extract(epoch FROM p.at - p.updated_at)::double precision)) AS available,
           CASE p.breaker_state
               WHEN 'open' THEN p.opened_at + make_interval(secs => p.cool_down_seconds)
               WHEN 'half_open' THEN p.probe_until
           END AS closed_until
    FROM present AS p
),
judged AS (
    SELECT r.*,
           greatest(0, extract(epoch FROM r.blocked_until - r.at))::double precision AS block_seconds,
           greatest(0, extract(epoch FROM r.closed_until - r.at))::double precision AS breaker_seconds,
           greatest(0, (%(tokens)s::double precision - r.available) / r.refill_per_second) AS token_seconds
    FROM refilled AS r
),
granted AS (
    SELECT j.*,
           greatest(j.block_seconds, j.breaker_seconds, j.token_seconds) AS wait_seconds,
           j.block_seconds = 0 AND j.breaker_seconds = 0
               AND j.available >= %(tokens)s::double precision AS is_granted
    FROM judged AS j
)
UPDATE ops.rate_limits AS stored
SET tokens = CASE WHEN g.is_granted THEN g.available - %(tokens)s::double precision ELSE g.available END,
    updated_at = greatest(g.at, g.updated_at),
    breaker_state = CASE WHEN g.is_granted AND g.breaker_state = 'open' THEN 'half_open' ELSE g.breaker_state END,
    probe_until = CASE
        WHEN g.is_granted AND g.breaker_state <> 'closed' THEN g.at + make_interval(secs => g.cool_down_seconds)
        ELSE g.probe_until
    END
FROM granted AS g
WHERE stored.name = g.name AND g.capacity >= %(tokens)s::double precision
RETURNING g.is_granted,
          g.wait_seconds,
          CASE
              WHEN g.is_granted THEN 'granted'
              WHEN g.wait_seconds = g.breaker_seconds THEN 'breaker_' || g.breaker_state
              WHEN g.wait_seconds = g.block_seconds THEN 'blocked'
              ELSE 'no_tokens'
          END,
          stored.tokens,
          g.is_granted AND g.breaker_state <> 'closed',
          g.failures > 0 OR g.breaker_state <> 'closed'
