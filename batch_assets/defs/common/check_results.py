"""Verdicts as Dagster's check results, with observed and expected also when they are kept."""

from collections.abc import Mapping

import dagster as dg

from batch_assets.quality.verdict import Level, Verdict


def severity_of(verdict: Verdict) -> dg.AssetCheckSeverity:
    """Dagster's severity of a verdict."""
    is_warning = verdict.level is Level.WARN
    return dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR


def metadata_of(verdict: Verdict) -> Mapping[str, str | int | float]:
    """Observed, expected and the figures."""
    return {"observed": verdict.observed, "expected": verdict.expected, **verdict.figures}


def description_of(verdict: Verdict) -> str:
    """One line: what was seen and what was expected."""
    return f"{verdict.observed}; expected {verdict.expected}"


def as_check_result(name: str, asset_key: dg.AssetKey, verdict: Verdict) -> dg.AssetCheckResult:
    """The result of one check over the days of a run."""
    return dg.AssetCheckResult(
        asset_key=asset_key,
        check_name=name,
        passed=verdict.is_kept,
        severity=severity_of(verdict),
        description=description_of(verdict),
        metadata=metadata_of(verdict),
    )
