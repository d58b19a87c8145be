"""A task on its way to a worker, and back.

What callers give and get is in tasks.py; the link in host_link.py carries these.
"""

from collections.abc import Callable
from dataclasses import dataclass

from batch_assets.errors import WorkersUnavailable
from batch_assets.execution.spool import Packed
from batch_assets.execution.tasks import Task, TaskResult


@dataclass(frozen=True, slots=True)
class Arrival:
    """A task that has ended.

    Attributes:
        number: Of the order.
        result: Without its value.
        value: The pickled value of a task that ended well; whoever takes it discards it.
        failure: Why there is no result: the workers, not the task.
    """

    number: int
    result: TaskResult
    value: Packed | None = None
    failure: WorkersUnavailable | None = None


@dataclass(slots=True)
class Order:
    """A task on its way.

    Attributes:
        number: Unique within the link.
        task: As given.
        argument: Pickled.
        on_end: Called once, in the link's thread; it must not wait.
        attempts: How often a worker got it.
        is_running: Whether one has it now.
    """

    number: int
    task: Task
    argument: Packed
    on_end: Callable[[Arrival], None]
    attempts: int = 0
    is_running: bool = False
