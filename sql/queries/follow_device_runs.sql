-- The records of this part that a rule is to judge, by the time of the device, with the run of
-- records that break it continued from what is known. A record that is older than a value known
-- before says nothing about now, and is left out; the newest one corrected is judged again.
WITH watched AS MATERIALIZED (
    SELECT d.device_sn, r.rule, r.metric, r.lowest, r.highest, r.records, r.seconds
    FROM unnest(%(devices)s::text[], %(device_groups)s::text[]) AS d (device_sn, device_group)
    JOIN jsonb_to_recordset(%(rules)s) AS r (
        rule text, metric text, lowest numeric, highest numeric, records integer,
        seconds double precision, groups text[])
        ON d.device_group = ANY (r.groups)
), points AS MATERIALIZED (
    SELECT
        t.device_sn, t.rule, t.metric, t.records, t.seconds, w.measured_at, w.is_new, v.value,
        (v.value < t.lowest OR v.value > t.highest) IS TRUE AS is_breach
    FROM watched AS t
    JOIN pg_temp.written_device_records AS w USING (device_sn)
    CROSS JOIN LATERAL (
        SELECT CASE t.metric
            WHEN 'heart_rate_bpm' THEN w.heart_rate_bpm
            WHEN 'spo2_pct' THEN w.spo2_pct
            WHEN 'temperature_celsius' THEN w.temperature_celsius
            WHEN 'systolic_mmhg' THEN w.systolic_mmhg
            WHEN 'diastolic_mmhg' THEN w.diastolic_mmhg
            WHEN 'steps' THEN w.steps
            WHEN 'sleep_minutes' THEN w.sleep_minutes
        END
    ) AS v (value)
    WHERE v.value IS NOT NULL
      AND coalesce(lower(w.extra ->> 'enable_alerts'), 'true') NOT IN ('false', '0', 'no', 'off')
), edges AS MATERIALIZED (
    -- The newest value of each metric that was known before this part. What the part itself wrote
    -- carries its load and the time of its transaction.
    SELECT p.device_sn, p.metric, greatest(p.newest_corrected_at, known.measured_at) AS measured_at
    FROM (
        SELECT
            device_sn, metric, min(measured_at) AS first_at,
            max(measured_at) FILTER (WHERE NOT is_new) AS newest_corrected_at
        FROM points
        GROUP BY device_sn, metric
    ) AS p
    LEFT JOIN LATERAL (
        SELECT r.measured_at
        FROM devices.records AS r
        WHERE r.device_sn = p.device_sn
          AND r.measured_at > p.first_at
          AND NOT (r.load_id = %(load_id)s AND r.received_at = now())
          AND CASE p.metric
              WHEN 'heart_rate_bpm' THEN r.heart_rate_bpm
              WHEN 'spo2_pct' THEN r.spo2_pct
              WHEN 'temperature_celsius' THEN r.temperature_celsius
              WHEN 'systolic_mmhg' THEN r.systolic_mmhg
              WHEN 'diastolic_mmhg' THEN r.diastolic_mmhg
              WHEN 'steps' THEN r.steps
              WHEN 'sleep_minutes' THEN r.sleep_minutes
          END IS NOT NULL
        ORDER BY r.measured_at DESC
        LIMIT 1
    ) AS known ON true
), fresh AS MATERIALIZED (
    SELECT p.*, min(p.measured_at) OVER (PARTITION BY p.device_sn, p.rule) AS first_at
    FROM points AS p
    JOIN edges AS e USING (device_sn, metric)
    WHERE e.measured_at IS NULL OR p.measured_at >= e.measured_at
), islands AS (
    SELECT
        f.*,
        count(*) FILTER (WHERE NOT is_breach)
            OVER (PARTITION BY f.device_sn, f.rule ORDER BY f.measured_at) AS island,
        -- A run that ends with the record that is judged again: without it.
        CASE WHEN s.measured_at >= first_at THEN s.prior_count ELSE s.run_count END AS known_count,
        CASE WHEN s.measured_at >= first_at THEN s.prior_since ELSE s.run_since END AS known_since
    FROM fresh AS f
    LEFT JOIN devices.alert_runs AS s USING (device_sn, rule)
), runs AS (
    SELECT
        i.*,
        count(*) FILTER (WHERE is_breach) OVER run
            + CASE WHEN island = 0 THEN coalesce(known_count, 0) ELSE 0 END AS run_count,
        coalesce(
            CASE WHEN island = 0 THEN known_since END,
            min(measured_at) FILTER (WHERE is_breach) OVER run) AS run_since
    FROM islands AS i
    WINDOW run AS (PARTITION BY device_sn, rule, island ORDER BY measured_at)
)
INSERT INTO pg_temp.device_alert_points (
    device_sn, rule, metric, measured_at, value, is_breach, island, run_count, run_since,
    prior_count, prior_since, is_firing)
SELECT
    device_sn, rule, metric, measured_at, value, is_breach, island, run_count, run_since,
    coalesce(lag(run_count) OVER device, known_count, 0),
    CASE WHEN lag(run_count) OVER device IS NULL THEN known_since ELSE lag(run_since) OVER device END,
    is_breach AND run_count >= records AND measured_at >= run_since + make_interval(secs => seconds)
        -- Of a run that goes on, the alert may be open already.
        AND NOT (island = 0 AND EXISTS (
            SELECT
            FROM devices.alerts AS a
            WHERE a.device_sn = runs.device_sn AND a.metric = runs.metric AND a.rule = runs.rule
              AND a.resolved_at IS NULL))
FROM runs
WINDOW device AS (PARTITION BY device_sn, rule ORDER BY measured_at)
