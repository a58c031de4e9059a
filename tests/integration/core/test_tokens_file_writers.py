"""Several processes that write tokens at the same time, and one that dies while it does."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from basic_inference_server.core import tokens_file
from basic_inference_server.core.tokens_file import TOKENS_FILE, TokensFileError, TokenStore
from tests.support.eventually import eventually

ROOT = Path(__file__).resolve().parents[3]
WRITER = ROOT / "tests" / "children" / "writes_tokens.py"
WRITERS, EACH = 4, 15


def start_writer(path: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(WRITER), str(path), name, str(count)], cwd=ROOT)


def test_no_writer_overwrites_what_another_has_written(tmp_path: Path) -> None:
    """Each creates and revokes; a reader beside them sees whole files only."""
    store = TokenStore(tmp_path / TOKENS_FILE)
    writers = [start_writer(store.path, f"w{number}", EACH) for number in range(WRITERS)]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        seen = max(seen, len(store.tokens()))  # raises when half a file is there
    assert [0] * WRITERS == [writer.returncode for writer in writers]
    wanted = {f"w{number} kept {turn}" for number in range(WRITERS) for turn in range(EACH)}
    assert wanted == {token.name for token in store.tokens()}
    assert len(wanted) == len(store.tokens())
    assert seen > 0


def test_killed_writer_leaves_whole_tokens_and_no_lock(tmp_path: Path) -> None:
    """The kernel drops the lock; what was written last is there."""
    store = TokenStore(tmp_path / TOKENS_FILE)
    for number in range(3):
        writer = start_writer(store.path, f"w{number}", 100_000)
        before = len(store.tokens())
        eventually(lambda before=before: len(store.tokens()) > before, what="it writes")  # type: ignore[misc]
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        store.create(f"after {number}", ("admin",))
    assert {f"after {number}" for number in range(3)} <= {token.name for token in store.tokens()}


def test_writer_waits_for_another_one_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped program must not take the gateway's administration with it."""
    store = TokenStore(tmp_path / TOKENS_FILE)
    store.create("first", ("admin",))
    monkeypatch.setattr(tokens_file, "LOCK_TIMEOUT_S", 0.05)
    holder = os.open(store.path.with_suffix(".lock"), os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(TokensFileError, match=r"Another program .* nothing was changed"):
        store.create("second", ("admin",))
    assert ["first"] == [token.name for token in store.tokens()]
    os.close(holder)
    store.create("second", ("admin",))
    assert ["first", "second"] == [token.name for token in store.tokens()]
