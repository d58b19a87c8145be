-- The end of a backfill beside its estimates. One that was made before a pause was not about it: a
-- resumption begins a segment, and a cancellation is no end that anybody could expect.
UPDATE ops.eta_accuracy AS a
SET ended_at = b.ended_at
FROM ops.backfills AS b
WHERE a.backfill_id = %(backfill_id)s
  AND b.backfill_id = a.backfill_id
  AND b.ended_at IS NOT NULL
  AND b.state <> 'canceled'
  AND NOT EXISTS (SELECT
                  FROM ops.backfill_segments AS s
                  WHERE s.backfill_id = a.backfill_id AND s.launched_at > a.estimated_at)
