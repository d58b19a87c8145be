"""Processor, memory, executors and connections at the paths of the original service."""

from dataclasses import asdict
from datetime import datetime

import anyio.to_thread
from fastapi import APIRouter
from pydantic import BaseModel

from batch_assets.ops.api.authentication import Reader
from batch_assets.ops.api.context import Context
from batch_assets.ops.api.failures import PROBLEMS
from batch_assets.ops.resources import read_connections, read_executors

router = APIRouter(prefix="/api/system", tags=["system"], responses=PROBLEMS)


class ProcessAnswer(BaseModel):
    """The process that answers."""

    memory_usage_mb: float
    memory_percent: float
    cpu_percent: float
    threads_count: int
    open_files: int


class SystemAnswer(BaseModel):
    """The container, or the machine where nothing limits us."""

    total_memory_mb: float
    available_memory_mb: float
    memory_percent: float
    cpu_percent: float
    cpu_count: float


class ResourceAnswer(BaseModel):
    """Processor and memory; percent of what may be used, of the process of one core."""

    timestamp: datetime
    process: ProcessAnswer
    system: SystemAnswer


class ProcessPoolAnswer(BaseModel):
    """A pool of isolated worker processes that is open now."""

    pool: str
    pid: int
    workers: int
    active: int
    queued: int
    done: int
    failed: int
    restarts: int
    peak_memory_bytes: int


class ProcessExecutorAnswer(BaseModel):
    """Worker processes: allowed in one pool, and over all open pools of this host."""

    max_workers: int
    active_tasks: int
    queued_tasks: int
    pools: list[ProcessPoolAnswer]


class ThreadExecutorAnswer(BaseModel):
    """Threads that carry requests of this process."""

    max_workers: int
    active_tasks: int
    queued_tasks: int
    io_threads: int


class ExecutorAnswer(BaseModel):
    """Active tasks of processes and threads."""

    timestamp: datetime
    process_executor: ProcessExecutorAnswer
    thread_executor: ThreadExecutorAnswer


class PoolAnswer(BaseModel):
    """The pool of this process."""

    min_size: int
    max_size: int
    size: int
    in_use: int
    available: int
    waiting: int
    requests_total: int
    errors_total: int


class ApplicationAnswer(BaseModel):
    """Connections of one application to our database."""

    application: str
    connections: int
    active: int
    idle_in_transaction: int


class ServerAnswer(BaseModel):
    """Connections to the server, and what it takes."""

    max_connections: int
    connections: int
    applications: list[ApplicationAnswer]


class DatabasePoolAnswer(BaseModel):
    """Connections of this process, and of everybody."""

    timestamp: datetime
    pool: PoolAnswer
    server: ServerAnswer


@router.get("/resource-usage", summary="Processor and memory")
def resource_usage(_: Reader, context: Context) -> ResourceAnswer:
    """Shares of the processor are since the look before, at least a second."""
    found = context.meter.read()
    return ResourceAnswer(
        timestamp=context.now(),
        process=ProcessAnswer(**asdict(found.process)),
        system=SystemAnswer(**asdict(found.system)),
    )


@router.get("/executor-stats", summary="Worker processes and threads")
async def executor_stats(_: Reader, context: Context) -> ExecutorAnswer:
    """Of the pools of this host; each is at most a second old."""
    found = await anyio.to_thread.run_sync(read_executors, context.settings)
    pools = [
        ProcessPoolAnswer(pool=one.pool, pid=one.pid, **asdict(one.statistics))
        for one in found.pools
    ]
    threads = anyio.to_thread.current_default_thread_limiter().statistics()
    return ExecutorAnswer(
        timestamp=context.now(),
        process_executor=ProcessExecutorAnswer(
            max_workers=found.process_workers,
            active_tasks=sum(pool.active for pool in pools),
            queued_tasks=sum(pool.queued for pool in pools),
            pools=pools,
        ),
        thread_executor=ThreadExecutorAnswer(
            max_workers=int(threads.total_tokens),
            active_tasks=threads.borrowed_tokens,
            queued_tasks=threads.tasks_waiting,
            io_threads=found.thread_workers,
        ),
    )


@router.get("/db-pool-stats", summary="Connections")
def db_pool_stats(_: Reader, context: Context) -> DatabasePoolAnswer:
    """Of this process, and of everybody who is connected."""
    with context.transaction() as conn:
        server = read_connections(conn)
        seen = context.pool.get_stats()
    size, available = seen.get("pool_size", 0), seen.get("pool_available", 0)
    return DatabasePoolAnswer(
        timestamp=context.now(),
        pool=PoolAnswer(
            min_size=seen.get("pool_min", 0),
            max_size=seen.get("pool_max", 0),
            size=size,
            in_use=size - available,
            available=available,
            waiting=seen.get("requests_waiting", 0),
            requests_total=seen.get("requests_num", 0),
            errors_total=seen.get("requests_errors", 0),
        ),
        server=ServerAnswer.model_validate(asdict(server)),
    )
