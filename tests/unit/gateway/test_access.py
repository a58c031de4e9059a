"""Unit tests of who may administer: tokens, and the machine itself under conditions."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest

from basic_inference_server.core.errors import (
    Forbidden,
    ServiceError,
    TooManyAttempts,
    Unauthorized,
)
from basic_inference_server.core.logs import EventLog
from basic_inference_server.core.support_key import password_of
from basic_inference_server.core.tokens_file import TOKENS_FILE, TokenStore
from basic_inference_server.gateway.attempts import ALLOWED
from basic_inference_server.gateway.control_plane.access import AccessRules
from basic_inference_server.gateway.token_gate import TokenGate
from tests.support.exchanges import FakePeer
from tests.support.secret_files import write_secret

TOKEN = "bis_right"
# What a command line on this machine sends.
LOCAL = {
    "REMOTE_ADDR": "127.0.0.1",
    "HTTP_HOST": "127.0.0.1:5002",
    "REQUEST_METHOD": "POST",
    "CONTENT_TYPE": "application/json",
    "bis.peer": FakePeer(),
}
FORM = "application/x-www-form-urlencoded"
REMOTE = {**LOCAL, "REMOTE_ADDR": "192.0.2.7", "HTTP_HOST": "gateway.example:5002"}


@pytest.fixture
def token_path(tmp_path: Path) -> Path:
    path = tmp_path / "admin_token"
    write_secret(path, f"{TOKEN}\n")
    return path


def rules(
    token_path: Path,
    *,
    admin_open: bool = False,
    trust_loopback: bool = True,
    status_open: bool = True,
) -> AccessRules:
    return AccessRules(
        TokenGate(token_path, EventLog(lambda event: None)),
        admin_open=admin_open,
        trust_loopback=trust_loopback,
        status_open=status_open,
    )


def refusal(access: AccessRules, environ: dict[str, Any], *, changes: bool = True) -> ServiceError:
    with pytest.raises((Unauthorized, Forbidden)) as caught:
        access.require_administrator(environ, changes=changes)
    return caught.value


def may_change(access: AccessRules, environ: dict[str, Any]) -> bool:
    """Say whether a call that changes something is let in."""
    try:
        access.require_administrator(environ, changes=True)
    except ServiceError:
        return False
    return True


def may_read(access: AccessRules, environ: dict[str, Any]) -> bool:
    """Say whether the status is shown."""
    try:
        access.require_reader(environ)
    except ServiceError:
        return False
    return True


@pytest.mark.parametrize("environ", [LOCAL, REMOTE], ids=["local", "remote"])
@pytest.mark.parametrize("scheme", ["Bearer", "BackendAI", "bearer"])
def test_right_token_opens_from_anywhere(
    token_path: Path, environ: dict[str, Any], scheme: str
) -> None:
    """Whoever has the token administers, through a proxy and from a browser too."""
    hindered = {
        **environ, "HTTP_X_FORWARDED_FOR": "192.0.2.7", "HTTP_ORIGIN": "https://evil.example",
        "CONTENT_TYPE": "text/plain", "HTTP_AUTHORIZATION": f"{scheme} {TOKEN}",
    }  # fmt: skip
    assert may_change(rules(token_path), hindered)
    assert not may_change(rules(token_path), {**hindered, "HTTP_AUTHORIZATION": f"{scheme} wrong"})


@pytest.mark.parametrize("environ", [LOCAL, REMOTE], ids=["local", "remote"])
@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}", TOKEN, "Bearer \xe9", "Bearer \xff" * 1000, "Bearer \udcff",
        f"Bearer {TOKEN} {TOKEN}", f"Bearer {TOKEN.upper()}",
    ],
)  # fmt: skip
def test_wrong_token_is_refused_even_from_this_machine(
    token_path: Path, environ: dict[str, Any], header: str
) -> None:
    """All wrong tokens get one and the same answer, whatever bytes they are made of."""
    error = refusal(rules(token_path), {**environ, "HTTP_AUTHORIZATION": header})
    assert (401, "The token is not valid; send Authorization: Bearer <token>.") == (
        error.status, error.message,
    )  # fmt: skip


@pytest.mark.parametrize("content", [None, "", "\n", "  \n"])
def test_no_token_is_right_when_there_is_none(tmp_path: Path, content: str | None) -> None:
    """A missing or empty file opens nothing, not even to an empty token."""
    path = tmp_path / "admin_token"
    if content is not None:
        write_secret(path, content)
    for header in ("Bearer", "Bearer x"):
        error = refusal(rules(path), {**LOCAL, "HTTP_AUTHORIZATION": header})
        assert 401 == error.status


def test_changed_token_counts_at_once(token_path: Path) -> None:
    """A token that was given away is replaced without a restart."""
    access = rules(token_path)
    assert may_change(access, {**REMOTE, "HTTP_AUTHORIZATION": f"Bearer {TOKEN}"})
    token_path.write_text("bis_new")
    assert 401 == refusal(access, {**REMOTE, "HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}).status


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("127.0.0.1", "127.0.0.1:5002"),
        ("127.0.0.1", "localhost:5002"),
        ("::1", "[::1]:5002"),
        ("::ffff:127.0.0.1", "localhost"),
    ],
)
def test_call_from_this_machine_needs_no_token(token_path: Path, address: str, host: str) -> None:
    """A command line beside the gateway just works."""
    environ = {**LOCAL, "REMOTE_ADDR": address, "HTTP_HOST": host}
    assert may_change(rules(token_path), environ)
    assert not may_change(rules(token_path, trust_loopback=False), environ)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param({"REMOTE_ADDR": "192.0.2.7"}, "Administration from here needs a token",
                     id="another machine"),
        pytest.param({"REMOTE_ADDR": ""}, "Administration from here needs a token",
                     id="unknown address"),
        pytest.param({"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, "The call was forwarded "
                     "(X-Forwarded-For)", id="behind a proxy"),
        pytest.param({"HTTP_FORWARDED": "for=127.0.0.1"}, "The call was forwarded (Forwarded)",
                     id="standard header"),
        pytest.param({"HTTP_X_REAL_IP": ""}, "The call was forwarded (X-Real-Ip)",
                     id="empty header"),
        pytest.param({"HTTP_X_FORWARDED_HOST": "a"}, "The call was forwarded", id="host"),
        pytest.param({"HTTP_X_FORWARDED_PROTO": "https"}, "The call was forwarded", id="proto"),
        pytest.param({"HTTP_X_FORWARDED_SERVER": "a"}, "The call was forwarded", id="any of them"),
        pytest.param({"HTTP_CLIENT_IP": "127.0.0.1"}, "The call was forwarded", id="client ip"),
        pytest.param({"HTTP_VIA": "1.1 proxy"}, "The call was forwarded (Via)", id="via"),
        pytest.param({"HTTP_HOST": "evil.example:5002"}, "Host does not name this machine",
                     id="rebound name"),
        pytest.param({"HTTP_HOST": ""}, "Host does not name this machine", id="no host"),
        pytest.param({"HTTP_ORIGIN": "https://evil.example"}, "Origin is another site",
                     id="another site"),
        pytest.param({"HTTP_ORIGIN": "null"}, "Origin is another site", id="opaque origin"),
        pytest.param({"HTTP_ORIGIN": "http://127.0.0.1:8080"}, "Origin is another site",
                     id="another port"),
        pytest.param({"HTTP_REFERER": "http://evil.example/page"}, "Referer is another site",
                     id="a page of another site"),
        pytest.param({"HTTP_REFERER": "null"}, "Referer is another site", id="no such page"),
        pytest.param({"HTTP_REFERER": "http://[::1"}, "Referer is another site", id="no URL"),
        pytest.param({"HTTP_SEC_FETCH_SITE": "cross-site"}, "Sec-Fetch-Site is another site",
                     id="a browser says so"),
        pytest.param({"HTTP_SEC_FETCH_SITE": "same-site"}, "Sec-Fetch-Site is another site",
                     id="another port of this machine"),
        pytest.param({"bis.peer": FakePeer(belongs_to_us=False)},
                     "The call is not known to come from a program of the user",
                     id="another user's program"),
        pytest.param({"CONTENT_TYPE": "text/plain"}, "Without a token this has to be a POST",
                     id="what a page may send"),
        pytest.param({"CONTENT_TYPE": FORM, "wsgi.input": io.BytesIO(b"SIGNATURE=demo")},
                     "Without a token this has to be a POST", id="form"),
        pytest.param({"CONTENT_TYPE": FORM, "wsgi.input": io.BytesIO()},
                     "Without a token this has to be a POST", id="empty form"),
        pytest.param({"CONTENT_TYPE": "text/plain", "wsgi.input": io.BytesIO(b"{}")},
                     "Without a token this has to be a POST", id="JSON as text"),
        pytest.param({"CONTENT_TYPE": ""}, "Without a token this has to be a POST", id="no type"),
        pytest.param({"REQUEST_METHOD": "GET"}, "Without a token this has to be a POST", id="GET"),
    ],
)  # fmt: skip
def test_call_that_a_browser_or_a_proxy_could_make_needs_a_token(
    token_path: Path, changed: dict[str, Any], reason: str
) -> None:
    """An address alone proves nothing."""
    error = refusal(rules(token_path), {**LOCAL, **changed})
    status = 401 if reason.startswith("Administration from here") else 403
    assert (status, reason) == (error.status, error.message[: len(reason)])


def test_page_of_the_gateway_itself_may_administer(token_path: Path) -> None:
    """The dashboard's own origin is no foreign one."""
    environ = {**LOCAL, "HTTP_HOST": "localhost:5002", "HTTP_ORIGIN": "http://localhost:5002"}
    assert may_change(rules(token_path), environ)
    assert not may_change(rules(token_path), {**environ, "HTTP_HOST": "localhost:5003"})


def test_json_with_parameters_is_json(token_path: Path) -> None:
    """A charset changes nothing."""
    environ = {**LOCAL, "CONTENT_TYPE": "Application/JSON; charset=utf-8"}
    assert may_change(rules(token_path), environ)
    assert not may_change(rules(token_path), {**environ, "CONTENT_TYPE": "text/json"})


def test_json_that_says_form_is_json(token_path: Path) -> None:
    """`curl -d` says so of everything; what it sends is still read from the start."""
    body = io.BytesIO(b'{"SIGNATURE": "demo"}')
    environ = {**LOCAL, "CONTENT_TYPE": FORM, "wsgi.input": body}
    assert may_change(rules(token_path), environ)
    assert b"{" == body.read(1)


@pytest.mark.parametrize(
    "page",
    [{"HTTP_REFERER": "http://LOCALHOST:5002/page"}, {"HTTP_SEC_FETCH_SITE": "same-origin"},
     {"HTTP_SEC_FETCH_SITE": "none"}],
)  # fmt: skip
def test_own_page_and_address_bar_are_no_strangers(token_path: Path, page: dict[str, str]) -> None:
    """What a browser says of the gateway's own pages, and of what its user types."""
    assert may_change(rules(token_path), {**LOCAL, "HTTP_HOST": "localhost:5002", **page})


@pytest.mark.parametrize("environ", [LOCAL, REMOTE], ids=["local", "remote"])
@pytest.mark.parametrize("admin_open", [False, True])
def test_tokens_need_a_token(token_path: Path, environ: dict[str, Any], admin_open: bool) -> None:
    """From this machine and under `ADMIN_OPEN` too: what is made would outlive both."""
    access = rules(token_path, admin_open=admin_open)
    _, runs = TokenStore(token_path.with_name(TOKENS_FILE)).create("runs", ("run:*",))
    for presented, error in (
        ({}, Unauthorized),
        ({"HTTP_AUTHORIZATION": "Bearer wrong"}, Unauthorized),
        ({"HTTP_AUTHORIZATION": f"Bearer {runs}"}, Forbidden),
    ):
        with pytest.raises(error):
            access.require_token({**environ, **presented})
    access.require_token({**environ, "HTTP_AUTHORIZATION": f"Bearer {TOKEN}"})


def test_support_process_is_known_by_its_password(token_path: Path) -> None:
    """It is let in for nothing else, and loses nothing by sending it along."""
    access = AccessRules(
        TokenGate(token_path, EventLog(lambda event: None)),
        admin_open=False, trust_loopback=True, status_open=True, support_key="key",
    )  # fmt: skip
    right = {"HTTP_AUTHORIZATION": basic("watch", password_of("key", "watch"))}
    assert "watch" == access.reporter({**REMOTE, **right})
    assert 401 == refusal(access, {**REMOTE, **right}).status
    assert may_change(access, {**LOCAL, **right})
    for wrong in (
        basic("other", password_of("key", "watch")), basic("watch", password_of("old", "watch")),
        "Basic", "Basic \xff", "Basic d2F0Y2g=", "Bearer watch", basic("watch", "\u20ac"),
    ):  # fmt: skip
        environ = {**LOCAL, "HTTP_AUTHORIZATION": wrong}
        assert access.reporter(environ) is None
        assert 401 == refusal(access, environ).status
    assert rules(token_path).reporter({**LOCAL, **right}) is None


def basic(login: str, password: str) -> str:
    """Return an `Authorization` header."""
    return "Basic " + base64.b64encode(f"{login}:{password}".encode()).decode()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_call_that_changes_nothing_needs_no_json(token_path: Path, method: str) -> None:
    """Reading what is administration works with a browser's address line."""
    environ = {**LOCAL, "REQUEST_METHOD": method, "CONTENT_TYPE": ""}
    assert rules(token_path).may_administer(environ)
    environ["HTTP_ORIGIN"] = "https://evil.example"
    assert 403 == refusal(rules(token_path), environ, changes=False).status


@pytest.mark.parametrize("environ", [LOCAL, REMOTE], ids=["local", "remote"])
def test_token_for_endpoints_does_not_administer(token_path: Path, environ: dict[str, Any]) -> None:
    """Not even from this machine, where none would have done: a token is never ignored."""
    store = TokenStore(token_path.with_name(TOKENS_FILE))
    _, runs = store.create("runs", ("run:*",))
    _, administers = store.create("administers", ("admin",))
    access = rules(token_path)
    error = refusal(access, {**environ, "HTTP_AUTHORIZATION": f"Bearer {runs}"})
    assert (403, "This token may not administer.") == (error.status, error.message)
    assert may_change(access, {**environ, "HTTP_AUTHORIZATION": f"Bearer {administers}"})


def test_wrong_token_takes_nothing_away_where_none_is_needed(token_path: Path) -> None:
    """However often it is wrong: what everybody may read, its sender may read too."""
    access = rules(token_path)
    wrong = {**REMOTE, "HTTP_AUTHORIZATION": "Bearer wrong"}
    assert [False] * (ALLOWED + 5) == [access.may_administer(wrong) for _ in range(ALLOWED + 5)]
    with pytest.raises(TooManyAttempts):
        access.require_administrator(wrong, changes=False)
    assert access.may_administer({**REMOTE, "HTTP_AUTHORIZATION": f"Bearer {TOKEN}"})
    assert access.may_administer(LOCAL)
    assert not access.may_administer(REMOTE)
    _, runs = TokenStore(token_path.with_name(TOKENS_FILE)).create("runs", ("run:*",))
    assert not access.may_administer({**LOCAL, "HTTP_AUTHORIZATION": f"Bearer {runs}"})


def test_untrusted_loopback_needs_a_token(token_path: Path) -> None:
    """Behind a proxy on the same machine everybody comes from here."""
    access = rules(token_path, trust_loopback=False)
    assert 401 == refusal(access, LOCAL).status
    assert may_change(access, {**LOCAL, "HTTP_AUTHORIZATION": f"Bearer {TOKEN}"})


def test_open_administration_lets_anybody_in(token_path: Path) -> None:
    """The seeds' behaviour, for who asks for it."""
    environ = {
        **REMOTE, "HTTP_ORIGIN": "https://evil.example", "HTTP_AUTHORIZATION": "Bearer wrong",
    }  # fmt: skip
    assert may_change(rules(token_path, admin_open=True), environ)
    assert not may_change(rules(token_path), environ)


def test_anybody_reads_the_status_unless_it_is_closed(token_path: Path) -> None:
    """A closed status is for administrators, from this machine without a token."""
    environ = {**REMOTE, "REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": "Bearer wrong"}
    assert may_read(rules(token_path), environ)
    closed = rules(token_path, status_open=False)
    with pytest.raises(Unauthorized):
        closed.require_reader(environ)
    with pytest.raises(Unauthorized):
        closed.require_reader({**REMOTE, "REQUEST_METHOD": "GET"})
    assert may_read(closed, {**LOCAL, "REQUEST_METHOD": "GET", "CONTENT_TYPE": ""})
