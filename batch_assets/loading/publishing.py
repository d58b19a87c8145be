"""What every way of publishing a window works with."""

from dataclasses import dataclass

import psycopg

from batch_assets.loading.loads import LoadContext
from batch_assets.loading.merge import Target
from batch_assets.loading.options import LoadOptions


@dataclass(slots=True)
class Publishing:
    """One connection that publishes into one target, for one load."""

    conn: psycopg.Connection
    context: LoadContext
    target: Target
    options: LoadOptions
