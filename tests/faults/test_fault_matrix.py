"""The fault matrix in the documentation is complete, and each test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "fault_matrix.md"
NAMED = re.compile(r"\[`(test_\w+)`\]\(([^)]+)\)")
ROW = re.compile(r"^\| ([A-Z]\d+) \|.*\|$", re.MULTILINE)

# The rows of the list that was written before the engine.
ROWS = {
    "P": (1, 2, 3, 4, 5, 6, 7, 9, 10),
    "H": (1, 2, 3, 5),
    "R": (1, 2, 3, 4, 6, 9, 10),
    "N": (1, 2, 3, 4, 7, 8, 9),
    "D": (1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 13, 16),
    "C": (1, 2, 6, 7, 9),
    "L": (1, 5, 6, 8),
    "S": (1, 2, 3, 4, 6, 9, 10, 11),
}
WITHOUT_A_TEST = {"S2"}  # the page says why


def names_in(path: Path) -> set[str]:
    """Return the names of the test functions of a file."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def test_every_row_is_in_the_table_once() -> None:
    """No fault is forgotten, and none is told in two ways."""
    expected = [f"{kind}{number}" for kind, numbers in ROWS.items() for number in numbers]
    assert expected == ROW.findall(PAGE.read_text(encoding="utf-8"))


def test_every_row_names_a_test() -> None:
    """A row without a test needs a reason."""
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if ROW.match(line)]
    assert WITHOUT_A_TEST == {row.split(" ")[1] for row in rows if not NAMED.search(row)}


def test_every_named_test_exists() -> None:
    """A test that was renamed or deleted is missed here."""
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    assert len(named) > len(ROWS)
    missing = {
        f"{path}: {name}"
        for name, path in named
        if not (PAGE.parent / path).is_file() or name not in names_in(PAGE.parent / path)
    }
    assert set() == missing
