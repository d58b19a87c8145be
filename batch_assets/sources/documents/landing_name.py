"""Names that strangers give to files, made fit for a landing folder.

What comes out is one name in one folder, on any file system; whether the source reads a file of
that name is decided by its patterns in landing_folder.py.
"""

import re
import unicodedata
from pathlib import PurePosixPath

# File systems allow 255 bytes; the rest is for the number of a second file of that name.
_MAX_NAME_BYTES = 200
_MAX_SUFFIX_BYTES = 16

_NOT_IN_NAMES = re.compile(r'[<>:"|?*]')
_SPACES = re.compile(r"\s+")

# Devices of Windows, with any extension (learn.microsoft.com/windows/win32/fileio/naming-a-file).
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)


def safe_name(sent: str) -> str:
    """A plain file name for whatever a client called its file.

    Folders are left out, in either spelling; so are control characters, marks of writing
    direction and what has no width. Long names are cut before their extension.
    """
    text = unicodedata.normalize("NFC", sent).replace("\\", "/").rpartition("/")[2]
    # C: controls, formats (direction marks among them), surrogates, private and unassigned.
    text = "".join(character for character in text if unicodedata.category(character)[0] != "C")
    text = _SPACES.sub(" ", _NOT_IN_NAMES.sub("_", text)).strip(" .")
    if _DEVICES.fullmatch(text):
        text = f"_{text}"
    return _shortened(text or "document")


def numbered(name: str, number: int) -> str:
    """The name of another file that would have the same: `report (2).pdf`."""
    if number < 2:
        return name
    path = PurePosixPath(name)
    return f"{path.stem} ({number}){path.suffix}"


def _shortened(name: str) -> str:
    if len(name.encode()) <= _MAX_NAME_BYTES:
        return name
    suffix = PurePosixPath(name).suffix
    if len(suffix.encode()) > _MAX_SUFFIX_BYTES:
        suffix = ""
    room = _MAX_NAME_BYTES - len(suffix.encode())
    stem = name.encode()[:room].decode("utf-8", "ignore").rstrip(" .")
    return f"{stem}{suffix}"
