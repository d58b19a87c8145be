"""Backfills as JSON and as JUnit reports; the shape of both is versioned."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from batch_assets.ops.backfills.values import (
    Backfill,
    PartitionError,
    PartitionOutcome,
    Progress,
)

# Raised when a field changes its meaning or goes; new fields may come without.
SCHEMA_VERSION = 1


def event_document(kind: str, **fields: object) -> dict[str, object]:
    """One line of NDJSON."""
    return {"version": SCHEMA_VERSION, "event": kind, **fields}


def backfill_document(backfill: Backfill, zone: ZoneInfo) -> dict[str, Any]:
    """A backfill; times with their offset."""
    document = asdict(backfill)
    document["phase"] = backfill.phase
    return {key: _shown(value, zone) for key, value in document.items()}


def progress_document(progress: Progress, zone: ZoneInfo) -> dict[str, Any]:
    """Progress; the backfill itself under its own key, rates rounded."""
    document = asdict(progress)
    eta = progress.eta
    document |= {
        "backfill": backfill_document(progress.backfill, zone),
        "total": progress.total,
        "done": progress.done,
        "done_pct": round(progress.done_pct, 1),
        "seconds": None if progress.seconds is None else round(progress.seconds, 1),
        "eta": None
        if eta is None
        else {"p50_at": _shown(eta.p50_at, zone), "p90_at": _shown(eta.p90_at, zone)},
    }
    for name in ("rows_per_second", "symbols_per_second"):
        document[name] = None if document[name] is None else round(document[name], 1)
    return {key: _shown(value, zone) for key, value in document.items()}


def error_document(error: PartitionError, zone: ZoneInfo) -> dict[str, Any]:
    """A partition that did not end well."""
    return {key: _shown(value, zone) for key, value in asdict(error).items()}


def _shown(value: object, zone: ZoneInfo) -> object:
    if isinstance(value, datetime):
        return value.astimezone(zone).isoformat(timespec="milliseconds")
    return value


def write_junit(
    path: Path,
    progress: Progress,
    outcomes: Sequence[PartitionOutcome],
    errors: Sequence[PartitionError],
) -> None:
    """Write a report that CI servers read: a test case for each partition.

    Args:
        path: Replaced if it exists.
        progress: After the end of the backfill.
        outcomes: Of its partitions, oldest first.
        errors: All of them.
    """
    # Writing needs no defence against what is read.
    from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

    backfill = progress.backfill
    suite = Element(
        "testsuite",
        name=backfill.asset_key,
        tests=str(len(outcomes)),
        failures=str(len(errors)),
        skipped=str(progress.skipped),
        time=f"{progress.seconds or 0:.3f}",
        timestamp=backfill.requested_at.isoformat(timespec="seconds"),
    )
    by_key = {error.partition_key: error for error in errors}
    for outcome in outcomes:
        key = outcome.partition_key
        case = SubElement(
            suite,
            "testcase",
            classname=backfill.asset_key,
            name=key,
            time=f"{outcome.seconds:.3f}",
        )
        error = by_key.get(key)
        if error is not None:
            kind = error.error_class or error.state
            failure = SubElement(case, "failure", type=kind, message=_plain(error.message))
            failure.text = f"run {error.run_id or '-'}, load {error.load_id or '-'}"
        elif outcome.state == "skipped":
            SubElement(case, "skipped", message=_plain(outcome.reason))
    root = Element("testsuites")
    root.append(suite)
    indent(root)
    ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _plain(text: str) -> str:
    """Without what XML cannot hold; messages quote values of files."""
    return "".join(
        c if c in "\t\n" or ord(c) >= 0x20 else "?" for c in text if c not in "\ufffe\uffff"
    )
