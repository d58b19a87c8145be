import dagster as dg
import psycopg
import pytest

from batch_assets.defs.common.resources import ClockResource
from batch_assets_tests.defs.market_files import (
    GOOD,
    GOOD_TOO,
    Market,
    day_text,
    evaluations,
    failure_text,
    verdict_of,
)


def ask_freshness(market: Market, now: str) -> dg.AssetCheckEvaluation:
    job = market.definitions(clock=ClockResource(fixed_at=now)).resolve_job_def(
        "market_freshness_cn"
    )
    result = job.execute_in_process(instance=market.instance, raise_on_error=False)
    assert result.success
    return verdict_of(result, "newest_session_is_stored")


def tamper(market: Market, *statements: str) -> None:
    with psycopg.connect(market.url) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def test_each_run_evaluates_every_check_once_with_observed_and_expected(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5))

    clock = ClockResource(fixed_at="2024-09-27T18:00:00+08:00")
    found = evaluations(market.sync(GOOD, clock=clock))

    assert sorted(e.check_name for e in found) == [
        "complete_against_previous_session",
        "error_rate_within_budget",
        "every_day_is_loaded",
        "ledger_balances",
        "newest_session_is_stored",
        "no_day_repeats_its_neighbour",
        "no_duplicate_keys",
        "volume_near_the_sessions_before",
    ]
    assert all(e.passed and e.metadata["observed"].value for e in found)
    assert all(e.metadata["expected"].value for e in found)


def test_row_removed_by_hand_fails_the_ledger_check_and_the_run(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5))
    market.sync(GOOD)
    # A trigger of somebody else's that takes a row away after every publish.
    tamper(
        market,
        """CREATE FUNCTION steal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           DELETE FROM market.daily_bars WHERE symbol = '600001.SH'; RETURN NULL; END $$""",
        "CREATE TRIGGER thief AFTER INSERT OR UPDATE ON ops.windows EXECUTE FUNCTION steal()",
    )
    market.write("cn", GOOD, day_text(GOOD, 6))

    result = market.sync(GOOD)

    verdict = verdict_of(result, "ledger_balances")
    assert not result.success
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "cn: 2024-09-27 has 5 rows instead of 6" in str(verdict.description)
    assert "ledger_balances" in failure_text(result)


def test_completeness_warns_of_a_day_that_lost_symbols(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 60))
    market.write("cn", GOOD_TOO, day_text(GOOD_TOO, 39, close=10.4))

    result = market.sync(GOOD, GOOD_TOO)

    verdict = verdict_of(result, "complete_against_previous_session")
    assert result.success
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "2024-09-30: neighbouring codes are missing together" in str(verdict.description)
    assert "600039.SH to 600059.SH (21); 39 rows after 60 on 2024" in str(verdict.description)
    assert verdict.metadata["largest_drop_rows"].value == 21


def test_stored_day_that_repeats_its_neighbour_fails_the_run(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 30))
    market.write("cn", GOOD_TOO, day_text(GOOD_TOO, 30, close=10.4))
    assert market.sync(GOOD, GOOD_TOO).success
    # As two days that were published at the same moment and did not see each other.
    tamper(market, "UPDATE market.daily_bars SET close = 10.5")

    result = market.sync(GOOD, GOOD_TOO)

    verdict = verdict_of(result, "no_day_repeats_its_neighbour")
    assert not result.success
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "30 of 30 symbols have exactly the bar of 2024-09-27" in str(verdict.description)


def test_completeness_accepts_a_small_drop(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 60))
    market.write("cn", GOOD_TOO, day_text(GOOD_TOO, 40, close=10.4))

    result = market.sync(GOOD, GOOD_TOO)

    assert verdict_of(result, "complete_against_previous_session").passed


@pytest.mark.parametrize(
    ("bad", "severity"),
    [(1, None), (8, dg.AssetCheckSeverity.WARN), (25, dg.AssetCheckSeverity.ERROR)],
)
def test_error_rate_warns_above_five_and_fails_above_ten_percent(
    market: Market, bad: int, severity: dg.AssetCheckSeverity | None
) -> None:
    market.add_feed("cn", reject_limit_ratio="0.5")
    market.write("cn", GOOD, day_text(GOOD, 100, bad=bad))

    result = market.sync(GOOD)

    verdict = verdict_of(result, "error_rate_within_budget")
    assert verdict.passed == (severity is None)
    assert result.success == (severity is not dg.AssetCheckSeverity.ERROR)
    assert verdict.passed or verdict.severity is severity
    assert verdict.metadata["rows_rejected"].value == bad


def test_newest_session_that_is_stored_is_fresh(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5))
    market.sync(GOOD)

    # Saturday, Sunday, and Monday before the file is due.
    for now in ("2024-09-28T12:00", "2024-09-29T12:00", "2024-09-30T15:59"):
        assert ask_freshness(market, f"{now}:00+08:00").passed


def test_session_that_is_due_and_not_stored_is_stale(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5))
    market.sync(GOOD)

    verdict = ask_freshness(market, "2024-09-30T16:01:00+08:00")

    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert verdict.metadata["observed"].value == "newest bar 2024-09-27"
    assert verdict.metadata["freshness_age_days"].value == 3
    assert "2024-09-30, the newest session that is due" in str(verdict.description)


def test_feed_without_any_bar_is_stale(market: Market) -> None:
    verdict = ask_freshness(market, "2024-09-30T16:01:00+08:00")

    assert not verdict.passed
    assert verdict.metadata["observed"].value == "newest bar none"


def test_run_of_old_days_warns_that_newer_ones_are_missing(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5))

    result = market.sync(GOOD)

    verdict = verdict_of(result, "newest_session_is_stored")
    assert result.success
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_freshness_between_runs_is_the_checks_newest_evaluation(market: Market) -> None:
    market.write("cn", GOOD, day_text(GOOD, 5))
    market.sync(GOOD, clock=ClockResource(fixed_at="2024-09-27T18:00:00+08:00"))
    ask_freshness(market, "2024-09-30T16:01:00+08:00")

    key = dg.AssetCheckKey(dg.AssetKey(["market", "cn", "daily_bars"]), "newest_session_is_stored")
    events = market.instance.get_records_for_run(
        market.instance.get_runs(limit=1)[0].run_id,
        of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    ).records

    [event] = [record.event_log_entry.dagster_event for record in events]
    assert event is not None
    assert event.asset_check_evaluation_data.asset_check_key == key
    assert not event.asset_check_evaluation_data.passed
