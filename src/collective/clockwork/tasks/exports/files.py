"""The files: how they are written, and what is stored of one.

A cell that begins like a formula is one for Excel and LibreOffice, and a formula can
send what is in the sheet elsewhere. Titles are written by whoever may add a page, so no
text of ours is ever a formula. Where a semicolon parts the cells, as Excel does it in
many languages, a formula can also begin behind one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from datetime import datetime
from io import TextIOWrapper
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from pathlib import Path
from persistent import Persistent
from typing import Any
from typing import BinaryIO
from ZODB.blob import Blob

import csv
import re


#: What a formula begins with; also the wide characters that some programs accept.
SIGNS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
#: The same, and what may stand in front of it.
FORMULA = (*SIGNS, "\t", "\r", "\n")
#: Where one may begin inside of a text, at which a program ends a cell.
INNER_FORMULA = re.compile(rf'([;\r\n][ "]*)(?=[{re.escape("".join(SIGNS))}])')
#: Put in front of it in a CSV file. It shows there, and makes the cell a text.
QUOTE = "'"

#: What XML cannot have, besides what openpyxl knows of.
NO_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")
#: What Excel can have in a cell, in units of UTF-16, and in a sheet.
CELL_LENGTH = 32_767
MOST_ROWS = 1_048_576
#: Excel knows no days before that, and so many digits of a number.
FIRST_YEAR = 1900
MOST_DIGITS = 15
#: Of a column of the sheet, in characters.
COLUMN_WIDTH = 24


class ExportFile(Persistent):
    """A file that is stored as a blob; the result of an export.

    Written by the job, and once more when its user removes the file.
    """

    #: None when the file was removed.
    blob: Blob | None = None
    name: str = ""
    content_type: str = ""
    #: Bytes, and rows without the heading.
    size: int = 0
    rows: int = 0

    def __repr__(self) -> str:
        state = "removed" if self.blob is None else f"{self.rows} rows"
        return f"<file {self.name}, {state}>"

    def remove(self) -> None:
        """Let go of the content, which the next pack takes out of the database."""
        self.blob = None


class CSVWriter:
    """Comma-separated values in UTF-8, with the mark by which Excel knows that."""

    extension = "csv"
    content_type = "text/csv; charset=utf-8"
    #: Rows that fit, with the heading; None for any number.
    most_rows: int | None = None

    def __init__(self, target: BinaryIO) -> None:
        self._text = TextIOWrapper(
            target, "utf-8-sig", errors="replace", newline="", write_through=True
        )
        self._writer = csv.writer(self._text)

    def write(self, row: Sequence) -> None:
        """Add a row of texts, numbers, dates and None."""
        self._writer.writerow([_csv_cell(value) for value in row])

    def finish(self) -> None:
        """Write what is left; the target stays open."""
        self._text.flush()
        self._text.detach()

    def abandon(self) -> None:
        """Leave nothing behind after an error."""


class XLSXWriter:
    """A workbook of Excel with one sheet. Its rows are kept on disk, not in memory."""

    extension = "xlsx"
    content_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    most_rows: int | None = MOST_ROWS

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._book = Workbook(write_only=True)
        self._sheet = self._book.create_sheet()
        self._sheet.freeze_panes = "A2"
        self._sheet.sheet_format.defaultColWidth = COLUMN_WIDTH

    def write(self, row: Sequence) -> None:
        """Add a row of texts, numbers, dates and None."""
        self._sheet.append([self._cell(value) for value in row])

    def finish(self) -> None:
        """Write the workbook; the target stays open."""
        self._book.save(self._target)

    def abandon(self) -> None:
        """Leave nothing behind after an error: the rows are in a file of openpyxl's."""
        rows = self._sheet._writer
        if rows is None or not Path(rows.out).exists():
            return
        try:
            if not self._sheet.closed:
                self._sheet.close()
        finally:
            rows.cleanup()

    def _cell(self, value: Any) -> Any:
        if isinstance(value, date) and value.year < FIRST_YEAR:
            value = _csv_cell(value)
        elif isinstance(value, datetime):
            # Excel knows no time zones, and would show the fractions of a second.
            return value.replace(tzinfo=None, microsecond=0)
        elif isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
            value = str(value)
        if not isinstance(value, str):
            return value
        text = _cut(ILLEGAL_CHARACTERS_RE.sub("", NO_XML.sub("", value)))
        cell = WriteOnlyCell(self._sheet, text)
        # It would be a formula if it began like one, and an error if it looked so.
        cell.data_type = "s"
        return cell


#: By the names that users choose them by.
WRITERS = {"csv": CSVWriter, "xlsx": XLSXWriter}


def _cut(text: str) -> str:
    """As much of it as a cell of Excel can have."""
    units = text.encode("utf-16-le")[: 2 * CELL_LENGTH]
    return units.decode("utf-16-le", "ignore")


def _csv_cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        return value
    text = INNER_FORMULA.sub(rf"\1{QUOTE}", value)
    return f"{QUOTE}{text}" if value.lstrip(" ").startswith(FORMULA) else text
