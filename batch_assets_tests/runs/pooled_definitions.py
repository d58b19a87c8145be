"""A job that takes the one slot of a pool and holds it until a test opens its gate.

No code of batch_assets runs in it: a process that dies here dies before it has any lease.
"""

import os
import time
from pathlib import Path

import dagster as dg

POOL = "one_slot"


@dg.op(pool=POOL)
def hold_the_slot() -> None:
    """Says that it has the slot, then waits."""
    Path(os.environ["POOLED_PID_FILE"]).write_text(str(os.getpid()))
    while not Path(os.environ["POOLED_GATE"]).exists():
        time.sleep(0.05)


@dg.job(executor_def=dg.in_process_executor)
def pooled() -> None:
    """One step that needs the slot."""
    hold_the_slot()


definitions = dg.Definitions(jobs=[pooled])
