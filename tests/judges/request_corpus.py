"""gunicorn's request corpus: what each file sends, and how many requests it holds."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ESCAPES = {rb"\r\n": b"\r\n", rb"\0": b"\0", rb"\n": b"\n", rb"\t": b"\t"}


@dataclass(frozen=True)
class Case:
    """One file of the corpus."""

    name: str
    data: bytes
    request_count: int
    sets_options: bool

    @property
    def method(self) -> str:
        """The method of the first request, as far as there is one."""
        return self.data.split(b" ", 1)[0].decode("latin-1")

    @property
    def with_hosts(self) -> bytes:
        """The same with a `Host` after each request line that has none; most files leave it out."""
        return re.sub(
            rb"(?im)(^[A-Z]+ [^\r\n]+ HTTP/1\.[01]\r\n)(?!(?:[^\r\n]+\r\n)*host[ \t]*:)",
            rb"\1Host: judged\r\n",
            self.data,
        )


def read_cases(folder: Path) -> list[Case]:
    """Return every case of `valid` or `invalid`."""
    return [_read_case(path) for path in sorted(folder.glob("*.http"))]


def _read_case(path: Path) -> Case:
    data = path.read_bytes().replace(b"\n", b"")
    for escape, meaning in ESCAPES.items():
        data = data.replace(escape, meaning)
    data = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda match: bytes([int(match[1], 16)]), data)
    expectation = path.with_suffix(".py").read_text()
    return Case(path.stem, data, _count_requests(expectation), "cfg.set(" in expectation)


def _count_requests(expectation: str) -> int:
    """Count what the file expects without running it."""
    for statement in ast.parse(expectation).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "request":
            value = statement.value
            return len(value.elts) if isinstance(value, (ast.List, ast.Tuple)) else 1
    raise ValueError("the file says nothing about a request")
