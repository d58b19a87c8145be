-- Files known in a part of the listing that it no longer names. Names are compared part by part of
-- the path, as they are listed; no name has the character 1, which sorts before all others.
SELECT count(*)
FROM documents.files AS f
WHERE f.source = %(source)s
  AND f.state <> 'deleted'
  AND translate(f.path, '/', chr(1)) COLLATE "C" > translate(%(after)s, '/', chr(1)) COLLATE "C"
  AND (%(up_to)s::text IS NULL
       OR translate(f.path, '/', chr(1)) COLLATE "C" <= translate(%(up_to)s, '/', chr(1)) COLLATE "C")
  AND NOT EXISTS (SELECT FROM document_listing AS l WHERE l.path = f.path)
  AND NOT EXISTS (
      SELECT FROM unnest(%(unlisted)s::text[]) AS u (folder)
      WHERE u.folder = '' OR starts_with(f.path, u.folder || '/'))
