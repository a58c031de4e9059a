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
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# The head of a compiled file, of PEP 552: its third and fourth four bytes are the source's hash
# where its second four say so.
FLAGS: Final = slice(4, 8)
TIME_AND_SIZE: Final = slice(8, 16)
COMPARED_BY_CONTENT: Final = (3).to_bytes(4, "little")


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


class _KeptLoader(importlib.machinery.SourceFileLoader):
    """Loads one shared file from what was kept.

    Python's cache of compiled files is used, so that not every worker compiles them anew, but by
    content only: going by time and size, it takes two versions of one second for the same.
    """

    def __init__(self, fullname: str, path: Path, source: bytes) -> None:
        super().__init__(fullname, str(path))
        self._source = source

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Return what a cache by time would be compared with, without asking the disk."""
        del path
        return {"mtime": 0, "size": len(self._source)}

    def get_data(self, path: str) -> bytes:
        """Return the kept source, or a compiled file.

        Raises:
            OSError: there is no compiled file that can be compared by content.
        """
        if path == self.path:
            return self._source
        compiled = super().get_data(path)
        if compiled[FLAGS] != COMPARED_BY_CONTENT:
            raise OSError(f"{path} does not say which content it was made of")
        return compiled

    def set_data(self, path: str, data: ReadableBuffer, **options: Any) -> None:
        """Keep a compiled file, in silence where that is impossible, by the source's content."""
        compiled = bytearray(data)
        compiled[FLAGS] = COMPARED_BY_CONTENT
        compiled[TIME_AND_SIZE] = importlib.util.source_hash(self._source)
        super().set_data(path, compiled, **options)


class KeptFinder(importlib.abc.MetaPathFinder):
    """Finds shared files among those that were kept, before the folder is looked into."""

    def __init__(self, kept: KeptCode) -> None:
        self._shared = kept.shared
        self._folder = kept.path.parent

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to load a shared file, or its folder if that is gone; `None` for others."""
        del path, target
        if fullname == self._folder.name and not self._folder.is_dir():
            package = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            package.submodule_search_locations = [str(self._folder)]
            return package
        found = self._shared.get(fullname)
        if found is None:
            return None
        file, source = found
        loader = _KeptLoader(fullname, file, source)
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)


def import_from(kept: KeptCode) -> None:
    """Have this process import shared files as they were kept."""
    sys.meta_path.insert(0, KeptFinder(kept))
