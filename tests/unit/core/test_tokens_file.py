"""Unit tests of the file of tokens: who may read it, when it is read again, what it may hold."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from basic_inference_server.core.tokens import MAX_TOKENS, Token, digest_of, find
from basic_inference_server.core.tokens_file import TOKENS_FILE, TokensFileError, TokenStore
from tests.support.manual_clock import ManualClock

NOW_S = 1_800_000_000.0
OPEN = os.open


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_S)


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> TokenStore:
    return TokenStore(tmp_path / TOKENS_FILE, clock)


def problem_of(action: Callable[[], object]) -> str:
    with pytest.raises(TokensFileError) as caught:
        action()
    return str(caught.value)


def names(store: TokenStore) -> list[str]:
    return [token.name for token in store.tokens()]


def test_without_a_file_there_are_no_tokens(store: TokenStore) -> None:
    """The file is made by the first token; looking makes none."""
    assert () == store.tokens()
    assert not store.path.exists()


def test_token_is_kept_hashed_and_private(store: TokenStore) -> None:
    """Whoever reads the file cannot use it, and only its owner reads it."""
    record, secret = store.create("shop", ("run:demo",), lifetime_s=60)
    text = store.path.read_text()
    assert secret not in text
    assert record.digest.hex() in text
    assert [0o600, 0o600] == [
        path.stat().st_mode & 0o777 for path in (store.path, store.path.with_suffix(".lock"))
    ]
    assert record == find(store.tokens(), digest_of(secret.encode()))
    assert (NOW_S, NOW_S + 60) == (record.created_s, record.expires_s)


def test_private_whatever_the_umask_says(store: TokenStore) -> None:
    """A careless umask opens nothing, and a careful one locks nobody out."""
    for mask in (0o000, 0o777):
        before = os.umask(mask)
        try:
            store.create("any", ("admin",))
        finally:
            os.umask(before)
        assert 0o600 == store.path.stat().st_mode & 0o777
    assert 2 == len(store.tokens())


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o610, 0o666])
def test_file_that_is_open_to_others_is_not_trusted(store: TokenStore, mode: int) -> None:
    """Not even when it was read before: others may have written to it."""
    store.create("shop", ("admin",))
    assert ["shop"] == names(store)
    store.path.chmod(mode)
    assert f"open to others (mode {mode:04o})" in problem_of(store.tokens)
    assert "chmod 600" in problem_of(lambda: store.create("more", ("admin",)))
    store.path.chmod(0o600)
    assert ["shop"] == names(store)


def test_symbolic_link_instead_of_the_file_is_not_followed(
    store: TokenStore, tmp_path: Path
) -> None:
    """Neither to read nor to write, even to a file that would do."""
    store.create("shop", ("admin",))
    elsewhere = tmp_path / "elsewhere.json"
    store.path.rename(elsewhere)
    store.path.symlink_to(elsewhere)
    before = elsewhere.read_text()
    assert "symbolic link" in problem_of(store.tokens)
    assert "symbolic link" in problem_of(lambda: store.create("more", ("admin",)))
    assert before == elsewhere.read_text()


def test_link_that_appears_after_the_look_is_not_followed(
    store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the status and the reading somebody may replace the file."""
    store.create("shop", ("admin",))
    elsewhere = tmp_path / "elsewhere.json"

    def replaced_first(path: Any, *rest: Any) -> int:
        if path == store.path:
            store.path.rename(elsewhere)
            store.path.symlink_to(elsewhere)
        return OPEN(path, *rest)

    monkeypatch.setattr(os, "open", replaced_first)
    fresh = TokenStore(store.path)
    assert "cannot be read" in problem_of(fresh.tokens)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_refused_without_waiting(store: TokenStore, kind: str) -> None:
    """Opening a pipe would wait for somebody to write."""
    if kind == "folder":
        store.path.mkdir(0o700)
    else:
        os.mkfifo(store.path, 0o600)
    assert "no regular file" in problem_of(store.tokens)


@pytest.mark.parametrize("suffix", [".lock", ".json.new"])
def test_link_instead_of_a_helper_file_is_not_followed(
    store: TokenStore, tmp_path: Path, suffix: str
) -> None:
    """A lock or a half-written file cannot be turned against another file."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o644)
    store.path.with_suffix(suffix).symlink_to(victim)
    if suffix == ".lock":
        assert "cannot be written" in problem_of(lambda: store.create("shop", ("admin",)))
    else:
        store.create("shop", ("admin",))
    assert ("mine", 0o644) == (victim.read_text(), victim.stat().st_mode & 0o777)


def entry_with(store: TokenStore, **changes: Any) -> str:
    """Return the file's text with a change in its only token."""
    content = json.loads(store.path.read_text())
    content["tokens"][0].update(changes)
    return json.dumps(content)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _store: "", id="empty"),
        pytest.param(lambda store: store.path.read_text()[:-20], id="half"),
        pytest.param(lambda _store: "[]", id="list"),
        pytest.param(lambda _store: "{}", id="no tokens"),
        pytest.param(lambda _store: '{"format": 2, "tokens": []}', id="newer format"),
        pytest.param(lambda _store: '{"format": 1, "tokens": {}}', id="tokens are no list"),
        pytest.param(lambda _store: "[" * 100_000, id="deep"),
        pytest.param(lambda store: entry_with(store, scopes=["root"]), id="unknown scope"),
        pytest.param(lambda store: entry_with(store, sha256="12"), id="short digest"),
        pytest.param(
            lambda store: store.path.read_text().replace("]\n}", ', {"id": 1}]}'), id="bad entry"
        ),
    ],
)
def test_damaged_file_lets_nobody_pass(
    store: TokenStore, damage: Callable[[TokenStore], str]
) -> None:
    """The message says which file and what to do; writing does not make it worse."""
    record, _ = store.create("shop", ("admin",))
    text = damage(store)
    assert text != store.path.read_text()
    store.path.write_text(text)
    for action in (
        store.tokens,
        lambda: store.create("more", ("admin",)),
        lambda: store.revoke(record.id),
    ):
        problem = problem_of(action)
        assert problem.startswith(f"{store.path} is damaged: ")
        assert "put a good copy back, or delete it" in problem
        assert record.digest.hex() not in problem
    assert text == store.path.read_text()


def test_file_that_is_not_text_or_far_too_large_is_damaged(store: TokenStore) -> None:
    """Neither costs more than a look."""
    store.path.write_bytes(b'{"format": 1, "tokens": ["\xff"]}')
    store.path.chmod(0o600)
    assert "not UTF-8" in problem_of(store.tokens)
    os.truncate(store.path, 9 * 1024 * 1024)
    assert "larger than" in problem_of(store.tokens)


def test_id_twice_is_damage(store: TokenStore) -> None:
    """An id that named two tokens would revoke one of them only."""
    store.create("shop", ("admin",))
    content = json.loads(store.path.read_text())
    content["tokens"] *= 2
    store.path.write_text(json.dumps(content))
    assert "more than once" in problem_of(store.tokens)


def test_change_by_another_process_is_seen_at_once(store: TokenStore) -> None:
    """Every reader looks at the file's status at each check."""
    reader = TokenStore(store.path)
    assert () == reader.tokens()
    record, _ = store.create("first", ("admin",))
    assert ["first"] == names(reader)
    store.create("second", ("admin",))
    assert ["first", "second"] == names(reader)
    store.revoke(record.id)
    assert ["second"] == names(reader)
    store.path.unlink()
    assert [] == names(reader)


def test_unchanged_file_is_not_read_again(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check costs one look at its status."""
    store.create("shop", ("admin",))
    before = store.tokens()
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("the file was opened"))
    assert store.tokens() is before


def test_damaged_file_is_not_read_again_either(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends wrong tokens cannot make the gateway read it again and again."""
    store.path.write_text("{")
    store.path.chmod(0o600)
    first = problem_of(store.tokens)
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("the file was opened"))
    assert first == problem_of(store.tokens)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
ENTRIES = st.fixed_dictionaries(
    dict.fromkeys(("id", "name", "sha256", "scopes", "created", "expires"), JSON_VALUES)
)


@settings(
    deadline=None, max_examples=150, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    st.dictionaries(st.sampled_from(["format", "tokens"]), JSON_VALUES)
    | st.builds(lambda entries: {"format": 1, "tokens": entries}, st.lists(JSON_VALUES | ENTRIES))
    | JSON_VALUES
)
def test_any_content_is_tokens_or_damage(store: TokenStore, content: Any) -> None:
    """Whatever is in the file, nothing else comes out."""
    store.path.write_text(json.dumps(content))
    store.path.chmod(0o600)
    with contextlib.suppress(TokensFileError):
        assert all(isinstance(token, Token) for token in store.tokens())


def test_each_write_makes_the_file_newer(store: TokenStore) -> None:
    """Two writes within one tick of the clock, or a clock set back, hide no change."""
    store.create("aaaa", ("admin",))
    times = [int(4e18)]  # in the year 2096
    os.utime(store.path, ns=(times[0], times[0]))
    for _ in range(3):
        store.create("bbbb", ("admin",))
        times.append(store.path.stat().st_mtime_ns)
    assert sorted(set(times)) == times


def test_expired_tokens_are_forgotten_when_something_is_written(
    store: TokenStore, clock: ManualClock
) -> None:
    """Until then they are there, so that their owner is told that they have expired."""
    store.create("short", ("admin",), lifetime_s=60)
    store.create("long", ("admin",))
    clock.advance(60)
    assert ["short", "long"] == names(store)
    store.create("new", ("admin",))
    assert ["long", "new"] == names(store)


def test_number_of_tokens_is_bounded(store: TokenStore, clock: ManualClock) -> None:
    """Expired ones do not count; revoking one makes room."""
    store.create("first", ("run:a",), lifetime_s=60)
    content = json.loads(store.path.read_text())
    entry = content["tokens"][0]
    content["tokens"] = [{**entry, "id": f"{number:08x}"} for number in range(MAX_TOKENS)]
    store.path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="1000 tokens"):
        store.create("one too many", ("admin",))
    assert store.revoke("00000000") is not None
    store.create("last", ("admin",))
    with pytest.raises(ValueError, match="1000 tokens"):
        store.create("one too many", ("admin",))
    clock.advance(60)
    store.create("after", ("admin",))
    assert ["last", "after"] == names(store)


def test_revoking_says_what_was_revoked(store: TokenStore) -> None:
    """Or that there is no such token; then the file is left alone."""
    record, _ = store.create("shop", ("admin",))
    written = store.path.stat()
    assert store.revoke("00000000") is None
    assert (written.st_ino, written.st_mtime_ns) == (
        store.path.stat().st_ino, store.path.stat().st_mtime_ns,
    )  # fmt: skip
    assert record == store.revoke(record.id)
    assert store.revoke(record.id) is None
    assert () == store.tokens()


def test_disk_that_takes_nothing_changes_nothing(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old tokens stay valid, and no half file stays behind."""
    store.create("shop", ("admin",))

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    problem = problem_of(lambda: store.create("more", ("admin",)))
    assert "No space left on device; nothing was changed" in problem
    monkeypatch.undo()
    assert ["shop"] == names(store)
    assert not store.path.with_suffix(".json.new").exists()


def test_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    """The command line may be in the wrong place."""
    store = TokenStore(tmp_path / "nowhere" / TOKENS_FILE)
    assert "cannot be written: No such file" in problem_of(lambda: store.create("a", ("admin",)))
    assert () == store.tokens()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_file_that_root_writes_belongs_to_the_owner_of_the_folder(store: TokenStore) -> None:
    """A gateway that is not root reads what an administrator made with sudo."""
    os.chown(store.path.parent, 12345, 23456)
    store = TokenStore(store.path, owner=12345)
    store.create("shop", ("admin",))
    for path in (store.path, store.path.with_suffix(".lock")):
        assert (12345, 23456) == (path.stat().st_uid, path.stat().st_gid)
