"""The declared types of a template's columns: `decimal(12,2)` to Arrow and PostgreSQL."""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

MAX_PRECISION = 38
_DECLARED = re.compile(
    r"(?P<name>[a-z]+)(?:\(\s*(?P<precision>\d+)\s*(?:,\s*(?P<scale>\d+)\s*)?\))?"
)
_SCALED_DEFAULTS = {"decimal": (18, 4), "percent": (12, 6)}


class TypeName(StrEnum):
    """Names that a template may write."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    PERCENT = "percent"
    DATE = "date"
    TIMESTAMP = "timestamp"
    TIME = "time"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A declared type.

    Attributes:
        precision: Digits in all, of decimal and percent.
        scale: Digits after the point, of decimal and percent. A percent is stored as a fraction:
            12.5 % is 0.125.
    """

    name: TypeName
    precision: int = 0
    scale: int = 0

    @classmethod
    @lru_cache(maxsize=256)
    def parse(cls, declared: str) -> "ColumnType":
        """Read a declaration.

        Raises:
            ValueError: Says what is allowed.
        """
        match = _DECLARED.fullmatch(declared.strip().lower())
        if match is None or match["name"] not in set(TypeName):
            raise ValueError(
                f"type {declared!r} is not known, expected one of {', '.join(TypeName)}, or "
                "decimal(12,2) with digits in all and after the point"
            )
        name = TypeName(match["name"])
        if name not in _SCALED_DEFAULTS:
            if match["precision"]:
                raise ValueError(f"type {declared!r} has digits, expected plain {name}")
            return cls(name)
        if match["precision"] is None:
            return cls(name, *_SCALED_DEFAULTS[name])
        precision, scale = int(match["precision"]), int(match["scale"] or 0)
        if not (1 <= precision <= MAX_PRECISION and scale <= precision):
            raise ValueError(
                f"type {declared!r}: expected 1 to {MAX_PRECISION} digits, and no more of them "
                "after the point than in all"
            )
        return cls(name, precision, scale)

    @property
    def is_scaled(self) -> bool:
        """Whether values are decimals."""
        return self.name in _SCALED_DEFAULTS

    def __str__(self) -> str:
        return f"{self.name}({self.precision},{self.scale})" if self.is_scaled else str(self.name)

    def arrow(self, *, with_zone: bool = False) -> "pa.DataType":
        """Arrow type of the values; timestamps with a zone are instants in UTC."""
        import pyarrow as pa

        match self.name:
            case TypeName.TEXT:
                return pa.string()
            case TypeName.INTEGER:
                return pa.int64()
            case TypeName.DATE:
                return pa.date32()
            case TypeName.TIMESTAMP:
                return pa.timestamp("us", "UTC" if with_zone else None)
            case TypeName.TIME:
                return pa.time64("us")
            case TypeName.BOOLEAN:
                return pa.bool_()
            case _:
                return pa.decimal128(self.precision, self.scale)
