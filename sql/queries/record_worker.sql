-- A later stage replaces an earlier one, and a worker that starts again replaces the first.
INSERT INTO ops.run_workers AS known (run_id, stage, host, machine_id, boot_id, pid_namespace, pid,
                                      process_start)
VALUES (%(run_id)s, %(stage)s, %(host)s, %(machine_id)s, %(boot_id)s, %(pid_namespace)s, %(pid)s,
        %(process_start)s)
ON CONFLICT (run_id) DO UPDATE
SET stage = excluded.stage,
    host = excluded.host,
    machine_id = excluded.machine_id,
    boot_id = excluded.boot_id,
    pid_namespace = excluded.pid_namespace,
    pid = excluded.pid,
    process_start = excluded.process_start,
    recorded_at = excluded.recorded_at
-- The launcher may still be writing when the worker has said that it is there.
WHERE array_position(ARRAY['created', 'launching', 'working'], excluded.stage)
   >= array_position(ARRAY['created', 'launching', 'working'], known.stage)
