"""Zip packages of Office and OpenDocument files: opened under limits, parts and relations read.

What the parts say is read by word.py, powerpoint.py and workbook.py.
"""

import io
import posixpath
import zipfile
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from lxml import etree

from batch_assets.sources.documents.limits import HARMLESS_BYTES, ParseLimits, too_large
from batch_assets.sources.documents.outcome import DocumentOutcome, DocumentRefused
from batch_assets.sources.documents.parsed import Draft

# What the zip library raises for damage, unknown methods and passwords.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError)
_ENCRYPTED_FLAG = 0x1


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of a part: the last word of its type, and the part it leads to."""

    kind: str
    target: str
    is_external: bool


class Package:
    """An open package; member names are compared without case, as Office does."""

    def __init__(self, data: bytes, limits: ParseLimits) -> None:
        """Open and weigh.

        Raises:
            DocumentRefused: Not a zip (corrupt), has a password, or unpacks to too much.
        """
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _DAMAGE as error:
            raise damaged(f"the package cannot be opened ({error})") from error
        self._members = {
            info.filename.lower().lstrip("/"): info
            for info in self._zip.infolist()
            if not info.is_dir()
        }
        self._limits = limits
        self._check_weight(len(data))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._zip.close()

    def _check_weight(self, packed_bytes: int) -> None:
        limits = self._limits
        if len(self._zip.infolist()) > limits.max_entries:
            raise too_large("members", len(self._zip.infolist()), "max_entries", limits.max_entries)
        if any(info.flag_bits & _ENCRYPTED_FLAG for info in self._members.values()):
            raise DocumentRefused(
                DocumentOutcome.ENCRYPTED,
                "the package has a password; save a copy without one and drop that",
            )
        # Never less than what is read: the zip library stops at the declared size.
        expanded = sum(info.file_size for info in self._zip.infolist())
        if expanded > limits.max_expanded_bytes:
            raise too_large(
                "bytes once unpacked", expanded, "max_expanded_bytes", limits.max_expanded_bytes
            )
        if expanded > max(HARMLESS_BYTES, limits.max_expansion_ratio * packed_bytes):
            raise too_large(
                "times its size once unpacked",
                expanded // max(packed_bytes, 1),
                "max_expansion_ratio",
                limits.max_expansion_ratio,
            )

    @property
    def names(self) -> list[str]:
        """Names of the parts, in lower case."""
        return list(self._members)

    def __contains__(self, name: str) -> bool:
        return name.lower().lstrip("/") in self._members

    def read(self, name: str) -> bytes:
        """Bytes of a part.

        Raises:
            DocumentRefused: The part is missing or damaged (corrupt).
        """
        info = self._members.get(name.lower().lstrip("/"))
        if info is None:
            raise damaged(f"the part {name} is missing")
        try:
            return self._zip.read(info)
        except (*_DAMAGE, RuntimeError) as error:
            raise damaged(f"the part {name} cannot be unpacked ({error})") from error

    def read_xml(self, name: str) -> etree._Element:
        """Root element of a part.

        Raises:
            DocumentRefused: The part is missing, damaged or brings a DTD (corrupt).
        """
        return parse_xml(self.read(name), name)

    def relations(self, part: str) -> dict[str, Relation]:
        """Relations of a part by id; none when it has no relations file."""
        folder, base = posixpath.split(part.lstrip("/"))
        name = posixpath.join(folder, "_rels", f"{base}.rels")
        if name not in self:
            return {}
        found: dict[str, Relation] = {}
        for element in self.read_xml(name).iter("{*}Relationship"):
            target = element.get("Target", "").replace("\\", "/")
            is_external = element.get("TargetMode") == "External"
            if not is_external:
                target = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
            kind = element.get("Type", "").rsplit("/", 1)[-1]
            found[element.get("Id", "")] = Relation(kind, target, is_external)
        return found

    def main_part(self, fallback: str) -> str:
        """The part the package is about; `fallback` when the package does not say."""
        for relation in self.relations("").values():
            if relation.kind == "officeDocument" and relation.target in self:
                return relation.target
        return fallback

    def read_properties(self, draft: Draft) -> None:
        """Title, author and dates; a damaged properties part is as good as none."""
        name = next(
            (r.target for r in self.relations("").values() if r.kind == "core-properties"),
            "docProps/core.xml",
        )
        if name not in self:
            return
        try:
            root = self.read_xml(name)
        except DocumentRefused:
            return
        texts = {etree.QName(e).localname: (e.text or "") for e in root.iterchildren("{*}*")}
        draft.title = texts.get("title", "")
        draft.author = texts.get("creator", "")
        draft.created_at = iso_moment(texts.get("created", ""))
        draft.modified_at = iso_moment(texts.get("modified", ""))


def damaged(what: str) -> DocumentRefused:
    """The refusal of a package that is broken."""
    return DocumentRefused(
        DocumentOutcome.CORRUPT,
        f"damaged file: {what}; open it in its program, save it again and drop the new copy",
    )


def parse_xml(data: bytes, name: str) -> etree._Element:
    """Root element of XML from an untrusted file.

    No entity is expanded and nothing is fetched. Large texts and deep nesting are allowed: the
    size is bounded by the package's limits, and no code of ours recurses.

    Raises:
        DocumentRefused: Not XML, or with a DTD, which Office files never have (corrupt).
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise damaged(f"{name} is not well-formed XML ({error})") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise damaged(f"{name} declares a DTD, which Office never writes")
    return root


def iso_moment(text: str) -> datetime | None:
    """A W3C date or date-time as UTC; None for anything else."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        return None
