"""Tables of figures, as text and on a page."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

tables: Any = import_module("tables")
targets: Any = import_module("targets")

TABLE = tables.Table("Rates", ("c=1", "c=8"), {"ours": ("10", "20"), "a|b": ("1", "2")})
PAGE = "before\n<!-- {0}: written by benchmarks/{0}.py -->\nold\n<!-- end of {0} -->\nafter\n"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """Heads and cells end in the same column."""
    title, heads, first, second = TABLE.text().splitlines()
    assert "Rates" == title
    assert len(heads) == len(first) == len(second)
    assert ["ours", "10", "20"] == first.split()


def test_markdown_escapes_bars() -> None:
    """A bar in a name does not begin another cell."""
    assert [
        "Rates:",
        "",
        "|  | c=1 | c=8 |",
        "| --- | --- | --- |",
        "| ours | 10 | 20 |",
        "| a\\|b | 1 | 2 |",
    ] == TABLE.markdown().splitlines()


@pytest.mark.parametrize(("values", "text"), [([2.0], "2.0"), ([3.0, 1.0, 2.0], "2.0 (1.0-3.0)")])
def test_spread_is_the_median_between_its_bounds(values: list[float], text: str) -> None:
    """One round has no spread."""
    assert text == tables.spread(values, 1)


def test_block_of_a_page_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    """Twice gives the same page."""
    page = tmp_path / "speed.md"
    page.write_text(PAGE.format("loading") + PAGE.format("batching"))
    for _ in range(2):
        tables.write_block(page, "batching", "new")
    assert PAGE.format("loading") in page.read_text()
    assert 1 == page.read_text().count("\n\nnew\n\n")
    assert 1 == page.read_text().count("old")


def test_page_without_the_block_is_refused(tmp_path: Path) -> None:
    """It stays as it is."""
    page = tmp_path / "speed.md"
    page.write_text(PAGE.format("loading"))
    with pytest.raises(tables.PageError, match="batching"):
        tables.write_block(page, "batching", "new")
    assert PAGE.format("loading") == page.read_text()


def test_page_is_looked_at_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong one is refused with the command line."""
    parser = argparse.ArgumentParser()
    tables.add_markdown_option(parser, "batching")
    assert tables.PAGE == parser.parse_args(["--markdown"]).markdown
    with pytest.raises(SystemExit):
        parser.parse_args(["--markdown", str(tmp_path / "none.md")])
    assert "No such file" in capsys.readouterr().err


def test_every_program_has_its_block_on_the_page() -> None:
    """What `--markdown` writes into."""
    text = tables.PAGE.read_text()
    for name in ("batching", "digits_overhead", "onnx_mlp", "loading", "streaming"):
        assert f"<!-- {name}: written by benchmarks/{name}.py -->" in text
        assert f"<!-- end of {name} -->" in text


def test_missed_target_is_said_to_be_missed() -> None:
    """With its value and its limit."""
    found = [
        targets.Target("start", 6.5, targets.Bound.AT_MOST, 5.0, "s"),
        targets.Target("gain", 3.2, targets.Bound.AT_LEAST, 3.0),
    ]
    rows = tables.verdicts(found).rows
    assert ("6.5 s", "<= 5 s", "**missed**") == rows["start"]
    assert ("3.2", ">= 3", "met") == rows["gain"]
