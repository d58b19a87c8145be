"""Small files of each kind, written byte by byte or part by part so that tests can break them."""

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence

from batch_assets.sources.documents import ole

_CONTENT_TYPE = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Override PartName="/{part}" ContentType="application/vnd.openxmlformats-officedocument.'
    '{kind}.main+xml"/></Types>'
)
_RELATIONS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    "{items}</Relationships>"
)
_RELATION = (
    '<Relationship Id="{id}" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
    'relationships/{kind}" Target="{target}"/>'
)
_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_A = (
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)
_S = (
    'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
)


def zip_of(parts: Mapping[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def relations(items: Sequence[tuple[str, str, str]]) -> str:
    """A relations part from (id, kind, target)."""
    return _RELATIONS.format(
        items="".join(_RELATION.format(id=i, kind=k, target=t) for i, k, t in items)
    )


def docx_parts(body: str) -> dict[str, str | bytes]:
    return {
        "[Content_Types].xml": _CONTENT_TYPE.format(
            part="word/document.xml", kind="wordprocessingml.document"
        ),
        "_rels/.rels": relations([("r1", "officeDocument", "word/document.xml")]),
        "word/document.xml": f"<w:document {_W}><w:body>{body}</w:body></w:document>",
    }


def paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def docx(*paragraphs: str) -> bytes:
    return zip_of(docx_parts("".join(map(paragraph, paragraphs))))


def pptx_parts(slides: Sequence[str]) -> dict[str, str | bytes]:
    """A presentation whose slides have the given markup of shapes."""
    ids = [f"r{number}" for number in range(1, len(slides) + 1)]
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": _CONTENT_TYPE.format(
            part="ppt/presentation.xml", kind="presentationml.presentation"
        ),
        "_rels/.rels": relations([("r1", "officeDocument", "ppt/presentation.xml")]),
        "ppt/presentation.xml": f"<p:presentation {_A}><p:sldIdLst>"
        + "".join(f'<p:sldId id="{256 + n}" r:id="{i}"/>' for n, i in enumerate(ids))
        + "</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(
            [(i, "slide", f"slides/slide{i[1:]}.xml") for i in ids]
        ),
    }
    for number, shapes in enumerate(slides, start=1):
        parts[f"ppt/slides/slide{number}.xml"] = (
            f"<p:sld {_A}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:sld>"
        )
    return parts


def shape(text: str, placeholder: str = "") -> str:
    kind = f'<p:nvSpPr><p:nvPr><p:ph type="{placeholder}"/></p:nvPr></p:nvSpPr>'
    return (
        f"<p:sp>{kind if placeholder else ''}<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p>"
        "</p:txBody></p:sp>"
    )


def pptx(*texts: str) -> bytes:
    return zip_of(pptx_parts([shape(text) for text in texts]))


def xlsx_parts(sheets: Mapping[str, str]) -> dict[str, str | bytes]:
    """A workbook whose sheets have the given markup inside `sheetData`."""
    numbered = list(enumerate(sheets, start=1))
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": _CONTENT_TYPE.format(
            part="xl/workbook.xml", kind="spreadsheetml.sheet"
        ),
        "_rels/.rels": relations([("r1", "officeDocument", "xl/workbook.xml")]),
        "xl/workbook.xml": f"<workbook {_S}><sheets>"
        + "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in numbered)
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": relations(
            [(f"r{n}", "worksheet", f"worksheets/sheet{n}.xml") for n, _ in numbered]
        ),
    }
    for number, rows in enumerate(sheets.values(), start=1):
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f"<worksheet {_S}><sheetData>{rows}</sheetData></worksheet>"
        )
    return parts


def cell(reference: str, text: str) -> str:
    return f'<c r="{reference}" t="inlineStr"><is><t>{text}</t></is></c>'


def xlsx(**sheets: Sequence[str]) -> bytes:
    """Sheets with one column of texts."""
    return zip_of(
        xlsx_parts(
            {
                name: "".join(
                    f'<row r="{n}">{cell(f"A{n}", text)}</row>' for n, text in enumerate(texts, 1)
                )
                for name, texts in sheets.items()
            }
        )
    )


def pdf(*pages: str, extra: str = "") -> bytes:
    """Pages with one line of Latin text each; an empty text gives an empty page."""
    contents = [f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else "" for text in pages]
    return pdf_of_contents(contents, extra=extra)


def picture_pdf(page_count: int) -> bytes:
    """Pages with a grey picture and no text, as a scanner writes them."""
    drawn = "q 500 0 0 700 50 50 cm BI /W 1 /H 1 /BPC 8 /CS /G ID \x80 EI Q"
    return pdf_of_contents([drawn] * page_count)


def pdf_of_contents(contents: Sequence[str], *, extra: str = "") -> bytes:
    first_page = 4
    kids = " ".join(f"{first_page + 2 * n} 0 R" for n in range(len(contents)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(contents)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, content in enumerate(contents):
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] "
            f"/Contents {first_page + 2 * number + 1} 0 R "
            f"/Resources << /Font << /F1 3 0 R >> >> {extra} >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    out = bytearray(b"%PDF-1.4\n")
    offsets: list[int] = []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += "".join(f"{offset:010d} 00000 n \n" for offset in offsets).encode()
    out += (
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n"
    ).encode()
    return bytes(out)


def compound_file(streams: Mapping[str, bytes]) -> bytes:
    """An OLE file; streams shorter than 4,096 bytes are padded to that."""
    sector_bytes = 512
    fat: list[int] = [0xFFFFFFFD]
    body = bytearray()
    entries = [_entry("Root Entry", 5, 0xFFFFFFFE, 0)]

    def add(content: bytes) -> int:
        start, count = len(fat), max(1, -(-len(content) // sector_bytes))
        fat.extend([*range(start + 1, start + count), 0xFFFFFFFE])
        body.extend(content.ljust(count * sector_bytes, b"\0"))
        return start

    for name, content in streams.items():
        padded = content.ljust(4096, b"\0")
        entries.append(_entry(name, 2, add(padded), len(padded)))
    directory = add(b"".join(entries))
    fat_sector = struct.pack("<128I", *(fat + [0xFFFFFFFF] * (128 - len(fat))))
    header = ole.MAGIC + b"\0" * 16 + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + b"\0" * 6
    header += struct.pack("<IIIIIIIII", 0, 1, directory, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    header += struct.pack("<109I", 0, *([0xFFFFFFFF] * 108))
    return header + fat_sector + bytes(body)


def _entry(name: str, kind: int, start: int, size: int) -> bytes:
    encoded = name.encode("utf-16-le") + b"\0\0"
    return (
        encoded.ljust(64, b"\0")
        + struct.pack("<HBB", len(encoded), kind, 1)
        + struct.pack("<III", 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
        + b"\0" * 36
        + struct.pack("<IQ", start, size)
    )


MAIL = (
    b"From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject: Quarterly numbers\r\n"
    b"Date: Mon, 30 Sep 2024 10:00:00 +0800\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nThe numbers are attached.\r\n"
)
HTML = (
    b"<!DOCTYPE html><html><head><title>Annual report</title><style>p {}</style></head><body>"
    b"<h1>Revenue</h1><p>Revenue <b>grew</b> by ten percent.</p><script>var hidden;</script>"
    b"<table><tr><td>2023</td><td>40</td></tr></table></body></html>"
)
