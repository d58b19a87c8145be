-- A queue, like the inbox: dead rows at its front are read again by every relay until they are
-- vacuumed away, so that is done by their number, whatever is waiting.
ALTER TABLE devices.outbox SET (
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 50000,
    autovacuum_analyze_scale_factor = 0,
    autovacuum_analyze_threshold = 20000
);
