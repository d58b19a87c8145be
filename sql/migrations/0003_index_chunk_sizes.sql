-- Only loads of windows larger than a chunk have a chunk size; without this index the newest one
-- would be looked for in the whole history of loads.
CREATE INDEX loads_with_chunks ON ops.loads (target, scope, load_id DESC) WHERE metrics ? 'last_chunk_rows';
