-- Open dead letters by table, with the rule most of them break.
SELECT target,
       count(*) AS open,
       mode() WITHIN GROUP (ORDER BY rule) AS commonest_rule,
       min(first_seen_at) AS oldest_at,
       max(last_seen_at) AS newest_at
FROM ops.dead_letters
WHERE state = 'open'
GROUP BY target
ORDER BY open DESC, target
