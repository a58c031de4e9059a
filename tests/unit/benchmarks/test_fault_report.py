"""The scoreboard's table as Markdown."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

report: Any = import_module("faults.report")
catalogue: Any = import_module("faults.catalogue")
verdict: Any = import_module("faults.verdict")

SYSTEMS = [catalogue.SYSTEMS["ours"], catalogue.SYSTEMS["mosec"]]
FAULTS = [catalogue.FAULTS["killed"], catalogue.FAULTS["json"]]


def finding(brief: str, *met: bool) -> Any:
    """Return a finding with so many checks."""
    checks = [verdict.Check(f"check {index}", value) for index, value in enumerate(met)]
    return verdict.Finding(brief, f"All of it: {brief}.", checks)


def findings() -> dict[str, dict[str, Any]]:
    """Return a finding for each cell."""
    return {
        "killed": {"ours": finding("1 lost", True, True), "mosec": finding("2 | 3", True, False)},
        "json": {"ours": finding("all 400", True), "mosec": verdict.not_run("no wheel for it")},
    }


def test_table_has_a_row_for_each_fault_and_a_column_for_each_system() -> None:
    """Each cell says verdict and observation; the last row counts what holds."""
    lines = report.markdown(FAULTS, SYSTEMS, findings(), "Head.").splitlines()
    assert [
        "Head.",
        "",
        f"| fault | {SYSTEMS[0].title} | {SYSTEMS[1].title} |",
        "| --- | --- | --- |",
        "| [worker killed](#worker-killed) | **holds**: 1 lost | **partly**: 2 \\| 3 |",
        "| [malformed JSON](#malformed-json) | **holds**: all 400 | not run |",
        "|  | 2 of 2 hold | 0 of 2 hold |",
    ] == lines[:7]


def test_each_fault_says_what_was_looked_for_and_seen() -> None:
    """The details have the checks, and the reason of what was not run."""
    text = report.markdown(FAULTS, SYSTEMS, findings(), "Head.")
    assert "### Malformed JSON\n" in text
    assert "Looked for: check 0; check 1." in text
    assert f"| {SYSTEMS[1].title} | not run | no wheel for it |" in text


def test_folders_of_the_machine_stay_out_of_the_table() -> None:
    """A path is cut to its last name; a route of a server is not."""
    path = Path(tempfile.gettempdir()) / "some" / "file.py"
    assert "no 'file.py' in x" == report.escaped(f"no '{path}'\nin x")
    assert "`/v2/health/ready` 200" == report.escaped("`/v2/health/ready` 200")


def test_block_is_replaced_and_the_page_kept(tmp_path: Path) -> None:
    """Only what stands between the marks changes, however often it is written."""
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{report.BEGIN}\nold\n{report.END}\n\nEnd.\n", encoding="utf-8")
    report.write_block(page, "first")
    report.write_block(page, "new")
    text = page.read_text(encoding="utf-8")
    assert f"# Title\n\n{report.BEGIN}\n\nnew\n\n{report.END}\n\nEnd.\n" == text


def test_page_without_a_block_is_refused(tmp_path: Path) -> None:
    """A page without the marks is left as it is."""
    page = tmp_path / "page.md"
    page.write_text("# Title\n", encoding="utf-8")
    with pytest.raises(report.PageError, match=r"page\.md has no block"):
        report.write_block(page, "new")
    assert "# Title\n" == page.read_text(encoding="utf-8")


def test_every_cell_of_the_table_can_be_filled() -> None:
    """Each fault has a question, each system a configuration and a health route."""
    assert 8 == len(catalogue.FAULTS)
    assert 7 == len(catalogue.SYSTEMS)
    for fault in catalogue.FAULTS.values():
        assert fault.question.endswith((".", "?"))
    for system in catalogue.SYSTEMS.values():
        assert system.configuration.endswith(".")
        assert [] == [path for path in system.health if not path.startswith("/")]
