-- Whether a run has to stop before its next partition.
SELECT EXISTS (SELECT FROM ops.paused_feeds WHERE feed = %(feed)s)
       OR EXISTS (SELECT FROM ops.backfills
                  WHERE backfill_id = %(backfill_id)s::bigint AND wanted <> 'run')
