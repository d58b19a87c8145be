"""What the Dagster instance of a folder says about itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from batch_assets.errors import BatchAssetsError, ConfigurationError

# Dagster's own default where dagster.yaml says nothing.
_DEFAULT_CONCURRENT_RUNS = 10


@dataclass(frozen=True, slots=True)
class InstanceSummary:
    """A loaded Dagster instance.

    Attributes:
        run_count: Runs in its history.
        running_count: Runs that are starting or running now.
        max_concurrent_runs: Limit of the run queue; -1 is none.
        default_pool_limit: Slots of a pool without a limit of its own; None is no limit.
        pool_limits: Limits of the pools that have been used or set.
    """

    run_count: int
    running_count: int
    max_concurrent_runs: int
    default_pool_limit: int | None
    pool_limits: dict[str, int]


@contextmanager
def opened_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Load `dagster.yaml` of a folder as Dagster does.

    Raises:
        ConfigurationError: Dagster does not accept the file.
        DatabaseUnavailable: The storage does not answer.
    """
    try:
        instance = dg.DagsterInstance.from_config(str(home))
    except BatchAssetsError:
        raise
    # Dagster raises one class for wrong options and another for each class it cannot import.
    except (dg.DagsterError, ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"{home / 'dagster.yaml'} does not load in Dagster: {' '.join(str(error).split())}; "
            "expected an instance file; correct dagster.yaml, or remove it to use the shipped one"
        ) from error
    with instance:
        yield instance


def read_instance(home: Path) -> InstanceSummary:
    """Load `dagster.yaml` of a folder and ask its storage; raises as `opened_instance`."""
    with opened_instance(home) as instance:
        concurrency = instance.get_concurrency_config()
        queue = concurrency.run_queue_config
        running = dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
        )
        return InstanceSummary(
            run_count=instance.get_runs_count(),
            running_count=instance.get_runs_count(running),
            max_concurrent_runs=queue.max_concurrent_runs if queue else _DEFAULT_CONCURRENT_RUNS,
            default_pool_limit=concurrency.pool_config.default_pool_limit,
            pool_limits={
                pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()
            },
        )
