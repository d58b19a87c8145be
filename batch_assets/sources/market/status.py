"""What became of a symbol on a day: traded, suspended, or listed without a trade."""

from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from batch_assets.sources.market.columns import PRICES
from batch_assets.sources.market.contract import NO_TRADE, SUSPENDED, TRADED
from batch_assets.sources.market.feed import Feed
from batch_assets.sources.market.numbers import is_all_positive

_BAR = PRICES[:4]


def apply_status(
    columns: dict[str, pa.Array], status_text: pa.Array | None, feed: Feed, count: int
) -> None:
    """Add the column `status`, and clean what suspended rows say in place of nothing.

    A row is suspended where the feed's status column says so, or where all four prices and the
    volume are zero. Its open, high and low become null and its volume 0; the close that a vendor
    carries over stays, a zero in its place becomes null. A row of volume 0 did not trade and
    keeps the prices the vendor states.

    Args:
        columns: Typed columns; changed.
        status_text: Text of the feed's status column, None where it has none.
        feed: Says which values mean suspended.
        count: Rows.
    """
    if is_all_positive(columns["volume"]) and not feed.suspended_values:
        columns["status"] = pa.repeat(pa.scalar(TRADED), count)
    else:
        _apply(columns, status_text, feed)
    pre_close = columns["pre_close"]
    if not is_all_positive(pre_close):
        # Zero is how vendors write that there is no previous close (first day of trading).
        columns["pre_close"] = _null_where(pc.equal(pre_close, pa.scalar(0)), pre_close)


def _apply(columns: dict[str, pa.Array], status_text: pa.Array | None, feed: Feed) -> None:
    volume = columns["volume"]
    no_volume = pc.fill_null(pc.equal(volume, pa.scalar(0)), False)
    if is_all_positive(columns["close"]) and not feed.suspended_values:
        columns["status"] = pc.if_else(no_volume, NO_TRADE, TRADED)
        return
    suspended = pc.and_(no_volume, _all_zero(columns))
    if status_text is not None and feed.suspended_values:
        said = pc.is_in(status_text, value_set=pa.array(feed.suspended_values, pa.string()))
        suspended = pc.or_(suspended, pc.fill_null(said, False))
    for name in ("open", "high", "low"):
        columns[name] = _null_where(suspended, columns[name])
    close = columns["close"]
    has_none = pc.and_(suspended, pc.fill_null(pc.equal(close, pa.scalar(0)), False))
    columns["close"] = _null_where(has_none, close)
    zero = pa.scalar(Decimal(0), volume.type)
    columns["volume"] = pc.if_else(suspended, zero, volume)
    columns["status"] = pc.if_else(suspended, SUSPENDED, pc.if_else(no_volume, NO_TRADE, TRADED))


def _all_zero(columns: dict[str, pa.Array]) -> pa.Array:
    result: pa.Array | None = None
    for name in _BAR:
        zero = pc.fill_null(pc.equal(columns[name], pa.scalar(0)), False)
        result = zero if result is None else pc.and_(result, zero)
    return result


def _null_where(mask: pa.Array, values: pa.Array) -> pa.Array:
    return pc.if_else(mask, pa.scalar(None, values.type), values)
