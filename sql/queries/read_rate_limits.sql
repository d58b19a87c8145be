-- What is left of each limit now; changes nothing.
SELECT name,
       capacity,
       refill_per_second,
       least(capacity, tokens + refill_per_second
           * greatest(0, extract(epoch FROM clock_timestamp() - updated_at)::double precision)),
       CASE WHEN blocked_until > clock_timestamp() THEN blocked_until END,
       breaker_state,
       failures,
       opened_at
FROM ops.rate_limits
ORDER BY name
