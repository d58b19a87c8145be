SELECT arrival_day, count(*)
FROM documents.files
WHERE source = %(source)s AND state = 'waiting'
GROUP BY arrival_day
ORDER BY arrival_day
