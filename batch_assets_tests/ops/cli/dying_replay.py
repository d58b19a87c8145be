"""A process that replays a workbook and dies where it is told to."""

import sys

from batch_assets.execution import failpoints
from batch_assets.ops.cli.main import run

if __name__ == "__main__":
    failpoints.arm(sys.argv[1])
    sys.exit(run(["dead-letters", "replay", sys.argv[2], "--by", "ann"]))
