-- Rows rejected while the staged chunks were read belong to the load that continues after them,
-- however many attempts lie between.
UPDATE ops.dead_letters
SET load_id = %(load_id)s
WHERE target = %(target)s
  AND scope = %(scope)s
  AND window_key = %(window_key)s
  AND state = 'open'
  AND load_id >= (SELECT min(load_id) FROM ops.checkpoints WHERE resource = %(resource)s)
