UPDATE ops.loads
SET state = 'failed',
    reason = 'interrupted',
    error_class = %(error_class)s,
    error_message = %(error_message)s,
    is_retryable = true,
    finished_at = clock_timestamp()
WHERE load_id = %(load_id)s AND state = 'running'
