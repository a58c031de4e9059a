"""An endpoint's files as they were when its server started.

Workers that are forked later, because others were recycled or have died, run the same version: of
the endpoint's own file, and of the files beside it whose names begin with `_`, which it shares with
other endpoints and imports as `<folder>._name`.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType


@dataclass(frozen=True)
class KeptCode:
    """A compiled endpoint file, and the sources of the shared files by module name."""

    path: Path
    code: CodeType
    shared: Mapping[str, tuple[Path, bytes]]


def keep(path: Path) -> KeptCode | None:
    """Return the endpoint's file and the shared ones; `None` when it cannot be compiled."""
    try:
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        shared = {
            f"{path.parent.name}.{one.stem}": (one, one.read_bytes())
            for one in path.parent.glob("_*.py")
            if one.stem != "__init__"
        }
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return KeptCode(path, code, shared)


class _KeptLoader(importlib.abc.InspectLoader):
    """Loads one shared file from what was kept."""

    def __init__(self, path: Path, source: bytes) -> None:
        self._path = path
        self._source = source

    def get_source(self, fullname: str) -> str:
        """Return the kept text, for tracebacks."""
        del fullname
        return importlib.util.decode_source(self._source)

    def get_code(self, fullname: str) -> CodeType:
        """Return the compiled text."""
        del fullname
        return compile(self._source, str(self._path), "exec", dont_inherit=True)


class KeptFinder(importlib.abc.MetaPathFinder):
    """Finds shared files among those that were kept, before the folder is looked into."""

    def __init__(self, kept: KeptCode) -> None:
        self._shared = kept.shared

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to load a shared file; `None` for every other module."""
        del path, target
        found = self._shared.get(fullname)
        if found is None:
            return None
        file, source = found
        loader = _KeptLoader(file, source)
        spec = importlib.util.spec_from_loader(fullname, loader, origin=str(file))
        if spec is not None:
            spec.has_location = True
        return spec


def import_from(kept: KeptCode) -> None:
    """Have this process import shared files as they were kept."""
    sys.meta_path.insert(0, KeptFinder(kept))
