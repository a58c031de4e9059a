"""Tables of figures: as text on the terminal, as Markdown in docs/explanation/speed.md."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import machine
from targets import Target

PAGE = Path(__file__).resolve().parents[1] / "docs" / "explanation" / "speed.md"
FIRST_COLUMN = 34
GAP = 2


class PageError(Exception):
    """The page has no block of that name to write into."""


@dataclass(frozen=True)
class Table:
    """A title, the heads of the columns, and a row of cells for each name."""

    title: str
    heads: Sequence[str]
    rows: Mapping[str, Sequence[str]]

    def text(self) -> str:
        """For a terminal."""
        columns = [self.heads, *self.rows.values()]
        widths = [max(map(len, cells)) + GAP for cells in zip(*columns, strict=True)]
        first = max([FIRST_COLUMN, *map(len, self.rows)])
        lines = [self.title, " " * first + _aligned(self.heads, widths)]
        lines += [f"{name:<{first}}" + _aligned(cells, widths) for name, cells in self.rows.items()]
        return "\n".join(lines)

    def markdown(self) -> str:
        """For a page."""
        lines = [
            f"{self.title}:",
            "",
            _row(("", *self.heads)),
            _row(["---"] * (len(self.heads) + 1)),
        ]
        lines += [_row((name, *cells)) for name, cells in self.rows.items()]
        return "\n".join(lines)


def spread(values: Sequence[float], digits: int) -> str:
    """The median of the rounds with the smallest and the largest."""
    middle = f"{statistics.median(values):.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def add_markdown_option(parser: argparse.ArgumentParser, name: str) -> None:
    """`--markdown`: also put the tables on the page, which is looked at before measuring."""

    def page_with_block(text: str) -> Path:
        page = Path(text)
        try:
            _parts_of(page, name)
        except (OSError, PageError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        return page

    parser.add_argument(
        "--markdown",
        type=page_with_block,
        nargs="?",
        const=PAGE,
        help=f"write the tables into the program's block of this page ({PAGE.name})",
    )


def report(
    name: str, page: Path | None, found: Sequence[Table], targets: Sequence[Target], how: str
) -> None:
    """Print the tables; with a page, replace the block called `name` in it."""
    for table in found:
        print("\n" + table.text())
    if page is not None:
        described = machine.describe()
        head = (
            f"Taken on {str(described['taken_at'])[:10]} on {described['cpus']} cores "
            f"({described['cpu_model']}), which the clients use too; Python {described['python']}; "
            f"load average at the end {described['load_average_1min']}.\n{how}"
        )
        parts = [head, *(table.markdown() for table in found), verdicts(targets).markdown()]
        write_block(page, name, "\n\n".join(parts))
        print(f"\nwrote the block {name!r} of {page.name}")


def verdicts(targets: Sequence[Target]) -> Table:
    """The targets as a table."""
    return Table(
        "Targets",
        ("measured", "target", ""),
        {
            target.name: (
                f"{target.value:.3g} {target.unit}".strip(),
                f"{target.bound.value} {target.limit:g} {target.unit}".strip(),
                "met" if target.is_met else "**missed**",
            )
            for target in targets
        },
    )


def write_block(page: Path, name: str, block: str) -> None:
    """Replace what stands between the two marks of a block."""
    before, begin, end, after = _parts_of(page, name)
    page.write_text(f"{before}{begin}\n\n{block}\n\n{end}{after}", encoding="utf-8")


def _parts_of(page: Path, name: str) -> tuple[str, str, str, str]:
    """What stands before a block, its two marks, and what stands after it.

    Raises:
        PageError: there is no such block.
    """
    begin, end = f"<!-- {name}: written by benchmarks/{name}.py -->", f"<!-- end of {name} -->"
    before, found_begin, rest = page.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise PageError(f"{page.name} has no block between {begin} and {end}")
    return before, begin, end, after


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
