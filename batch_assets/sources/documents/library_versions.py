"""Versions of the libraries whose behaviour is part of a result."""

import platform
from functools import cache
from importlib import metadata

STANDARD_LIBRARY = "python"


@cache
def library_version(distribution: str) -> str:
    """Installed version of a distribution, or of Python for its standard library.

    Remembered: looking it up parses a file, which costs more than parsing a small document.
    """
    if distribution == STANDARD_LIBRARY:
        return platform.python_version()
    return metadata.version(distribution)
