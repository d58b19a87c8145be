"""The keeper: a small process that ends a stack when the process that started it is gone.

    python -m batch_assets.ops.keeper <stack id> <grace seconds>

It reads its standard input, a pipe whose other end only the starter holds. End of file means that
the starter has finished or died, `kill -9` included; what is left of the stack is then stopped.
A thread or a parent-death signal would not do: the first dies with its process, and the second
reaches children only, not the run workers below them.
"""

import os
import sys

from batch_assets.ops.processes import stop_marked


def main() -> None:
    """Wait for the end of standard input, then stop the stack."""
    stack_id, grace_seconds = sys.argv[1], float(sys.argv[2])
    while os.read(sys.stdin.fileno(), 4096):
        pass
    stop_marked(stack_id, grace_seconds=grace_seconds)


if __name__ == "__main__":
    main()
