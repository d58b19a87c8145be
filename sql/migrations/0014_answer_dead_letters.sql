-- What becomes of a dead letter: the values a person gave instead, who, when, and through which load.
ALTER TABLE ops.dead_letters ADD COLUMN layout jsonb;
ALTER TABLE ops.dead_letters ADD COLUMN read_load_id bigint;
ALTER TABLE ops.dead_letters ADD COLUMN corrected jsonb;
ALTER TABLE ops.dead_letters ADD COLUMN answered_by text;
ALTER TABLE ops.dead_letters ADD COLUMN answered_at timestamptz;
ALTER TABLE ops.dead_letters ADD COLUMN answered_from text;
ALTER TABLE ops.dead_letters ADD COLUMN answer_load_id bigint;
ALTER TABLE ops.dead_letters ADD COLUMN resolution text;
COMMENT ON COLUMN ops.dead_letters.load_id IS 'Load whose ledger counts the row as rejected: the last one that read it, or a replay of its window since.';
COMMENT ON COLUMN ops.dead_letters.layout IS 'Array of [name, kind, column, raw, place] in the order of the source; null where rows cannot be corrected one by one.';
COMMENT ON COLUMN ops.dead_letters.read_load_id IS 'Last load that read the row from its source; null for rows from before this was kept, then load_id says it.';
COMMENT ON COLUMN ops.dead_letters.corrected IS 'The values last given instead, as {name: [text, kind]}; null if none were. original keeps those before.';
COMMENT ON COLUMN ops.dead_letters.answered_by IS 'Who gave them, or discarded the row.';
COMMENT ON COLUMN ops.dead_letters.answered_at IS 'When, also where the row is still wrong.';
COMMENT ON COLUMN ops.dead_letters.answered_from IS 'Name of the workbook that the answer came in; null for commands.';
COMMENT ON COLUMN ops.dead_letters.answer_load_id IS 'ops.loads row of the replay.';
COMMENT ON COLUMN ops.dead_letters.resolution IS 'Why the row was discarded.';
