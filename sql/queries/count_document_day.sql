-- One snapshot of a day when its claims are made: what is to be read, and how the rest stands.
SELECT
    count(*) AS found,
    count(*) FILTER (WHERE is_mine) AS claimed,
    count(*) FILTER (WHERE NOT is_mine AND state = 'done') AS unchanged,
    count(*) FILTER (WHERE NOT is_mine AND state = 'failed') AS failed,
    count(*) FILTER (WHERE NOT is_mine AND state IN ('growing', 'waiting')) AS growing
FROM (
    SELECT state, claimed_by IS NOT DISTINCT FROM %(load_id)s AS is_mine
    FROM documents.files
    WHERE source = %(source)s
      AND (arrival_day = %(day)s OR claimed_by = %(load_id)s)
) AS f
WHERE is_mine OR state <> 'deleted'
