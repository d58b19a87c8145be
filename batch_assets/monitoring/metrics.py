"""The metrics there are: name, labels, meaning. Values are read in snapshot.py.

`recent` is the window of `[alerts] window_seconds`. Labels come from the configuration or from
closed sets; none comes from data.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family.

    Attributes:
        name: As Prometheus knows it; a counter ends in `_total`.
        labels: Names of its labels.
        meaning: In one sentence.
    """

    name: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def is_counter(self) -> bool:
        """Whether it only rises."""
        return self.name.endswith("_total")


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric.

    Attributes:
        names: Of what it counts, the first ones; for messages to people, never a label.
    """

    metric: str
    labels: Mapping[str, str]
    value: float
    names: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """Its labels as one text, the same for the same labels."""
        return " ".join(f"{name}={self.labels[name]}" for name in sorted(self.labels))


_WRITTEN = (
    ("recent_loads", "target state", "Windows whose newest load ended lately, by its state."),
    ("recent_rows", "target outcome", "Rows that ended lately, by outcome; read is their sum."),
    ("recent_error_ratio", "target", "Share of recent rows that were rejected or rolled back."),
    ("recent_failed_load_ratio", "target", "Share of recently loaded windows that failed."),
    ("recent_load_seconds", "target percentile", "How long recent loads of a window took."),
    ("recent_chunk_rows", "target", "Chunk size that the newest large load ended with."),
    ("recent_batch_seconds", "target percentile", "How long recent batches of a stream took."),
    ("recent_rows_per_second", "target", "Rows of a stream committed lately, per second."),
    ("partition_lag_seconds", "feed", "Since when the oldest missing session of a feed is due."),
    ("dead_letters_open", "domain", "Rejected rows that nobody has answered."),
    ("waiting", "queue", "Rows or messages that wait."),
    ("oldest_waiting_seconds", "queue", "How long the oldest of them has waited."),
    ("queue_used_ratio", "queue", "How full a bounded queue is; at 1 it refuses more."),
    ("devices_silent", "", "Devices that sent records and then stopped."),
    ("device_outbox_dead", "", "Messages of devices that were refused too often."),
    ("leases", "", "Windows and shards being written now."),
    ("oldest_lease_seconds", "", "How long the oldest lease has been held."),
    (
        "lease_silent_seconds",
        "",
        "How long ago the oldest expired lease ran out.",
    ),
    ("lock_wait_seconds", "", "How long the longest wait for a lock in PostgreSQL lasts."),
    ("running_loads", "target", "Loads that are not ended, dead ones included."),
    ("run_workers", "stage", "Processes that answer for Dagster runs."),
    ("backfills", "state", "Backfills that have not ended."),
    ("backfill_partitions_left", "", "Their partitions without an outcome."),
    ("backfill_eta_seconds", "percentile", "Until the last running backfill is expected to end."),
    ("pool_slots", "pool", "Steps that may run at once in a pool of Dagster."),
    ("pool_slots_taken", "pool", "Steps that hold a slot."),
    ("pool_steps_waiting", "pool", "Steps that wait for a slot."),
    ("isolated_workers", "state", "Worker processes of this machine: allowed and active."),
    ("isolated_tasks_queued", "", "Tasks that wait for a worker process."),
    ("isolated_worker_restarts", "", "Processes replaced after a crash, in pools open now."),
    ("vendor_tokens", "vendor", "Requests a vendor could be sent now."),
    ("vendor_tokens_max", "vendor", "Requests a vendor can be sent after a pause."),
    ("vendor_breaker_open", "vendor", "1 while a vendor is not asked because it failed."),
    ("database_connections", "", "Client connections of the whole server."),
    ("database_connections_max", "", "Connections the server allows to us."),
    ("database_bytes", "", "Size of the database on disk."),
    ("container_cpus", "", "Cores that may be used."),
    ("container_cpu_seconds_total", "", "Processor time spent by the container."),
    ("container_memory_bytes", "", "Memory in use, without pages that can be given up."),
    ("container_memory_limit_bytes", "", "Memory that may be used."),
    ("memory_used_ratio", "", "The one divided by the other."),
    ("container_read_bytes_total", "", "Read from disks."),
    ("container_written_bytes_total", "", "Written to disks."),
    ("alerts_firing", "severity", "Alerts that fire now."),
    ("alerts_evaluated_seconds", "", "How long ago the alert rules were evaluated."),
    ("snapshot_seconds", "", "How long reading these metrics took."),
)
METRICS = {
    f"batch_assets_{name}": Metric(f"batch_assets_{name}", tuple(labels.split()), meaning)
    for name, labels, meaning in _WRITTEN
}
