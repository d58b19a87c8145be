"""What a vendor can be asked, and what its answer looks like.

A vendor's file has a class with the methods of the protocols it can answer, and a `VENDOR` that
describes it. Verdicts about days belong in vendor_source.py, typing of cells in parse.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from batch_assets.errors import ConfigurationError, SourceUnavailable

if TYPE_CHECKING:
    from datetime import date

    import numpy as np
    import pyarrow as pa
    from pydantic import SecretStr

    from batch_assets.sources.market.feed import VendorFeed
    from batch_assets.sources.market.raw_table import Malformed

Secrets = Callable[[str], "SecretStr | None"]
"""Gives the value of an environment variable; `Settings.secret`."""


class Throttle(Protocol):
    """Says when a vendor may be asked; holds for all runs that share it."""

    def take(self) -> float:
        """Take the permit for one question: 0, or the seconds after which to try again."""
        ...

    def succeeded(self) -> None:
        """A question was answered, were it with a refusal."""
        ...

    def failed(self, error: SourceUnavailable) -> None:
        """A question was not answered, or the vendor wants silence."""
        ...

    def close(self) -> None:
        """Give connections back."""
        ...


class Unthrottled:
    """No limit but the vendor's own answers."""

    def take(self) -> float:
        """See Throttle."""
        return 0.0

    def succeeded(self) -> None:
        """See Throttle."""

    def failed(self, error: SourceUnavailable) -> None:
        """See Throttle."""

    def close(self) -> None:
        """See Throttle."""


class SoleUse(Protocol):
    """The right to be the only one connected to a vendor that allows one connection."""

    def is_held(self) -> bool:
        """Whether the right is ours now; asked before each question."""
        ...

    def hold(self) -> None:
        """Wait for the right and keep it until `release`.

        Raises:
            LeaseHeld: Somebody else kept it for longer than the feed waits.
        """
        ...

    def release(self) -> None:
        """Give it up; nothing if it is not held."""
        ...


def no_secrets(name: str) -> SecretStr | None:  # noqa: ARG001 - it has none
    """Where nobody may be asked for a token."""
    return None


@dataclass(frozen=True, slots=True)
class Fetched:
    """One answer, as the vendor wrote it.

    Attributes:
        label: What was asked, for people and for positions (`daily 2024-09-30`).
        cells: Text under the vendor's own column names; null where the vendor wrote none.
        places: 1-based place of each row in the answer, int64.
        malformed: Records that are no row.
    """

    label: str
    cells: pa.Table
    places: np.ndarray
    malformed: tuple[Malformed, ...] = ()

    @property
    def read_rows(self) -> int:
        """Records in the answer."""
        return len(self.places) + len(self.malformed)


class Vendor(Protocol):
    """A vendor that is open; it may hold connections."""

    def close(self) -> None:
        """Give connections back; the next question opens them again."""
        ...


@runtime_checkable
class AnswersDays(Vendor, Protocol):
    """Gives the whole market of a day (`by_day`)."""

    def fetch_day(self, day: date) -> Fetched:
        """All bars of a trade date; no row where the vendor has none.

        Raises:
            SourceUnavailable: No answer, or none that is complete; retried by the vendor already.
            SourceRateLimited: The vendor wants us to wait longer than the feed allows.
            SourceRefused: Wrong token, no permission, black-listed.
            UnreadableSource: The answer has another form than this code knows.
            ConfigurationError: The token is missing.
        """
        ...


@runtime_checkable
class AnswersSymbols(Vendor, Protocol):
    """Gives one symbol's bars of a range of days (`by_symbol_range`)."""

    def fetch_symbol(self, symbol: str, start: date, end: date) -> Fetched:
        """Bars of a symbol, both days included; raises as `AnswersDays.fetch_day`.

        Args:
            symbol: Canonical, such as `600000.SH`.
            start: First trade date.
            end: Last trade date.

        Raises:
            UnknownSymbol: The vendor has no such symbol.
        """
        ...


@runtime_checkable
class ListsInstruments(Vendor, Protocol):
    """Knows what is or was listed (`universe`)."""

    def fetch_instruments(self, day: date) -> Fetched:
        """Symbols with name and dates of listing and delisting, as the vendor writes them."""
        ...


@runtime_checkable
class ListsSessions(Vendor, Protocol):
    """Knows the exchange's calendar (`calendar`)."""

    def fetch_sessions(self, start: date, end: date) -> dict[date, bool]:
        """Whether the exchange is open on each day the vendor says something about."""
        ...


@runtime_checkable
class GivesFactors(Vendor, Protocol):
    """Knows adjustment factors (`factors`)."""

    def fetch_factors(self, day: date) -> Fetched:
        """Factors of a trade date, as the vendor writes them."""
        ...


@runtime_checkable
class ListsSuspensions(Vendor, Protocol):
    """Knows which symbols were suspended (`suspensions`)."""

    def fetch_suspensions(self, day: date) -> Fetched:
        """Suspended symbols of a trade date, as the vendor writes them."""
        ...


CAPABILITIES: Mapping[str, type] = {
    "by_day": AnswersDays,
    "by_symbol_range": AnswersSymbols,
    "universe": ListsInstruments,
    "calendar": ListsSessions,
    "factors": GivesFactors,
    "suspensions": ListsSuspensions,
}

_SHORTEST_SECRET = 8


@dataclass(frozen=True, slots=True)
class VendorAccess:
    """What a vendor may use besides its feed.

    Attributes:
        secret: Tokens by the name of their variable.
        lock_dir: Folder for locks that hold across processes of this machine.
        throttle: Says when the vendor may be asked.
        sole_use: Of a vendor that allows one connection; None is a lock of this machine.
    """

    secret: Secrets
    lock_dir: Path
    throttle: Throttle = field(default_factory=Unthrottled)
    sole_use: SoleUse | None = None

    def token(self, feed: VendorFeed) -> str:
        """The feed's token.

        Raises:
            ConfigurationError: It is not set; names the variable.
        """
        if not feed.token_env:
            raise ConfigurationError(
                f"feed {feed.name} has no token_env, expected the name of the environment variable "
                f"that holds the token of {feed.vendor}; add it to [market.feeds.{feed.name}]"
            )
        value = self.secret(feed.token_env)
        if value is None:
            raise ConfigurationError(
                f"the environment variable {feed.token_env} is not set, expected the token of "
                f"{feed.vendor} for feed {feed.name}; set it where Dagster and its runs start"
            )
        return value.get_secret_value()

    def without_token(self, feed: VendorFeed, answer: bytes) -> bytes:
        """An answer of the vendor with `***` where it repeats the feed's token."""
        value = self.secret(feed.token_env) if feed.token_env else None
        token = value.get_secret_value().encode() if value else b""
        # A shorter one is no secret, and may stand in any row by accident.
        if len(token) < _SHORTEST_SECRET or token not in answer:
            return answer
        return answer.replace(token, b"***")


@dataclass(frozen=True, slots=True)
class VendorKind:
    """What is known of a vendor before it is asked anything.

    Attributes:
        vendor: The class; its methods say what it can answer.
        open: Makes it; opens no connection and needs no token yet.
        columns: For each value of a bar, the vendor's own column.
        defaults: Settings of its feeds, where the user's section says nothing.
        instruments: For columns of market.instruments, the vendor's own.
        suspensions: The same for market.suspensions.
        factors: The same for market.adjustment_factors. With `ex_date`, an answer has all changes
            of the symbols it names; with `trade_date`, the factor of every symbol on the day.
        one_connection: It must never be asked over two connections at the same time.
    """

    vendor: type
    open: Callable[[VendorFeed, VendorAccess], Vendor]
    columns: Mapping[str, str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    instruments: Mapping[str, str] = field(default_factory=dict)
    suspensions: Mapping[str, str] = field(default_factory=dict)
    factors: Mapping[str, str] = field(default_factory=dict)
    one_connection: bool = False

    @property
    def capabilities(self) -> frozenset[str]:
        """Names of CAPABILITIES that it has."""
        return frozenset(
            name for name, protocol in CAPABILITIES.items() if issubclass(self.vendor, protocol)
        )

    @property
    def by_day(self) -> bool:
        """Whether the whole market of a day takes one question."""
        return "by_day" in self.capabilities
