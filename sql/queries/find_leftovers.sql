SELECT EXISTS (SELECT FROM ops.leases)
    OR EXISTS (SELECT FROM ops.loads WHERE state = 'running')
