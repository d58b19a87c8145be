"""A reader that does what its file says; in a module of its own, because workers import it."""

import os
import signal
import threading
from pathlib import Path

from batch_assets.sources.documents.parse import ParseReply, ParseRequest, parse_task

_FAR_TOO_MUCH_BYTES = 4 * 1024**3


def parse_or_die(request: ParseRequest) -> ParseReply:
    """A reader that does what its file says: die, hang, or take all memory."""
    match Path(request.path).name.partition("-")[0]:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            # Asleep, so that the deadline costs the machine nothing.
            threading.Event().wait()
        case "memory":
            bytearray(_FAR_TOO_MUCH_BYTES)
    return parse_task(request)
