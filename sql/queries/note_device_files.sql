-- Files of a folder that are not known with this content. Known ones are not even locked: whoever
-- writes them locks many, in the order of their ids.
INSERT INTO devices.files (path, sha256, size_bytes, modified_ns)
SELECT path, sha256, size_bytes, modified_ns
FROM unnest(
    %(paths)s::text[], %(sha256s)s::text[], %(sizes)s::bigint[], %(modified)s::bigint[])
    AS seen (path, sha256, size_bytes, modified_ns)
ON CONFLICT (path, sha256) DO NOTHING
