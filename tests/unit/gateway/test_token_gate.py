"""Unit tests of the gate: which token opens what, and what the others are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from basic_inference_server.core.errors import ServiceError
from basic_inference_server.core.logs import Event, EventLog
from basic_inference_server.core.tokens_file import TokenStore
from basic_inference_server.gateway import token_gate
from basic_inference_server.gateway.attempts import ALLOWED, Attempts
from basic_inference_server.gateway.challenge import challenge
from basic_inference_server.gateway.token_gate import TokenGate, presented_token
from tests.support.manual_clock import ManualClock
from tests.support.secret_files import write_secret

NOW_S = 1_800_000_000.0
HERE = "192.0.2.7"
ADMIN_TOKEN = "bis_administration"


class Gate:
    """A gate on files of its own, with clocks that a test moves."""

    def __init__(self, folder: Path) -> None:
        write_secret(folder / "admin_token", f"{ADMIN_TOKEN}\n")
        self.wall = ManualClock(NOW_S)
        self.monotonic = ManualClock()
        self.said: list[Event] = []
        log = EventLog(self.said.append)
        attempts = Attempts(self.monotonic)
        self.gate = TokenGate(folder / "admin_token", log, self.wall, attempts)
        self.store: TokenStore = self.gate.store

    def new(self, *scopes: str, lifetime_s: int | None = None) -> str:
        """Return a new token."""
        return self.store.create("test", scopes, lifetime_s)[1]

    def admit(self, secret: str, scope: str = "admin", client: str = HERE) -> None:
        """Let the gate decide."""
        self.gate.admit(f"Bearer {secret}", scope, client)

    def lets_pass(self, secret: str, scope: str = "admin") -> bool:
        """Say how the gate decides."""
        try:
            self.admit(secret, scope)
        except ServiceError:
            return False
        return True

    def refusal(self, secret: str, scope: str = "admin", client: str = HERE) -> ServiceError:
        """Return the error with which the gate refuses."""
        with pytest.raises(ServiceError) as caught:
            self.admit(secret, scope, client)
        return caught.value


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Bearer abc", "abc"),
        ("bearer   abc  ", "abc"),
        ("BackendAI abc", "abc"),
        ("Bearer", ""),
        ("Basic abc", None),
        ("abc", None),
        ("", None),
    ],
)
def test_token_is_taken_from_schemes_of_ours(header: str, expected: str | None) -> None:
    """`Bearer` and the seeds' `BackendAI`, in any case."""
    assert expected == presented_token(header)


@pytest.mark.parametrize("scope", ["admin", "run:demo"])
def test_administration_token_opens_everything(gate: Gate, scope: str) -> None:
    """It has all scopes; a text that is like it has none."""
    assert gate.lets_pass(ADMIN_TOKEN, scope)
    assert not gate.lets_pass(ADMIN_TOKEN[:-1], scope)


def test_several_tokens_are_valid_at_the_same_time(gate: Gate) -> None:
    """So that one can be replaced by another without a gap."""
    old, new = gate.new("admin"), gate.new("admin")
    assert gate.lets_pass(old)
    assert gate.lets_pass(new)


def test_valid_token_of_another_scope_is_forbidden(gate: Gate) -> None:
    """The answer says what it may not do; the header, which scope would do."""
    secret = gate.new("run:demo")
    gate.admit(secret, "run:demo")
    for scope, message in (
        ("run:other", "This token may not run other."), ("admin", "This token may not administer."),
    ):  # fmt: skip
        error = gate.refusal(secret, scope)
        assert (403, message, scope) == (error.status, error.message, error.details["scope"])
        expected = (
            f'Bearer realm="basic_inference_server", error="insufficient_scope", scope="{scope}"'
        )
        assert expected == challenge(error)


def test_expired_token_is_said_to_have_expired(gate: Gate) -> None:
    """To whoever has it, and from the second of its expiry on."""
    secret = gate.new("admin", lifetime_s=60)
    gate.wall.advance(59.9)
    gate.admit(secret)
    gate.wall.advance(0.1)
    error = gate.refusal(secret)
    assert (401, "The token has expired; ask for a new one.", {"reason": "expired"}) == (
        error.status, error.message, error.details,
    )  # fmt: skip
    assert 'error_description="The token has expired"' in (challenge(error) or "")


def test_revoked_token_is_wrong_from_then_on(gate: Gate) -> None:
    """Nobody has to be told."""
    record, secret = gate.store.create("test", ("admin",))
    gate.admit(secret)
    TokenStore(gate.store.path).revoke(record.id)
    error = gate.refusal(secret)
    assert ("invalid", 401) == (error.details["reason"], error.status)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Basic abc", "Bearer \xe9", "Bearer \u20ac", "Bearer " + "x" * 60000]
)
def test_whatever_is_sent_gets_an_answer(gate: Gate, header: str) -> None:
    """Never a fault of the gateway, and never the token in the answer."""
    with pytest.raises(ServiceError) as caught:
        gate.gate.admit(header, "admin", HERE)
    assert (401, "The token is not valid; send Authorization: Bearer <token>.") == (
        caught.value.status, caught.value.message,
    )  # fmt: skip


def test_digest_from_the_file_is_no_token(gate: Gate) -> None:
    """Whoever has read the file cannot use it."""
    record, _ = gate.store.create("test", ("admin",))
    assert 401 == gate.refusal(record.digest.hex()).status


def test_too_many_wrong_tokens_are_refused_and_a_valid_one_is_not(gate: Gate) -> None:
    """The neighbours of somebody who guesses, behind the same proxy, are served."""
    secret = gate.new("run:demo")
    for _ in range(ALLOWED):
        assert 401 == gate.refusal("wrong").status
    gate.monotonic.advance(0.5)
    error = gate.refusal("wrong")
    assert (429, 60) == (error.status, error.details["retry_after_s"])
    assert challenge(error) is None
    assert 403 == gate.refusal(secret, "admin").status
    gate.admit(secret, "run:demo")
    gate.admit(ADMIN_TOKEN)
    assert 401 == gate.refusal("wrong", client="192.0.2.8").status


def test_refused_attempts_are_logged_once_a_minute_without_the_token(gate: Gate) -> None:
    """With the address that they come from."""
    for _ in range(ALLOWED + 5):
        gate.refusal("bis_secret_guess", client="2001:db8::1")
    assert [("warning", "attempts_refused", "2001:db8::/64", 60)] == [
        (event["level"], event["event"], event["client"], event["retry_after_s"])
        for event in gate.said
    ]
    assert "guess" not in json.dumps(gate.said)


def test_valid_token_for_something_else_is_no_attempt(gate: Gate) -> None:
    """Nothing was guessed."""
    secret = gate.new("run:demo")
    for _ in range(ALLOWED + 5):
        assert 403 == gate.refusal(secret, "admin").status


@pytest.mark.parametrize("damage", ["text", "mode", "link"])
def test_unreadable_tokens_let_only_the_administration_token_pass(
    gate: Gate, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says why and what to do, at most once a minute; the caller, whose fault it is."""
    monkeypatch.setattr(token_gate, "monotonic_s", gate.monotonic)
    secret = gate.new("admin")
    if damage == "text":
        gate.store.path.write_text("{")
    elif damage == "mode":
        gate.store.path.chmod(0o644)
    else:
        gate.store.path.rename(gate.store.path.with_name("other"))
        gate.store.path.symlink_to("other")
    for _ in range(ALLOWED + 5):
        error = gate.refusal(secret)
        assert (401, "unreadable") == (error.status, error.details["reason"])
        assert str(gate.store.path) not in error.message
    gate.admit(ADMIN_TOKEN)
    gate.admit(ADMIN_TOKEN, "run:demo")
    gate.monotonic.advance(60)
    gate.refusal(secret)
    assert [("error", "tokens_unreadable")] * 2 == [
        (event["level"], event["event"]) for event in gate.said
    ]
    assert str(gate.store.path) in gate.said[0]["error"]


@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_administration_token_that_others_may_have_changed_is_none(gate: Gate, what: str) -> None:
    """Looked at each time; the log says what to do, and the caller whose fault it is."""
    gate.admit(ADMIN_TOKEN)
    path = gate.store.path.with_name("admin_token")
    if what == "folder":
        path.parent.chmod(0o777)
    elif what == "file":
        path.chmod(0o604)
    else:
        path.rename(path.with_name("other"))
        path.symlink_to("other")
    error = gate.refusal(ADMIN_TOKEN)
    assert (401, "unreadable") == (error.status, error.details["reason"])
    assert {"tokens_unreadable"} == {event["event"] for event in gate.said}
    assert str(path if what != "folder" else path.parent) in gate.said[0]["error"]


def test_unreadable_tokens_are_said_at_the_start(gate: Gate) -> None:
    """Before anybody is refused."""
    gate.gate.look()
    assert [] == gate.said
    gate.store.path.write_text("{}")
    gate.store.path.chmod(0o600)
    gate.gate.look()
    assert ["tokens_unreadable"] == [event["event"] for event in gate.said]


def test_unreadable_tokens_hold_nobody_up_who_says_so(gate: Gate) -> None:
    """The line is written by whoever saw it first, and another thread need not wait for that."""
    said: list[Event] = []

    def write(event: Event) -> None:
        said.append(event)
        other.look()

    other = TokenGate(gate.store.path.with_name("admin_token"), EventLog(write))
    gate.store.path.write_text("{}")
    other.look()
    assert ["tokens_unreadable"] == [event["event"] for event in said]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\xc3\xa9\xc3\xa9"])
def test_administration_token_may_be_any_bytes(gate: Gate, tmp_path: Path, content: bytes) -> None:
    """An operator writes what he likes into the file; it is compared byte by byte."""
    write_secret(tmp_path / "admin_token", content + b"\n")
    gate.admit(content.decode("latin-1"))
    assert 401 == gate.refusal(ADMIN_TOKEN).status
