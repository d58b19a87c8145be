"""multipart/form-data while it arrives: fields and files as events, nothing kept.

Starlette's own form reader keeps every file open, or in memory up to a megabyte each; a thousand
files would cost either a thousand descriptors or a gigabyte.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from batch_assets.errors import UnreadableSource

_MAX_FIELD_BYTES = 1024


class MalformedForm(UnreadableSource):
    """A body is not the form it was declared to be."""


@dataclass(frozen=True, slots=True)
class FieldSent:
    """A field of the form, complete."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FileBegins:
    """A file follows; `name` is as it was sent."""

    name: str


@dataclass(frozen=True, slots=True)
class FileContent:
    """The next bytes of the file that began last."""

    content: bytes


@dataclass(frozen=True, slots=True)
class FileEnds:
    """The file that began last is complete."""


FormEvent = FieldSent | FileBegins | FileContent | FileEnds


@dataclass(slots=True)
class _Part:
    disposition: bytes = b""
    header: bytearray = field(default_factory=bytearray)
    header_value: bytearray = field(default_factory=bytearray)
    field_name: str = ""
    field_value: bytearray = field(default_factory=bytearray)
    is_file: bool = False
    # What a browser sends for a file input in which nothing was chosen.
    is_nothing: bool = False


class FormReader:
    """Turns the bytes of a body into events, in the order of the body."""

    def __init__(self, content_type: str) -> None:
        """Read a body of this type.

        Raises:
            MalformedForm: It is not multipart/form-data with a boundary.
        """
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise MalformedForm(
                f"the body is {content_type or 'of no type'!r}, expected multipart/form-data with "
                "a boundary; send it as a form with files, as `curl -F file=@a.pdf` does"
            )
        self._events: list[FormEvent] = []
        self._part = _Part()
        self._is_complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def feed(self, content: bytes) -> Iterator[FormEvent]:
        """What the next bytes of the body tell.

        Raises:
            MalformedForm: They are no part of such a form.
        """
        try:
            self._parser.write(content)
        except FormParserError as error:
            raise MalformedForm(
                f"the form cannot be read: {error}; expected parts with their headers between "
                "boundaries; send it with a client that writes forms"
            ) from error
        events, self._events = self._events, []
        return iter(events)

    def close(self) -> None:
        """The body has ended.

        Raises:
            MalformedForm: It ended before its form did.
        """
        if not self._is_complete:
            raise MalformedForm(
                "the body ended before the last boundary of its form, expected all of it; nothing "
                "was kept, send it again"
            )

    def _begin_part(self) -> None:
        self._part = _Part()

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._part.header += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.header_value += data[start:end]

    def _end_header(self) -> None:
        if self._part.header.lower() == b"content-disposition":
            self._part.disposition = bytes(self._part.header_value)
        self._part.header.clear()
        self._part.header_value.clear()

    def _end_headers(self) -> None:
        # Headers are bytes; names of files in them are UTF-8 in every browser.
        _, options = parse_options_header(self._part.disposition.decode("latin-1"))
        self._part.field_name = options.get(b"name", b"").decode("utf-8", "replace")
        name = options.get(b"filename")
        self._part.is_file = name is not None
        self._part.is_nothing = name == b""
        if name:
            self._events.append(FileBegins(name.decode("utf-8", "replace")))

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        if not part.is_file:
            part.field_value += data[start:end]
            if len(part.field_value) > _MAX_FIELD_BYTES:
                raise MalformedForm(
                    f"the field {part.field_name!r} has more than {_MAX_FIELD_BYTES} bytes, "
                    "expected a short text; send files with a file name"
                )
            return
        if part.is_nothing:
            part.is_nothing = False
            self._events.append(FileBegins(""))
        self._events.append(FileContent(data[start:end]))

    def _end_part(self) -> None:
        part = self._part
        if not part.is_file:
            value = part.field_value.decode("utf-8", "replace")
            self._events.append(FieldSent(part.field_name, value))
        elif not part.is_nothing:
            self._events.append(FileEnds())

    def _end(self) -> None:
        self._is_complete = True
