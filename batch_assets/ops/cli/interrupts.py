"""Signals that end a command: an event is set, and the command stops what it has started."""

import signal
import threading


def stop_on_signals() -> threading.Event:
    """An event that Ctrl-C, SIGTERM and a closed terminal set, and that nothing interrupts."""
    stop = threading.Event()
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    for number in (getattr(signal, name) for name in names if hasattr(signal, name)):
        signal.signal(number, lambda *_: stop.set())
    return stop
