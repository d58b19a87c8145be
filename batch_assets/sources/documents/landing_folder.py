"""A landing folder, on this machine or behind a URL: what lies in it, and nothing outside of it.

What is no plain file inside the folder is listed with the reason why it is refused; nothing is
opened here but folders. What was seen before is decided in landing.py.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import translate
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from batch_assets.errors import ConfigurationError, SourceUnavailable
from batch_assets.sources.documents.sources import DocumentSource

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """One name in one folder.

    Attributes:
        name: As it is stored and sorted; bytes that are no UTF-8 are escaped.
        is_folder: Whether to look inside.
        size_bytes: Of a file.
        modified_ns: Time of change in nanoseconds since 1970; 0 where the store has none.
        refusal: Why it is not read; empty for files and folders.
    """

    name: str
    is_folder: bool = False
    size_bytes: int = 0
    modified_ns: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file found, or one thing that is refused; `path` is relative, parted by /."""

    path: str
    size_bytes: int
    modified_ns: int
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A folder that is there and cannot be listed: what was in it before still counts."""

    path: str
    reason: str


class Folder(Protocol):
    """Where documents lie."""

    def list_items(self, relative: str) -> list[Item]:
        """The items of one folder, by name; empty if it has gone.

        Raises:
            OSError: It is there and cannot be listed.
        """

    def check(self) -> None:
        """Raises SourceUnavailable if the folder as a whole is not there."""


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder of this machine; links are never followed below its root."""

    root: Path

    def check(self) -> None:
        """Raises SourceUnavailable if the folder is not there."""
        if not self.root.is_dir():
            raise SourceUnavailable(
                f"{self.root} is not a folder, expected the landing folder of a source of "
                "documents; create or mount it, or correct url in [documents.sources]"
            )

    def list_items(self, relative: str) -> list[Item]:
        """The items of one folder, by name; empty if it has gone."""
        try:
            with os.scandir(self.root / relative) as entries:
                items = [item for entry in entries if (item := _local_item(entry)) is not None]
        except (FileNotFoundError, NotADirectoryError):
            return []
        items.sort(key=lambda item: item.name)
        return items


def _local_item(entry: "os.DirEntry[str]") -> Item | None:
    name = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    mode = found.st_mode
    size, modified = found.st_size, found.st_mtime_ns
    if name != entry.name:
        return Item(name, False, size, modified, "its name is not UTF-8; rename it")
    if stat.S_ISDIR(mode):
        return Item(name, is_folder=True)
    if stat.S_ISREG(mode):
        return Item(name, False, size, modified)
    return Item(name, False, size, modified, f"it is {_KINDS[stat.S_IFMT(mode)]}, not a file")


_KINDS: Mapping[int, str] = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder of any store that fsspec knows.

    Attributes:
        filesystem: An AbstractFileSystem of fsspec.
        root: Path within it.
    """

    filesystem: Any
    root: str

    def check(self) -> None:
        """Raises SourceUnavailable if the store does not answer or has no such folder."""
        try:
            is_there = self.filesystem.isdir(self.root)
        except OSError as error:
            raise SourceUnavailable(
                f"{self.root} cannot be listed: {error}; expected a folder of documents; check "
                "url and storage_options in [documents.sources]"
            ) from error
        if not is_there:
            raise SourceUnavailable(
                f"{self.root} is not a folder of its store, expected the landing folder of a "
                "source of documents; create it, or correct url in [documents.sources]"
            )

    def list_items(self, relative: str) -> list[Item]:
        """The items of one folder, by name; empty if it has gone."""
        folder = f"{self.root.rstrip('/')}/{relative}".rstrip("/")
        # What a store remembers of its last listing is not what is there now.
        self.filesystem.invalidate_cache(folder)
        try:
            found = self.filesystem.ls(folder, detail=True)
        except FileNotFoundError:
            return []
        items = [
            _remote_item(info, name) for info in found if (name := _name_in(folder, info)) != ""
        ]
        return sorted(items, key=lambda item: item.name)


def _name_in(folder: str, info: Mapping[str, Any]) -> str:
    path = str(info["name"]).rstrip("/")
    # Some stores list the folder itself as an empty object.
    return "" if path == folder else path.removeprefix(f"{folder}/")


def _remote_item(info: Mapping[str, Any], name: str) -> Item:
    if "/" in name or name in (".", ".."):
        return Item(name, refusal="its path leads out of the folder")
    if info["type"] == "directory":
        return Item(name, is_folder=True)
    size, modified = int(info.get("size") or 0), _modified_ns(info)
    if info["type"] != "file" or info.get("islink"):
        return Item(name, False, size, modified, f"it is a {info['type']}, not a file")
    return Item(name, False, size, modified)


def _modified_ns(info: Mapping[str, Any]) -> int:
    """Every store names it differently; seconds, text or a datetime."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "modified", "created"):
        value = info.get(key)
        if isinstance(value, int | float):
            return int(value * _NANOSECONDS)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return int(aware.timestamp() * 1_000_000) * 1_000
    return 0


def open_folder(source: DocumentSource) -> LocalFolder | RemoteFolder:
    """The landing folder of a source; nothing is looked at yet.

    Raises:
        ConfigurationError: fsspec does not know the URL, or lacks a package for it.
    """
    if "://" not in source.url:
        return LocalFolder(Path(source.url))
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(source.url, **source.storage_options)
    except (ValueError, ImportError) as error:
        raise ConfigurationError(
            f"[documents.sources.{source.name}] url cannot be opened: {error}; expected a folder "
            "or a URL that fsspec knows; install the package it names, or correct the url"
        ) from error
    return RemoteFolder(filesystem, root)


class NamePatterns:
    """Names that count: files that match `include`, and neither they nor folders `exclude`."""

    def __init__(self, include: Iterable[str], exclude: Iterable[str]) -> None:
        self._include = _any_of(include)
        self._exclude = _any_of(exclude)

    def accepts(self, item: Item) -> bool:
        """Whether an item is listed at all."""
        if self._exclude.fullmatch(item.name):
            return False
        return item.is_folder or self._include.fullmatch(item.name) is not None


def _any_of(patterns: Iterable[str]) -> "re.Pattern[str]":
    # Extensions are written both ways, whatever the file system thinks of them.
    return re.compile("|".join(map(translate, patterns)) or r"(?!)", re.IGNORECASE)


def list_folder(
    folder: Folder, patterns: NamePatterns, *, after: str = ""
) -> Iterator[Entry | Unlisted]:
    """List a folder and all below it, part by part of the path in the order of characters.

    The order lets a later call continue: one folder at a time is in memory.

    Args:
        after: The path where an earlier call ended; what comes up to it is not looked at again.
    """
    parts = PurePosixPath(after).parts
    levels = [_remaining(folder, patterns, "", parts)]
    while levels:
        step = next(levels[-1], None)
        if step is None:
            levels.pop()
        elif isinstance(step, Unlisted | Entry):
            yield step
        else:
            levels.append(_remaining(folder, patterns, *step))


_Step = Entry | Unlisted | tuple[str, tuple[str, ...]]


def _remaining(
    folder: Folder, patterns: NamePatterns, relative: str, after: tuple[str, ...]
) -> Iterator[_Step]:
    """Entries of one folder, and its sub-folders as (path, where to continue in it)."""
    try:
        items = folder.list_items(relative)
    except OSError as error:
        yield Unlisted(relative, error.strerror or str(error))
        return
    first = after[0] if after else ""
    for item in items:
        if item.name < first or not patterns.accepts(item):
            continue
        path = f"{relative}/{item.name}" if relative else item.name
        if item.is_folder:
            yield path, after[1:] if item.name == first else ()
        elif item.name > first:
            yield Entry(path, item.size_bytes, item.modified_ns, item.refusal)
