-- A shadow beside a live function ends alone; the switch before it is rolled back by another call.
UPDATE devices.shadow_buckets
SET live_function = CASE WHEN shadow_function IS NULL THEN previous_function ELSE live_function END,
    previous_function = CASE WHEN shadow_function IS NULL THEN NULL ELSE previous_function END,
    is_switched = is_switched AND shadow_function IS NOT NULL,
    shadow_function = NULL,
    changed_at = clock_timestamp()
WHERE bucket = ANY (%(buckets)s)
  AND (shadow_function IS NOT NULL OR is_switched)
