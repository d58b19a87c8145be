-- Which values of a rejected row are of columns that its contract marks as personal. They are kept
-- for whoever loads and corrects rows; everybody else reads the view.
ALTER TABLE ops.dead_letters ADD COLUMN personal text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN ops.dead_letters.personal IS 'Names in original whose values are shown as ***.';

-- Over two relations: every server, and every dump, then writes the view down in the same way.
CREATE VIEW ops.masked_dead_letters AS
SELECT
    l.dead_letter_id,
    l.load_id,
    l.target,
    l.scope,
    l.window_key,
    l.source_file,
    l.row_number,
    l.rule,
    l.violations,
    m.original,
    l.state,
    l.seen_count,
    l.first_seen_at,
    l.last_seen_at,
    l.resolved_at,
    l.answered_by,
    l.answered_at,
    l.answered_from,
    l.resolution
FROM ops.dead_letters AS l
CROSS JOIN LATERAL (
    SELECT jsonb_object_agg(o.key, CASE WHEN o.key = ANY (l.personal) AND o.value <> 'null'::jsonb
                                        THEN '"***"'::jsonb ELSE o.value END) AS original
    FROM jsonb_each(l.original) AS o
) AS m;
COMMENT ON VIEW ops.masked_dead_letters IS 'Dead letters for readers: values of personal columns are ***.';
