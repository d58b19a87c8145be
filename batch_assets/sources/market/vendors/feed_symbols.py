"""The symbols a vendor's feed names, and the identity of what the feed asks for."""

import hashlib

from batch_assets.errors import ConfigurationError
from batch_assets.sources.market.feed import Feed, VendorFeed
from batch_assets.sources.market.readers import mapping_fingerprint
from batch_assets.sources.market.symbols import CANONICAL
from batch_assets.sources.market.vendors.registry import kind_of


def has_symbols(feed: VendorFeed) -> bool:
    """Whether the feed names its symbols; else it stands for the vendor's whole market."""
    return bool(feed.symbols or feed.symbols_file)


def is_asked_by_symbol(feed: Feed) -> bool:
    """Whether days of the feed can lack symbols because questions for them failed."""
    if not isinstance(feed, VendorFeed):
        return False
    return not kind_of(feed.vendor).by_day or has_symbols(feed)


def read_symbols(feed: VendorFeed) -> list[str]:
    """The symbols a feed asks for, each once, in the order they are written.

    Raises:
        ConfigurationError: The file cannot be read, or a line is no canonical symbol.
    """
    symbols = list(feed.symbols)
    if feed.symbols_file is not None:
        try:
            lines = feed.symbols_file.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"symbols_file {feed.symbols_file} of feed {feed.name} cannot be read ({error}); "
                "expected one symbol a line, in UTF-8"
            ) from error
        symbols += [text for line in lines if (text := line.partition("#")[0].strip())]
    return check_symbols(symbols, feed.name, "correct symbols or symbols_file")


def check_symbols(symbols: list[str], feed_name: str, hint: str) -> list[str]:
    """Canonical symbols, each once.

    Raises:
        ConfigurationError: There is none, or one is not canonical.
    """
    wrong = next((symbol for symbol in symbols if not CANONICAL.fullmatch(symbol)), None)
    if wrong is not None or not symbols:
        raise ConfigurationError(
            f"feed {feed_name} asks for {wrong!r}, expected canonical symbols such as 600000.SH or "
            f"AAPL.US; {hint}"
        )
    return list(dict.fromkeys(symbols))


def source_identity(feed: VendorFeed) -> str:
    """What decides which rows an answer becomes: the mapping and the symbols asked for.

    The hash of a day begins with it, so that a day loaded under another one is asked for again
    without asking the vendor first.
    """
    fingerprint = mapping_fingerprint(feed)
    if not has_symbols(feed):
        return fingerprint
    symbols = "\n".join(sorted(read_symbols(feed)))
    return f"{fingerprint}-{hashlib.sha256(symbols.encode()).hexdigest()[:8]}"


def with_identity(identity: str, source_hash: str) -> str:
    """The hash of a day as the ledger keeps it."""
    return f"{identity}:{source_hash}"


def is_identity_of(identity: str, source_hash: str) -> bool:
    """Whether a day's hash was taken under an identity."""
    return source_hash.startswith(f"{identity}:")
