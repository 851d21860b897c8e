"""The tables of docs/mapping.md, read as a program reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parents[2] / "docs" / "mapping.md"

_PLACE = re.compile(
    r"(?P<header>header )?`(?P<name>[^`]+)`(?:, (?P<spelling>[^()]+?))?"
    r"(?: \((?P<way>send|receive)\))?"
)
_LOST = re.compile(r"lost, counted as `([^`]+)`")
_CODE = re.compile(r"`([^`]+)`")


class Cell(NamedTuple):
    """Where a field travels in a protocol, or by what name its loss is counted.

    A cell with neither says that the protocol has no such thing.
    """

    place: str | None = None
    spelling: str = ""
    sent: bool = False
    received: bool = False
    loss: str | None = None


class Form(NamedTuple):
    """How a header of a type looks in a protocol: the code in its cell, and what is counted."""

    values: tuple[str, ...]
    loss: str | None


def rows_of(heading: str) -> tuple[list[str], dict[str, list[str]]]:
    """The first table below a heading: its columns' names, and its rows by their first cells."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = next(part for part in section.split("\n\n") if part.startswith("|"))
    lines = [line.strip("| ") for line in table.splitlines()]
    head, _, *rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    assert all(len(row) == len(head) for row in rows), f"a ragged table below {heading}"
    return head[1:], {row[0]: row[1:] for row in rows}


def read_cell(text: str) -> Cell:
    """Read a cell of the table of fields."""
    if text == "–":
        return Cell()
    if found := _LOST.fullmatch(text):
        return Cell(loss=found[1])
    found = _PLACE.fullmatch(text)
    assert found is not None, f"no cell of the table: {text!r}"
    way = found["way"]
    return Cell(
        (found["header"] or "") + found["name"],
        found["spelling"] or "",
        sent=way != "receive",
        received=way != "send",
    )


def fields() -> dict[str, dict[str, Cell]]:
    """The table of fields: for each field, its cell in every protocol."""
    columns, rows = rows_of("Fields")
    return {
        field: dict(zip(columns, map(read_cell, cells), strict=True))
        for field, cells in rows.items()
    }


def header_forms() -> dict[str, dict[str, Form]]:
    """The table of header types: for each type, its form in every protocol."""
    columns, rows = rows_of("Types of headers")
    forms: dict[str, dict[str, Form]] = {}
    for kind, cells in rows.items():
        forms[kind] = {}
        for column, text in zip(columns, cells, strict=True):
            shown, counted, loss = text.partition(", counted as ")
            values = tuple(_CODE.findall(shown))
            forms[kind][column] = Form(values, loss.strip("`") if counted else None)
    return forms
