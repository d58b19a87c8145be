from dataclasses import replace
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from batch_assets.contracts.disposition import Disposition
from batch_assets.contracts.rules import not_negative
from batch_assets.contracts.severity import Severity
from batch_assets.contracts.table import Scope, TableContract, Window, resource_of
from batch_assets_tests.loading.synthetic import CONTRACT

_CHANGES: list[dict[str, object]] = [
    {"target": "public.other"},
    {"columns": CONTRACT.columns.append(pa.field("more", pa.int64()))},
    {"key": ("source", "symbol")},
    {"disposition": Disposition.REPLACE},
    {"rules": (not_negative("price"),)},
    {"rules": (CONTRACT.rules[0], replace(CONTRACT.rules[1], severity=Severity.WARN))},
    {"version": "2"},
]


@pytest.mark.parametrize("change", _CHANGES, ids=[next(iter(change)) for change in _CHANGES])
def test_whatever_changes_what_is_stored_changes_the_fingerprint(
    change: dict[str, object],
) -> None:
    assert replace(CONTRACT, **change).fingerprint != CONTRACT.fingerprint


def test_an_equal_contract_has_an_equal_fingerprint() -> None:
    again = TableContract(
        **{name: getattr(CONTRACT, name) for name in CONTRACT.__dataclass_fields__}
    )

    assert again.fingerprint == CONTRACT.fingerprint
    assert len(again.fingerprint) == 16


def test_a_day_is_a_half_open_window_from_midnight_utc() -> None:
    window = Window.of_day(date(2024, 2, 29))

    assert window == Window("2024-02-29", date(2024, 2, 29), date(2024, 3, 1))
    assert window.starts_at == datetime(2024, 2, 29, tzinfo=UTC)
    assert window.ends_at == datetime(2024, 3, 1, tzinfo=UTC)


def test_an_unbounded_window_has_no_instants() -> None:
    window = Window("all")

    assert (window.starts_at, window.ends_at) == (None, None)


def test_a_resource_names_target_scope_and_window() -> None:
    window = Window.of_day(date(2024, 9, 30))

    assert resource_of(CONTRACT, Scope((("source", "x"),)), window) == "public.prices/x/2024-09-30"
    assert resource_of(CONTRACT, Scope(), window) == "public.prices/2024-09-30"
