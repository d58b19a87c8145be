"""Which reader reads which file; the one list of formats."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from batch_assets.sources.spreadsheets.cells import SheetBlock
from batch_assets.sources.spreadsheets.preflight import Format, check_file


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a template says about reading.

    Attributes:
        encoding: Of delimited text; empty where it is to be detected.
        delimiter: The same.
        fill_merged: Repeat the value of merged cells in all of them.
    """

    encoding: str = ""
    delimiter: str = ""
    fill_merged: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet, and its blocks; read lazily, and only while it is the current one."""

    name: str
    is_hidden: bool
    blocks: Iterator[SheetBlock]


def open_sheets(path: Path, file: str, options: ReadOptions) -> Iterator[Sheet]:
    """Sheets of a file in the order of their tabs; delimited text is one sheet without a name.

    Args:
        path: Where the file is.
        file: Its name for messages.
        options: What is overridden.

    Raises:
        UnreadableSource: The file is refused before it is parsed, or damaged.
    """
    match check_file(path, file):
        case Format.XLSX:
            from batch_assets.sources.spreadsheets.xlsx import read_xlsx

            for part, blocks in read_xlsx(path, file, fill_merged=options.fill_merged):
                yield Sheet(part.name, part.is_hidden, blocks)
        case Format.XLS:
            from batch_assets.sources.spreadsheets.xls import read_xls

            for name, hidden, blocks in read_xls(path, file, fill_merged=options.fill_merged):
                yield Sheet(name, hidden, blocks)
        case Format.XLSB:
            from batch_assets.sources.spreadsheets.xlsb import read_xlsb

            for name, hidden, blocks in read_xlsb(path, file):
                yield Sheet(name, hidden, blocks)
        case Format.ODS:
            from batch_assets.sources.spreadsheets.ods import read_ods

            for name, hidden, blocks in read_ods(path, file):
                yield Sheet(name, hidden, blocks)
        case Format.DELIMITED:
            from batch_assets.sources.spreadsheets.delimited import read_delimited

            blocks = read_delimited(path, file, options.encoding, options.delimiter)
            yield Sheet("", is_hidden=False, blocks=blocks)
