"""The composition root: what Dagster loads.

dagster dev
dagster job execute -m batch_assets.definitions -j market_sync --tags '{"dagster/partition": "…"}'

Webserver, daemon, code server and each run import this and build everything. So the builders of
`defs/` import what describes (settings, feeds, templates, transfers), and the body of an asset,
check, sensor or schedule imports what it runs: `run.py`, `ticks.py`, or what it calls.
"""

from collections.abc import Mapping

import dagster as dg

from batch_assets.defs.common.partitions import build_daily_partitions
from batch_assets.defs.common.resources import ClockResource, PostgresCopyResource
from batch_assets.defs.devices.definitions import build_device_definitions
from batch_assets.defs.documents.definitions import build_document_definitions
from batch_assets.defs.market.definitions import build_market_definitions
from batch_assets.defs.operations.definitions import build_operations_definitions
from batch_assets.defs.spreadsheets.definitions import build_spreadsheet_definitions
from batch_assets.defs.tables.definitions import build_tables_definitions
from batch_assets.execution import failpoints
from batch_assets.settings import Settings, load_settings


def build_definitions(
    settings: Settings | None = None, *, resources: Mapping[str, object] | None = None
) -> dg.Definitions:
    """Everything this package gives to Dagster.

    Args:
        settings: Of this process; read from the environment and the configuration if absent.
        resources: Replace resources by name (`postgres`, `clock`), for tests.

    Raises:
        ConfigurationError: The configuration is wrong; says where.
    """
    settings = settings or load_settings()
    failpoints.arm(settings.failpoints)
    partitions = build_daily_partitions(settings.dagster.first_day)
    return dg.Definitions.merge(
        build_market_definitions(settings, partitions),
        build_document_definitions(settings, partitions),
        build_spreadsheet_definitions(settings, partitions),
        build_tables_definitions(settings, partitions),
        build_device_definitions(settings, partitions),
        build_operations_definitions(settings),
        dg.Definitions(
            resources={
                "postgres": PostgresCopyResource(),
                "clock": ClockResource(),
                **(resources or {}),
            },
            # A step is one load that runs threads of its own; a process for each step would cost
            # 3 s and 120 MB.
            executor=dg.in_process_executor,
        ),
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Built when Dagster asks, so that importing this module does nothing."""
    return build_definitions()
