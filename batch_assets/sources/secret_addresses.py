"""Addresses that are secrets themselves, as those of webhooks are: kept out of httpx's own log."""

import logging


def hide_paths() -> None:
    """From now on httpx's log of this process names hosts alone; a second call changes nothing."""
    logging.getLogger("httpx").addFilter(_host_alone)


def _host_alone(record: logging.LogRecord) -> bool:
    import httpx

    if isinstance(record.args, tuple):
        record.args = tuple(
            arg.copy_with(path="/", query=None, fragment=None, userinfo=b"")
            if isinstance(arg, httpx.URL)
            else arg
            for arg in record.args
        )
    return True
