import re
from hashlib import sha256

import dagster as dg
import psycopg
import pytest

from batch_assets.defs.common.resources import ClockResource
from batch_assets.ops.backfills import changes
from batch_assets.ops.backfills.requests import launch
from batch_assets.runs.backfill_states import BACKFILL_TAG
from batch_assets_tests.defs.market_files import (
    GOOD,
    GOOD_TOO,
    HOLIDAY,
    Market,
    day_text,
    evaluations,
    failure_text,
    materializations,
    observations,
    verdict_of,
)
from batch_assets_tests.ops.backfills.planted import request

# 2024-10-01 to 2024-10-07 is the National Day closure; trading goes on on the 8th.
BROKEN = "2024-10-08"
MISSING = "2024-10-09"


@pytest.fixture
def week(market: Market) -> Market:
    """Two good days, the closure, a day in the wrong encoding and one without its file."""
    market.write("cn", GOOD, day_text(GOOD, 5))
    market.write("cn", GOOD_TOO, day_text(GOOD_TOO, 6))
    path = market.write("cn", BROKEN, "")
    path.write_bytes(b"date,symbol\xff\xfe\n2024-10-08,\x81\x8d\n")
    return market


def test_good_day_is_stored_and_materialised(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5))

    result = market.sync(GOOD, clock=ClockResource(fixed_at="2024-09-27T18:00:00+08:00"))

    assert result.success
    assert market.stored_days("cn") == {GOOD: 5}
    assert list(materializations(result)) == [GOOD]
    assert all(evaluation.passed for evaluation in evaluations(result))


def test_day_tells_its_rows_time_and_source(market: Market) -> None:
    text = day_text(GOOD, 5)
    market.write("cn", GOOD, text)

    day = materializations(market.sync(GOOD))[GOOD]

    counts = {name: day.metadata[name].value for name in day.metadata if name.startswith("rows_")}
    # The UI plots integers and floats; a text would be a column without a curve.
    assert all(isinstance(count, int) for count in counts.values())
    assert counts.pop("rows_per_second") > 0
    assert counts == {
        "rows_read": 5,
        "rows_inserted": 5,
        "rows_updated": 0,
        "rows_unchanged": 0,
        "rows_duplicate": 0,
        "rows_rejected": 0,
        "rows_skipped": 0,
    }
    assert day.metadata["dagster/row_count"].value == 5
    assert isinstance(day.metadata["seconds"].value, float)
    assert day.metadata["source_file"].value == f"{GOOD}.csv"
    assert re.fullmatch(r"[0-9a-f]{64}", str(day.metadata["source_hash"].value))
    assert day.metadata["source_hash"].value != sha256(text.encode()).hexdigest()  # + the mapping
    assert "reasons" not in day.metadata
    assert day.description == "5 rows read: 5 inserted"


def test_reasons_of_rejected_rows_are_tables_whose_cells_hold(market: Market) -> None:
    market.add_feed("cn", reject_limit_ratio="0.5")
    market.write("cn", GOOD, day_text(GOOD, 6, bad=2))

    result = market.sync(GOOD)

    day = materializations(result)[GOOD]
    reasons = day.metadata["reasons"]
    assert isinstance(reasons, dg.MarkdownMetadataValue)
    assert reasons.md_str is not None
    *_, row = reasons.md_str.splitlines()
    assert re.fullmatch(r"\| \w+ \| 2 \| rejected \|", row)
    examples = day.metadata["rejected_examples"]
    assert isinstance(examples, dg.MarkdownMetadataValue)
    assert examples.md_str is not None
    header, _, *rows = examples.md_str.splitlines()
    # The cell held `a|b`; unescaped it would open a column of its own.
    assert len(rows) == 2
    assert all(r"a\|b" in row for row in rows)
    assert {len(re.split(r"(?<!\\)\|", row)) for row in [header, *rows]} == {8}
    assert day.description == "8 rows read: 6 inserted, 2 rejected"


def test_holiday_is_materialised_as_skipped_with_its_reason(market: Market) -> None:
    result = market.sync(HOLIDAY)

    day = materializations(result)[HOLIDAY]
    assert result.success
    assert day.metadata["state"].value == "skipped"
    assert day.metadata["reason"].value == "not_a_session"
    assert day.metadata["dagster/row_count"].value == 0
    assert "XSHG" in str(day.description)
    assert market.stored_days("cn") == {}


def test_range_keeps_good_days_and_fails_bad_ones(week: Market) -> None:
    result = week.sync(GOOD, MISSING)

    days = materializations(result)
    failed = {e.partition: e for e in evaluations(result) if e.partition is not None}
    assert not result.success
    assert week.stored_days("cn") == {GOOD: 5, GOOD_TOO: 6}
    assert {key: day.metadata["state"].value for key, day in days.items()} == {
        GOOD: "success",
        "2024-09-28": "skipped",
        "2024-09-29": "skipped",
        GOOD_TOO: "success",
        **{f"2024-10-0{n}": "skipped" for n in range(1, 8)},
    }
    assert days[GOOD].metadata["rows_read"].value == 5
    assert days[GOOD_TOO].metadata["rows_read"].value == 6
    assert {(e.check_name, e.passed) for e in failed.values()} == {("every_day_is_loaded", False)}
    assert "2024-10-08.csv" in str(failed[BROKEN].description)
    assert failed[BROKEN].metadata["state"].value == "failed"
    assert failed[MISSING].metadata["reason"].value == "missing_file"
    assert set(failed) == {BROKEN, MISSING}
    observed = observations(week.sync(BROKEN, MISSING))
    assert set(observed) == {BROKEN, MISSING}
    assert "put the file there" in str(observed[MISSING].metadata["summary"].value)


def test_range_with_bad_days_is_not_tried_again(week: Market) -> None:
    result = week.sync(GOOD, MISSING)

    kinds = [event.event_type for event in result.all_events]
    assert dg.DagsterEventType.STEP_UP_FOR_RETRY not in kinds
    assert kinds.count(dg.DagsterEventType.STEP_START) == 1
    text = failure_text(result)
    assert "2 of 13 days failed; the others are loaded" in text
    assert f"{BROKEN}: " in text
    assert f"{MISSING}: " in text
    whole = verdict_of(result, "every_day_is_loaded")
    assert not whole.passed
    assert whole.metadata["days_failed"].value == 2
    assert verdict_of(result, "ledger_balances").passed


def test_failed_day_succeeds_once_its_file_is_mended(week: Market) -> None:
    week.sync(GOOD, MISSING)
    week.write("cn", BROKEN, day_text(BROKEN, 4))

    result = week.sync(BROKEN)

    assert result.success
    assert materializations(result)[BROKEN].metadata["rows_inserted"].value == 4


@pytest.mark.parametrize(
    ("now", "has_file", "state"),
    [
        ("2024-09-27T14:59:00+08:00", True, "not_ready"),
        ("2024-09-27T15:01:00+08:00", True, "success"),
        ("2024-09-27T15:01:00+08:00", False, "not_ready"),
        ("2024-09-27T16:01:00+08:00", False, "failed"),
    ],
)
def test_todays_key_before_and_after_the_close(
    market: Market, now: str, has_file: bool, state: str
) -> None:
    if has_file:
        market.write("cn", GOOD, day_text(GOOD, 5))

    result = market.sync(GOOD, clock=ClockResource(fixed_at=now))

    assert result.success == (state != "failed")
    assert (list(materializations(result)) == [GOOD]) == (state == "success")
    # A day without a materialisation still says on its page what became of it.
    assert (list(observations(result)) == [GOOD]) == (state != "success")
    assert market.rows("SELECT state FROM ops.loads") == [(state,)]


def test_clock_is_set_by_the_run_configuration(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5))
    fixed = {"resources": {"clock": {"config": {"fixed_at": "2024-09-27T11:00:00+08:00"}}}}

    result = market.sync(GOOD, run_config=fixed, clock=ClockResource.configure_at_launch())

    assert result.success
    assert materializations(result) == {}
    assert verdict_of(result, "every_day_is_loaded").metadata["days_not_ready"].value == 1


def test_clock_without_an_offset_is_refused(market: Market) -> None:
    result = market.sync(GOOD, clock=ClockResource(fixed_at="2024-09-27T11:00:00"))

    assert not result.success
    assert "expected an instant with an offset" in failure_text(result)


def test_day_the_calendar_does_not_know_is_empty_without_confirmation(market: Market) -> None:
    market.add_feed("own", calendar="MINE", time_zone='"UTC"', closes_at="16:00:00")

    result = market.sync(GOOD, job="market_sync_own")

    assert result.success
    assert materializations(result) == {}
    verdict = verdict_of(result, "every_day_is_loaded")
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert GOOD in str(verdict.description)


@pytest.mark.long
def test_feeds_of_two_time_zones_load_in_one_job(market: Market) -> None:
    market.add_feed("us", calendar="XNYS")
    market.write("cn", GOOD, day_text(GOOD, 5))
    market.write("us", GOOD, day_text(GOOD, 3).replace(".SH", ""))
    both = dg.define_asset_job("both", selection="*", executor_def=dg.in_process_executor)
    # 17:30 in New York, and the next morning in Shanghai.
    clock = ClockResource(fixed_at="2024-09-27T21:30:00+00:00")
    definitions = dg.Definitions.merge(market.definitions(clock=clock), dg.Definitions(jobs=[both]))

    result = definitions.resolve_job_def("both").execute_in_process(
        instance=market.instance, partition_key=GOOD, raise_on_error=False
    )

    assert result.success
    assert market.stored_days("cn") == {GOOD: 5}
    assert market.stored_days("us") == {GOOD: 3}


def test_same_file_again_is_recognised_and_force_compares_it(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5))
    market.sync(GOOD)

    again = materializations(market.sync(GOOD))[GOOD]
    forced = materializations(
        market.sync(
            GOOD, run_config={"ops": {"market__cn__daily_bars": {"config": {"force": True}}}}
        )
    )[GOOD]

    assert again.metadata["recognised_by"].value == "source_hash"
    assert forced.metadata["recognised_by"].value == "difference"
    for day in (again, forced):
        assert day.metadata["rows_unchanged"].value == 5
        assert day.metadata["rows_inserted"].value == 0
        assert day.metadata["dagster/row_count"].value == 5


def test_rows_without_a_readable_date_are_reported(market: Market) -> None:
    market.add_feed("many", layout='"by_symbol"', files='"*.csv"')
    good = day_text(GOOD, 20)
    (market.folder / "many" / "all.csv").write_text(f"{good}soon,600099.SH,10,11,9,10,1,1\n")

    result = market.sync(GOOD, job="market_sync_many")

    assert list(materializations(result)) == [GOOD]
    assert market.stored_days("many") == {GOOD: 20}
    assert not result.success
    assert "undated: 1 rows have no readable date" in failure_text(result)
    assert market.rows("SELECT window_key, rule FROM ops.dead_letters") == [
        ("undated", "unparsable_date")
    ]


def test_known_rows_without_a_date_fail_no_further_run_and_new_ones_do(market: Market) -> None:
    market.add_feed("many", layout='"by_symbol"', files='"*.csv"')
    path = market.folder / "many" / "all.csv"
    path.write_text(f"{day_text(GOOD, 20)}soon,600099.SH,10,11,9,10,1,1\n")
    market.sync(GOOD, job="market_sync_many")

    known = market.sync(GOOD, job="market_sync_many")
    path.write_text(f"{path.read_text()}later,600098.SH,10,11,9,10,1,1\n")
    added = market.sync(GOOD, job="market_sync_many")

    assert known.success
    assert list(materializations(known)) == [GOOD]
    assert market.rows(
        "SELECT state, reason, rows_read, rows_rejected FROM ops.loads"
        " WHERE window_key = 'undated' ORDER BY load_id"
    ) == [
        ("failed", "unparsable_date", 1, 1),
        ("skipped", "undated_rows_are_known", 1, 1),
        ("failed", "unparsable_date", 2, 2),
    ]
    assert not added.success
    assert "undated: 2 rows have no readable date" in failure_text(added)
    assert market.rows("SELECT count(*) FROM ops.dead_letters WHERE state = 'open'") == [(2,)]


def test_run_is_named_in_the_ledger(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5))

    result = market.sync(GOOD)

    assert market.rows("SELECT run_id FROM ops.loads") == [(result.run_id,)]


def test_run_writes_json_lines_with_load_place_and_local_time(week: Market) -> None:
    week.environment["LANG"] = "zh_CN.UTF-8"

    result = week.sync(GOOD, MISSING)

    lines = week.log_of(result.run_id)
    assert {line["run"] for line in lines} == {result.run_id}
    assert (lines[0]["event"], lines[-1]["event"]) == ("run_started", "run_ended")
    assert all(line["at"].endswith("+08:00") for line in lines)
    days = {line["partition"]: line for line in lines if line["event"] == "partition"}
    good, broken = days[GOOD], days[BROKEN]
    assert (good["i"], good["n"], good["feed"], good["rows"]["inserted"]) == (1, 13, "cn", 5)
    assert good["message"].startswith(f"[1/13] {GOOD} 成功: 5 rows read")
    assert (broken["level"], broken["state"], broken["i"]) == ("ERROR", "failed", 12)
    assert days[HOLIDAY]["message"].startswith(f"[5/13] {HOLIDAY} 跳过")
    ids = dict(week.rows("SELECT window_key, load_id FROM ops.loads"))
    assert {day: line["load"] for day, line in days.items()} == ids


def test_paused_backfill_ends_its_run_as_canceled_before_the_next_day(week: Market) -> None:
    with psycopg.connect(week.url) as conn:
        launch(conn, request(GOOD, GOOD_TOO), "ann")
        changes.pause(conn, 1, "bob")

    result = week.sync(GOOD, GOOD_TOO, tags={BACKFILL_TAG: "1"})

    assert not result.success
    run = week.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert week.stored_days("cn") == {}
    assert week.rows("SELECT held_at IS NOT NULL FROM ops.backfill_runs") == [(True,)]
    assert "4 of 4 days were not begun" in cancel_message(week, result.run_id)


def cancel_message(market: Market, run_id: str) -> str:
    (record,) = market.instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.RUN_CANCELING
    ).records
    event = record.event_log_entry.dagster_event
    return event.message or "" if event is not None else ""
