"""The tutorial, done by a test: in an empty folder, beside this checkout, in a real shell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.functional.shell_pages import ROOT, Reader, blocks_of

TUTORIAL = ROOT / "docs" / "tutorial.md"
TESTING = ROOT / "docs" / "howto" / "test.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl, as a reader does")
def test_tutorial_can_be_done_as_it_is_written(tmp_path: Path) -> None:
    """Every file, command and answer; only what installs packages is left out."""
    (tmp_path / "gateway").symlink_to(ROOT)
    reader = Reader(TUTORIAL.read_text(encoding="utf-8"), tmp_path)
    reader.do()
    (left_out,) = reader.left_out
    assert 'pip install "./gateway[models]" pytest' in left_out


def test_page_on_tests_can_be_done_as_it_is_written(tmp_path: Path) -> None:
    """Its tests pass, as many as it says."""
    reader = Reader(TESTING.read_text(encoding="utf-8"), tmp_path)
    reader.do()
    assert [] == reader.left_out


def test_tutorial_is_short() -> None:
    """Ten minutes: what has to be typed by hand is little."""
    blocks = blocks_of(TUTORIAL.read_text(encoding="utf-8"))
    commands = [line for b in blocks if b.language == "bash" for line in b.text.splitlines()]
    lines = [line for b in blocks if b.what.startswith("title=") for line in b.text.splitlines()]
    assert len(commands) <= 20
    assert len(lines) <= 100


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        pytest.param("```bash\nfalse\n```\n", "false", id="command that fails"),
        pytest.param("```bash\necho 1\n```\n```text output\n2\n```\n", "2", id="other output"),
        pytest.param("```bash\necho '{\"a\": 1}'\n```\n```json answer\n{\"a\": 2}\n```\n",
                     "the page shows", id="other answer"),
        pytest.param("```python title=a.py\n```\n", "no reader is told to write a.py",
                     id="file without a name"),
        pytest.param("`a`\n```text title=a\n1\n```\n```text file=a\n2\n```\n", "2",
                     id="file with another text"),
        pytest.param("```bash later\ntrue\n```\n", "what is a block bash later?", id="odd word"),
        pytest.param("```bash\nmkdir a\ncd a\n```\n```bash\ncd a\n```\n", "No such file",
                     id="folder that holds"),
    ],
)  # fmt: skip
def test_page_that_is_wrong_fails(page: str, complaint: str, tmp_path: Path) -> None:
    """What a page shows and what happens are compared at every block."""
    with pytest.raises(AssertionError, match=complaint):
        Reader(page, tmp_path).do()


def test_what_varies_is_not_compared(tmp_path: Path) -> None:
    """Durations and times of day; everything else is."""
    page = "```bash\necho 2 passed in 0.31s\n```\n```text output\n2 passed in 1.02s\n```\n"
    Reader(page, tmp_path).do()
    with pytest.raises(AssertionError, match="3 passed"):
        Reader(page.replace("echo 2", "echo 3"), tmp_path).do()
