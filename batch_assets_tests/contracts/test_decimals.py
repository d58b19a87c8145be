"""Decimals seen as 64-bit integers, at the edges where they no longer fit."""

from decimal import Decimal

import pyarrow as pa
import pytest

from batch_assets.contracts.decimals import as_integers

_HIGHEST = 2**63 - 1


@pytest.mark.parametrize(
    ("numbers", "fits"),
    [
        ([], True),
        ([0, 1, _HIGHEST], True),
        ([-1, 0, 1], True),
        ([-_HIGHEST - 1, _HIGHEST], True),
        ([0, _HIGHEST + 1], False),
        ([2**64 - 1], False),
        ([2**64], False),
        ([-_HIGHEST - 2], False),
        ([-1, _HIGHEST + 1], False),
    ],
)
def test_values_of_64_bits_are_integers_and_wider_ones_are_not(
    numbers: list[int], fits: bool
) -> None:
    column = pa.array([Decimal(number) for number in numbers], pa.decimal128(38, 0))
    integers = as_integers(column)
    assert (None if integers is None else integers.tolist()) == (numbers if fits else None)


def test_null_has_no_integer() -> None:
    assert as_integers(pa.array([Decimal(1), None], pa.decimal128(20, 6))) is None
