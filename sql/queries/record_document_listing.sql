-- Files that are new, changed, back again or no longer growing; what is as it was is not written.
WITH listed AS (
    SELECT
        l.path,
        l.size_bytes,
        l.modified_ns,
        -- The day of a file that stays as it is never changes. A time of change in the future or
        -- before the first day (1980 in many archives) says nothing: such a file arrived today.
        CASE
            WHEN is_same.yes THEN f.arrival_day
            WHEN l.folder_day IS NOT NULL THEN l.folder_day
            WHEN %(by_folder)s THEN %(today)s::date
            WHEN m.day BETWEEN %(first_day)s::date AND %(today)s::date THEN m.day
            ELSE %(today)s::date
        END AS arrival_day,
        l.refusal,
        is_same.yes AS is_same,
        f.state AS known_state,
        f.outcome AS known_outcome,
        -- Written last some time ago (a copy that keeps times sets them at its end), or found
        -- the same again some time after the first look.
        l.modified_ns <= (extract(epoch FROM clock_timestamp()) - %(settle_seconds)s) * 1e9
        OR (is_same.yes AND f.looked_at <= clock_timestamp() - make_interval(secs => %(settle_seconds)s))
        AS is_settled
    FROM document_listing AS l
    LEFT JOIN documents.files AS f ON f.source = %(source)s AND f.path = l.path
    CROSS JOIN LATERAL (
        SELECT coalesce(f.size_bytes = l.size_bytes AND f.modified_ns = l.modified_ns, false) AS yes
    ) AS is_same
    CROSS JOIN LATERAL (
        SELECT (timestamptz 'epoch' + make_interval(secs => l.modified_ns / 1e9)) AT TIME ZONE 'UTC' AS day
    ) AS t
    CROSS JOIN LATERAL (SELECT t.day::date AS day) AS m
),
written AS (
    INSERT INTO documents.files AS known (source, path, arrival_day, size_bytes, modified_ns, state,
                                          outcome, reason)
    SELECT
        %(source)s,
        path,
        arrival_day,
        size_bytes,
        modified_ns,
        CASE WHEN is_settled OR refusal IS NOT NULL THEN 'waiting' ELSE 'growing' END,
        CASE WHEN refusal IS NOT NULL THEN 'refused' END,
        refusal
    FROM listed
    WHERE NOT is_same
       OR known_state = 'deleted'
       OR (known_state = 'growing' AND is_settled)
       OR (known_outcome = 'vanished' AND known_state = 'failed')
       OR (refusal IS NOT NULL) <> (known_outcome IS NOT DISTINCT FROM 'refused')
    ON CONFLICT (source, path) DO UPDATE
    SET arrival_day = excluded.arrival_day,
        size_bytes = excluded.size_bytes,
        modified_ns = excluded.modified_ns,
        state = excluded.state,
        outcome = excluded.outcome,
        reason = excluded.reason,
        attempts = 0,
        finished_at = NULL,
        looked_at = CASE
            WHEN known.size_bytes = excluded.size_bytes AND known.modified_ns = excluded.modified_ns
                THEN known.looked_at
            ELSE clock_timestamp()
        END
    RETURNING xmax = 0 AS is_new, state, outcome
)
SELECT
    count(*) FILTER (WHERE is_new) AS new_files,
    count(*) FILTER (WHERE NOT is_new) AS changed_files,
    count(*) FILTER (WHERE state = 'growing') AS growing_files,
    count(*) FILTER (WHERE outcome = 'refused') AS refused_files
FROM written
