"""Replays of the tables that no template has: market bars and device records."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from batch_assets.contracts.dead_letter import DeadLetter
from batch_assets.ingest.corrections.workbook import CorrectedWorkbook, WorkbookReplay
from batch_assets.loading.leases import Connector
from batch_assets.settings import Settings
from batch_assets.sources.spreadsheets.correctable import CorrectableRow

# Spelled out, so that nothing of a domain is imported before a row of it is met.
BARS, RECORDS = "market.daily_bars", "devices.records"


def correctable_of(letter: DeadLetter) -> CorrectableRow | None:
    """A dead letter of these tables with its cells; None for any other."""
    if letter.target == BARS:
        from batch_assets.ingest.market.correctable import correctable_bar

        return correctable_bar(letter)
    if letter.target == RECORDS:
        from batch_assets.ingest.devices.replay import correctable_record

        return correctable_record(letter)
    return None


def other_replays(
    connect: Connector, settings: Settings, error_folder: Path, *, run_id: str | None = None
) -> Mapping[str, Callable[[CorrectedWorkbook, str, str], WorkbookReplay]]:
    """Replays by table.

    Args:
        connect: Opens a connection.
        settings: Whose feeds and devices are meant.
        error_folder: Where workbooks of what is still wrong go.
        run_id: Shown in the ledger.
    """
    return {
        BARS: partial(_replay_bars, connect, settings, error_folder, run_id),
        RECORDS: partial(_replay_records, connect, settings, error_folder, run_id),
    }


def _replay_bars(
    connect: Connector,
    settings: Settings,
    error_folder: Path,
    run_id: str | None,
    workbook: CorrectedWorkbook,
    who: str,
    feed_name: str,
) -> WorkbookReplay:
    from batch_assets.ingest.market.daily_bars import options_of
    from batch_assets.ingest.market.replay import replay_bars
    from batch_assets.sources.market.feed import build_feeds

    feeds = build_feeds(settings.section("market"), settings.config_dir)
    return replay_bars(
        connect,
        {feed_name: feeds[feed_name]} if feed_name in feeds else feeds,
        workbook,
        who=who,
        options_of=lambda feed: options_of(feed, settings.loading, run_id=run_id),
        error_folder=error_folder,
    )


def _replay_records(
    connect: Connector,
    settings: Settings,
    error_folder: Path,
    run_id: str | None,
    workbook: CorrectedWorkbook,
    who: str,
    _: str,
) -> WorkbookReplay:
    from batch_assets.ingest.devices.effects import read_device_effects
    from batch_assets.ingest.devices.replay import DeviceReplayOptions, replay_records
    from batch_assets.loading.streams import StreamOptions
    from batch_assets.sources.devices.settings import read_device_settings

    section = read_device_settings(settings)
    return replay_records(
        connect,
        workbook,
        who=who,
        options=DeviceReplayOptions(
            section.zone,
            section.shards,
            read_device_effects(settings),
            StreamOptions(
                lease_seconds=settings.loading.lease_seconds,
                run_id=run_id,
                personal=section.personal_names,
            ),
        ),
        error_folder=error_folder,
    )
