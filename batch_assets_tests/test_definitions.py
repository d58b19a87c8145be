"""What Dagster is shown: the list of assets, jobs and schedules, and what each must have."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from batch_assets.definitions import build_definitions
from batch_assets.defs.common.resources import ClockResource
from batch_assets.errors import ConfigurationError
from batch_assets.settings import Settings, load_settings

PROJECT = Path(__file__).resolve().parents[1]
US_FEED = """
[market.feeds.us]
folder = "us"
layout = "by_day"
files = "{date}.csv"
calendar = "XNYS"
"""
EVERY_DOMAIN = f"""
{US_FEED}
[market.feeds.baostock]
vendor = "baostock"

[market.feeds.tushare]
vendor = "tushare"

[documents.sources.inbox]
url = "documents"
schedule = "0 * * * *"

[spreadsheets]
landing = "spreadsheets"
inbox = "corrected"

[spreadsheets.templates.orders]
files = "orders*.xlsx"
table = "sales.orders"
key = "number"

[spreadsheets.templates.orders.columns]
number = {{ type = "integer", required = true }}
ordered_on = {{ type = "date", date_formats = ["%d.%m.%Y"] }}

[tables.transfers.orders]
table = "public.orders"
target = "copies.orders"
key = ["number"]
schedule = "30 2 * * *"

[devices]
landing = "devices"

[alerts]

[retention]
"""
RUN_PACKAGES = ("batch_assets.ingest.", "batch_assets.loading.", "batch_assets.quality.")
NEEDED_BY_RUNS = {
    "exchange_calendars",
    "fastapi",
    "h5py",
    "httpx",
    "lxml",
    "numpy",
    "openpyxl",
    "pandas",
    "pebble",
    "pgpq",
    "polars",
    "psutil",
    "psycopg",
    "psycopg_pool",
    "pyarrow",
    "pypdfium2",
    "redis",
    "stamina",
    "tenacity",
    "uvicorn",
}
CHECKS = {
    "adjustment_factors": ["every_day_is_read", "no_factor_is_missing"],
    "daily_bars": [
        "complete_against_previous_session",
        "error_rate_within_budget",
        "every_day_is_loaded",
        "ledger_balances",
        "newest_session_is_stored",
        "no_day_repeats_its_neighbour",
        "no_duplicate_keys",
        "volume_near_the_sessions_before",
    ],
    "daily": ["rollups_equal_recomputation"],
    "daily_bars_hfq": ["factors_are_known"],
    "daily_bars_qfq": ["factors_are_known"],
    "instruments": ["universe_is_known"],
    "latest": ["order_kept_per_device"],
    "records": [
        "error_rate_within_budget",
        "every_file_is_done",
        "ledger_balances",
        "no_open_dead_letters",
    ],
    "suspensions": ["every_day_is_read"],
    "weekly": ["weeks_equal_their_days"],
}


def settings_of(folder: Path, text: str) -> Settings:
    (folder / "batch_assets.toml").write_text(text, encoding="utf-8")
    return load_settings({}, working_dir=folder)


@pytest.fixture
def shipped() -> dg.Definitions:
    """The definitions of a fresh clone."""
    return build_definitions(load_settings({}, working_dir=PROJECT))


def test_shipped_definitions_load(shipped: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(shipped)


def test_list_of_assets_jobs_and_schedules(shipped: dg.Definitions) -> None:
    assert sorted(key.to_user_string() for key in shipped.resolve_all_asset_keys()) == [
        "devices/daily",
        "devices/latest",
        "devices/records",
        "devices/weekly",
        "market/baostock/adjustment_factors",
        "market/baostock/daily_bars",
        "market/baostock/daily_bars_hfq",
        "market/baostock/daily_bars_qfq",
        "market/baostock/instruments",
        "market/baostock/suspensions",
        "market/examples/daily_bars",
    ]
    assert sorted(job.name for job in shipped.resolve_all_job_defs()) == [
        "__ASSET_JOB",
        "device_load",
        "market_adjusted_baostock",
        "market_freshness_baostock",
        "market_freshness_examples",
        "market_reference_baostock",
        "market_sync",
        "market_sync_baostock",
        "market_sync_examples",
        "prune",
    ]
    assert sorted(schedule.name for schedule in shipped.schedules or ()) == [
        "device_load_schedule",
        "market_freshness_baostock_schedule",
        "market_freshness_examples_schedule",
        "market_reference_baostock_schedule",
        "market_repair_baostock_schedule",
        "market_repair_examples_schedule",
        "market_sync_baostock_schedule",
        "market_sync_examples_schedule",
        "prune_schedule",
    ]


def test_every_asset_has_group_owner_description_kind_and_checks(shipped: dg.Definitions) -> None:
    graph = shipped.resolve_asset_graph()
    for spec in shipped.resolve_all_asset_specs():
        node = graph.get(spec.key)
        assert spec.group_name not in (None, "default")
        assert spec.owners
        assert spec.description
        assert "postgres" in spec.kinds
        checks = sorted(key.name for key in graph.get_check_keys_for_assets({spec.key}))
        assert checks == CHECKS[spec.key.path[-1]]
        if spec.partitions_def is not None:
            assert node.backfill_policy is not None
            assert node.backfill_policy.max_partitions_per_run == 30


def test_every_job_and_schedule_is_described(shipped: dg.Definitions) -> None:
    for job in shipped.resolve_all_job_defs():
        assert job.description or job.name == "__ASSET_JOB"
    for schedule in shipped.schedules or ():
        assert isinstance(schedule, dg.ScheduleDefinition)
        assert schedule.description


def test_default_job_is_of_the_default_feed(tmp_path: Path) -> None:
    other = US_FEED.replace("feeds.us", "feeds.zz").replace('"us"', '"zz"')
    settings = settings_of(tmp_path, f'[market]\ndefault_feed = "zz"\n{US_FEED}{other}')

    job = build_definitions(settings).resolve_job_def("market_sync")

    assert job.tags["batch_assets/feed"] == "zz"
    assert [key.to_user_string() for key in job.asset_layer.executable_asset_keys] == [
        "market/zz/daily_bars"
    ]


def test_runs_of_a_feed_carry_its_tag_which_the_queue_limits(shipped: dg.Definitions) -> None:
    for name in ("market_sync", "market_sync_examples"):
        assert shipped.resolve_job_def(name).tags["batch_assets/feed"] == "examples"


def test_all_feeds_share_one_partitions_definition(tmp_path: Path) -> None:
    other = US_FEED.replace("feeds.us", "feeds.cn").replace("XNYS", "XSHG")
    definitions = build_definitions(settings_of(tmp_path, f"[market]\n{US_FEED}{other}"))

    found = {spec.partitions_def for spec in definitions.resolve_all_asset_specs()}

    assert len(found) == 1


def test_first_partition_is_set_in_the_configuration(tmp_path: Path) -> None:
    text = f"[dagster]\nfirst_day = 2019-12-31\n[market]\n{US_FEED}"
    definitions = build_definitions(settings_of(tmp_path, text))
    [spec] = definitions.resolve_all_asset_specs()
    assert spec.partitions_def is not None

    assert spec.partitions_def.get_first_partition_key() == "2019-12-31"


def test_configuration_without_feeds_loads(tmp_path: Path) -> None:
    definitions = build_definitions(settings_of(tmp_path, ""))

    assert list(definitions.resolve_all_asset_keys()) == []


def test_wrong_feed_is_named(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, f'[market]\n{US_FEED}encoding = "utf-7x"\n')

    with pytest.raises(ConfigurationError, match=r"market\.feeds\.us.*encoding"):
        build_definitions(settings)


def test_resources_are_replaced_by_name(shipped: dg.Definitions) -> None:
    mine = ClockResource(fixed_at="2024-09-30T17:00:00+08:00")

    definitions = build_definitions(
        load_settings({}, working_dir=PROJECT), resources={"clock": mine}
    )

    assert set(definitions.resources or {}) == set(shipped.resources or {})
    assert (definitions.resources or {})["clock"] is mine


def test_building_definitions_touches_neither_database_nor_folder(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, f"[market]\n{US_FEED}")

    build_definitions(settings).resolve_all_job_defs()

    assert os.listdir(tmp_path) == ["batch_assets.toml"]  # noqa: PTH208 - names are all we ask


def test_building_the_definitions_imports_nothing_that_only_runs_need(tmp_path: Path) -> None:
    (tmp_path / "batch_assets.toml").write_text(EVERY_DOMAIN, encoding="utf-8")
    code = f"""
import sys
from batch_assets.definitions import build_definitions
definitions = build_definitions()
definitions.get_repository_def()
print(sorted({{key.path[0] for key in definitions.resolve_all_asset_keys()}}))
print(sorted({NEEDED_BY_RUNS!r} & {{name.split('.')[0] for name in sys.modules}}))
print(sorted(name for name in sys.modules if name.startswith({RUN_PACKAGES!r})))
"""

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    domains, libraries, own = done.stdout.splitlines()[-3:]
    assert domains == "['devices', 'documents', 'market', 'spreadsheets', 'tables']"
    assert libraries == "[]"
    assert own == "[]"
