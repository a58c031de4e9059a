"""The scoreboard as text: lines while it runs, Markdown for the documentation."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from faults.catalogue import Fault
from faults.system import System
from faults.verdict import Finding, Verdict

BEGIN = "<!-- scoreboard: written by benchmarks/scoreboard.py -->"
END = "<!-- end of scoreboard -->"
MACHINE_FOLDERS = (tempfile.gettempdir(), str(Path(__file__).resolve().parents[2]), sys.prefix)
MACHINE_PATH = re.compile(f"(?:{'|'.join(map(re.escape, MACHINE_FOLDERS))})/(?:[^\\s/`'\"]+/)*")

Findings = Mapping[str, Mapping[str, Finding]]  # by fault, then by system


class PageError(Exception):
    """The page has no block to write into."""


def cell(finding: Finding) -> str:
    """One cell: the verdict, and in a few words what was seen."""
    if finding.verdict is Verdict.NOT_RUN:
        return escaped(f"{finding.verdict.value}")
    return escaped(f"**{finding.verdict.value}**: {finding.brief}")


def escaped(text: str) -> str:
    """Text for a cell of a table: on one line, no bars, no folders of the machine."""
    return MACHINE_PATH.sub("", " ".join(text.split())).replace("|", "\\|")


def row(cells: Sequence[str]) -> str:
    """One row of a table."""
    return "| " + " | ".join(cells) + " |"


def markdown(
    faults: Sequence[Fault], systems: Sequence[System], findings: Findings, head: str
) -> str:
    """The overview and, for each fault, what was seen and what it was held to."""
    lines = [head, "", *_overview(faults, systems, findings)]
    for fault in faults:
        lines += [
            "",
            f"### {fault.title[0].upper()}{fault.title[1:]}",
            "",
            *sentences(fault.question),
            "",
        ]
        checks = _checks(findings[fault.key])
        if checks:
            lines += [f"Looked for: {'; '.join(checks)}.", ""]
        lines += [row(("system", "verdict", "observed")), row(("---",) * 3)]
        for system in systems:
            finding = findings[fault.key][system.key]
            cells = (system.title, finding.verdict.value, escaped(finding.observed))
            lines.append(row(cells))
    lines += ["", "### Configuration", "", row(("system", "how it was set up")), row(("---",) * 2)]
    lines += [row((system.title, escaped(system.configuration))) for system in systems]
    return "\n".join(lines)


def sentences(text: str) -> list[str]:
    """One sentence a line, as this documentation is written."""
    return re.split(r"(?<=[.?]) (?=[A-Z])", text)


def _overview(faults: Sequence[Fault], systems: Sequence[System], findings: Findings) -> list[str]:
    lines = [
        row(("fault", *(system.title for system in systems))),
        row(("---",) * (len(systems) + 1)),
    ]
    for fault in faults:
        cells = [cell(findings[fault.key][system.key]) for system in systems]
        lines.append(row((f"[{fault.title}](#{fault.title.replace(' ', '-').lower()})", *cells)))
    totals = []
    for system in systems:
        verdicts = [findings[fault.key][system.key].verdict for fault in faults]
        totals.append(f"{verdicts.count(Verdict.HOLDS)} of {len(faults)} hold")
    return [*lines, row(("", *totals))]


def _checks(findings: Mapping[str, Finding]) -> list[str]:
    """Every check that any system was held to, in order, once."""
    found = [check.what for finding in findings.values() for check in finding.checks]
    return list(dict.fromkeys(found))


def write_block(page: Path, block: str) -> None:
    """Replace what stands between the two marks of a page."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise PageError(f"{page.name} has no block between {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{block}\n\n{END}{after}", encoding="utf-8")
