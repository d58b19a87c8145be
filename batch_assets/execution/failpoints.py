"""Failpoints: named places where a test makes the process die, stop or fail.

Inert unless armed; `reach` then costs one look into an empty dictionary. Armed by
BATCH_ASSETS_FAILPOINTS (through settings) as `name=action[@n]`, separated by commas:
`publish.before_commit=kill@3` kills the process the third time it gets there.

A part that begins with `>` names a folder: each failpoint that fires leaves an empty file of its
name there, and fires no second time, in whichever process. Steps that are tried again, and the
other runs of a backfill, then pass the place where the first one died.
"""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from batch_assets.errors import ConfigurationError, InfrastructureError

_armed: dict[str, tuple[str, int]] = {}
_reached: dict[str, int] = {}
_fired_in: list[Path] = []
_lock = threading.Lock()


def arm(specification: str) -> None:
    """Arm failpoints from their text; an empty text disarms all.

    Raises:
        ConfigurationError: An action is not known.
    """
    _armed.clear()
    _reached.clear()
    _fired_in.clear()
    for part in filter(None, (text.strip() for text in specification.split(","))):
        if part.startswith(">"):
            _fired_in.append(Path(part[1:]))
            continue
        name, _, action = part.partition("=")
        action, _, count = action.partition("@")
        count = count or "1"
        if action not in _ACTIONS or not count.isdigit() or int(count) < 1:
            raise ConfigurationError(
                f"BATCH_ASSETS_FAILPOINTS has {part!r}, expected name=action[@n] with an action "
                f"of {', '.join(_ACTIONS)}; unset it outside of tests"
            )
        _armed[name] = (action, int(count))


def reach(name: str) -> None:
    """Do what is armed for this place, at its nth visit."""
    if not _armed or name not in _armed:
        return
    action, wanted = _armed[name]
    with _lock:
        _reached[name] = _reached.get(name, 0) + 1
        if _reached[name] != wanted:
            return
        if _has_fired(name):
            return
    _ACTIONS[action]()


def _has_fired(name: str) -> bool:
    """Whether it fired in any process before; if not, it counts as fired from now on."""
    try:
        for folder in _fired_in:
            (folder / name).touch(exist_ok=False)
    except FileExistsError:
        return True
    return False


def _signal(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


def _stop() -> None:
    # Aimed at this thread: sent to the process, another thread may take the signal, and this one
    # runs on for a moment, past the place where it was to stop.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _fail() -> None:
    raise InfrastructureError("a failpoint raised this error on purpose; it exists in tests only")


_ACTIONS: Mapping[str, Callable[[], None]] = {
    "kill": _signal(getattr(signal, "SIGKILL", signal.SIGTERM)),
    "stop": _stop,
    "terminate": _signal(signal.SIGTERM),
    "fail": _fail,
}
