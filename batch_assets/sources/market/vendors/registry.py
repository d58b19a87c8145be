"""Which vendors there are: a line for each, naming the module that has its `VENDOR`.

Modules are imported when a feed names them, so that a vendor nobody uses costs nothing.
"""

from functools import lru_cache
from importlib import import_module

from batch_assets.sources.market.vendors.vendor import VendorKind

VENDORS: dict[str, str] = {
    "baostock": "batch_assets.sources.market.vendors.baostock",
    "tushare": "batch_assets.sources.market.vendors.tushare",
    "massive": "batch_assets.sources.market.vendors.massive",
    "eodhd": "batch_assets.sources.market.vendors.eodhd",
    "yahoo": "batch_assets.sources.market.vendors.yahoo",
    "eastmoney": "batch_assets.sources.market.vendors.eastmoney",
}


def kind_of(name: str) -> VendorKind:
    """What a vendor's module says about it.

    Raises:
        ValueError: There is no such vendor; names those there are.
    """
    if name not in VENDORS:
        raise ValueError(f"no vendor {name!r}; expected one of {', '.join(VENDORS)}")
    return _kind_in(VENDORS[name])


@lru_cache(maxsize=64)
def _kind_in(module: str) -> VendorKind:
    kind = import_module(module).VENDOR
    if not isinstance(kind, VendorKind):
        raise TypeError(f"{module}.VENDOR is {kind!r}, expected a VendorKind")
    return kind
