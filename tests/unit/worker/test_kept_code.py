"""Unit tests of endpoint files that are kept: what is imported, and what Python's cache may do."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import marshal
import os
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from basic_inference_server.worker.kept_code import KeptCode, KeptFinder, keep

HEAD_BYTES = 16


class Folder:
    """An endpoints folder with one shared file, and processes that start from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.shared = path / "_shared.py"
        self.cache = Path(importlib.util.cache_from_source(str(self.shared)))
        (path / "demo.py").write_text("")

    def write(self, version: int) -> None:
        """Write a version of the shared file; all have one length and one time."""
        self.shared.write_text(f"VERSION = {version}\n")
        os.utime(self.shared, ns=(10**18, 10**18))

    def keep(self) -> KeptCode:
        """Keep the files, as a server does when it starts."""
        kept = keep(self.path / "demo.py")
        assert kept is not None
        return kept

    def load(self, kept: KeptCode) -> ModuleType:
        """Import the shared file, as a new worker does."""
        spec = KeptFinder(kept).find_spec(f"{self.path.name}._shared", None)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def version(self, kept: KeptCode) -> int:
        """Return the version that a new worker has."""
        return int(self.load(kept).VERSION)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """Give a folder, and have Python write its cache whatever the environment says."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    made = Folder(tmp_path)
    made.write(1)
    yield made
    importlib.invalidate_caches()


@pytest.mark.parametrize("later", ["VERSION = 2\n", "this is no Python", None])
def test_worker_has_the_shared_file_as_it_was_kept(folder: Folder, later: str | None) -> None:
    """Changed, broken or gone by now: it is the same for every worker of the generation."""
    kept = folder.keep()
    if later is None:
        folder.shared.unlink()
    else:
        folder.shared.write_text(later)
    assert [1, 1] == [folder.version(kept), folder.version(kept)]


def test_second_worker_does_not_compile_again(folder: Folder) -> None:
    """What is in the cache is what it runs."""
    kept = folder.keep()
    folder.load(kept)
    head = folder.cache.read_bytes()[:HEAD_BYTES]
    folder.cache.write_bytes(head + marshal.dumps(compile("VERSION = 'cached'", "x", "exec")))
    assert "cached" == folder.load(kept).VERSION


def test_generations_of_one_second_and_length_are_told_apart(folder: Folder) -> None:
    """Old and new workers may come in any order, and each has its own version."""
    old = folder.keep()
    assert 1 == folder.version(old)
    folder.write(2)
    new = folder.keep()
    assert [2, 1, 2, 1] == [folder.version(kept) for kept in (new, old, new, old)]


def test_cache_that_was_made_by_time_is_not_trusted(folder: Folder) -> None:
    """Another program may have made it of other content of the same second and length."""
    by_time = py_compile.PycInvalidationMode.TIMESTAMP
    py_compile.compile(str(folder.shared), invalidation_mode=by_time)
    folder.write(2)
    assert 2 == folder.version(folder.keep())


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 100])
def test_damaged_cache_is_written_anew(folder: Folder, content: bytes) -> None:
    """A disk that was full, or a file of another program."""
    folder.cache.parent.mkdir()
    folder.cache.write_bytes(content)
    assert 1 == folder.version(folder.keep())
    assert content != folder.cache.read_bytes()


def test_everybody_else_can_use_the_cache(folder: Folder) -> None:
    """Python's own import takes it, and compares the content too."""
    folder.load(folder.keep())
    spec = importlib.util.spec_from_file_location("plain", folder.shared)
    assert spec is not None
    assert spec.loader is not None
    plain = importlib.util.module_from_spec(spec)
    before = folder.cache.read_bytes()
    spec.loader.exec_module(plain)
    assert (1, before) == (plain.VERSION, folder.cache.read_bytes())
    folder.write(2)
    spec.loader.exec_module(plain)
    assert 2 == plain.VERSION


def test_folder_without_a_cache_will_do(folder: Folder) -> None:
    """A file stands where the cache would be, as a read-only folder refuses it."""
    folder.cache.parent.write_text("")
    assert 1 == folder.version(folder.keep())


def test_traceback_shows_the_kept_line_of_a_file_that_is_gone(folder: Folder) -> None:
    """One that is still there is read as it is now, as Python does for every module."""
    module = folder.load(folder.keep())
    folder.shared.unlink()
    linecache.checkcache()
    assert "VERSION = 1\n" == linecache.getline(str(folder.shared), 1, vars(module))
