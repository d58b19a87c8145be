"""Plans as files: write one, and launch exactly what it says, or nothing."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from batch_assets.errors import PlanOutdated, RequestRefused
from batch_assets.ops.backfills.market import request_days
from batch_assets.ops.backfills.values import BackfillRequest
from batch_assets.ops.market import choose_feed, plan_market
from batch_assets.runs.backfill_states import BACKFILL_PRIORITY
from batch_assets.settings import Settings
from batch_assets.sources.market.feed import build_feeds
from batch_assets.sources.market.plan import Plan

PLAN_VERSION = 1
_QUOTED_CHANGES = 3


def plan_document(plan: Plan) -> dict[str, Any]:
    """The plan as JSON: days one by one, seconds rounded, null for what is not known."""
    return {
        "version": PLAN_VERSION,
        "feed": plan.feed,
        "is_forced": plan.is_forced,
        "symbols": None if plan.symbols is None else list(plan.symbols),
        "days_asked": len(plan.days),
        "days_needed": plan.needed_days,
        "reasons": plan.reasons,
        "calls": plan.calls,
        "rows": plan.rows,
        "seconds_p50": _rounded(plan.seconds),
        "seconds_p90": _rounded(plan.seconds_p90),
        "tokens_left": _rounded(plan.tokens_left),
        "groups": [
            {
                "route": group.route,
                "days_needed": group.needed_days,
                "calls": group.calls,
                "symbols": None if group.symbols is None else list(group.symbols),
            }
            for group in plan.groups
        ],
        "days": [
            {"day": day.day.isoformat(), "why": day.why, "is_needed": day.is_needed}
            for day in plan.days
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def request_plan(
    settings: Settings,
    path: Path,
    *,
    priority: int = BACKFILL_PRIORITY,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> BackfillRequest:
    """The request a plan file stands for, provided that planning again gives the same plan.

    Durations and calls left may differ; days, their reasons and the way they are fetched may not.

    Raises:
        PlanOutdated: The world has changed since; says what.
        RequestRefused: The file is no plan.
    """
    written = _read_plan(path)
    days = [date.fromisoformat(day["day"]) for day in written["days"]]
    symbols = tuple(written["symbols"] or ())
    plan = plan_market(
        written["feed"],
        days[0],
        days[-1],
        symbols=symbols,
        is_forced=bool(written["is_forced"]),
        now=now,
    )
    changes = list(_changes(written, plan_document(plan)))
    if changes:
        more = len(changes) - _QUOTED_CHANGES
        listed = "; ".join(changes[:_QUOTED_CHANGES]) + (f"; and {more} more" if more > 0 else "")
        raise PlanOutdated(
            f"{path} no longer fits: {listed}; expected the world it was made for; nothing was "
            "launched; plan again with `batch-assets plan market`, and look at what changed"
        )
    feed = choose_feed(build_feeds(settings.section("market"), settings.config_dir), plan.feed)
    return request_days(
        feed,
        days,
        whys={day["day"]: day["why"] for day in written["days"]},
        symbols=symbols,
        is_forced=bool(written["is_forced"]),
        priority=priority,
    )


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        is_plan = document["version"] == PLAN_VERSION and document["feed"] and document["days"]
        days = [date.fromisoformat(day["day"]) for day in document["days"]]
        is_plan = bool(is_plan) and len(days) == (days[-1] - days[0]).days + 1
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise RequestRefused(
            f"{path} cannot be read as a plan ({type(error).__name__}: {error}), expected what "
            "`batch-assets plan market --out` writes; plan again"
        ) from error
    if not is_plan:
        raise RequestRefused(
            f"{path} is no plan of version {PLAN_VERSION} with the days of one range, expected "
            "what `batch-assets plan market --out` writes; plan again"
        )
    return dict(document)


def _changes(written: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Differences that matter, days first."""
    was = {day["day"]: day["why"] for day in written["days"]}
    now = {day["day"]: str(day["why"]) for day in found["days"]}
    changes = [
        f"{day} was {was.get(day, 'not planned')} and is {now.get(day, 'not planned')}"
        for day in sorted(was.keys() | now.keys())
        if was.get(day) != now.get(day)
    ]
    ways = [
        [(group["route"], group["calls"], group["symbols"]) for group in plan["groups"]]
        for plan in (written, found)
    ]
    if not changes and ways[0] != ways[1]:
        changes.append("days are fetched in another way, or with another number of calls")
    return changes
