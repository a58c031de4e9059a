"""Tokens over HTTP: what each one opens, how they are made and revoked, and who is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from basic_inference_server.core.tokens_file import TOKENS_FILE
from tests.functional.addresses import client_from
from tests.functional.answers import check_error
from tests.functional.gateways import processes_in
from tests.functional.guarded_gateway import (
    OPEN_TO_ANYBODY,
    Guarded,
    environment_of,
    guarded_gateway,
)
from tests.functional.raw_client import RawClient, head
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway

ROOT = Path(__file__).resolve().parents[2]
GUESS = "bis_" + "g" * 43


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One gateway for all tests here."""
    with guarded_gateway(tmp_path_factory.mktemp("tokens")) as running:
        yield running


# --- what a token opens


def test_closed_endpoint_is_open_to_tokens_that_may_run_it(guarded: Guarded) -> None:
    """One for it, for all endpoints, for administration, and the administration token."""
    tokens = [guarded.token(scope) for scope in ("run:vault", "run:*", "admin")]
    for token in [*tokens, guarded.admin_token]:
        assert 200 == guarded.run(token).status_code
    assert 200 == guarded.run(guarded.token("run:mirror", "run:vault")).status_code


def test_closed_endpoint_is_closed_to_all_others(guarded: Guarded) -> None:
    """Also from this machine, also on the endpoint's own port; an open one is not concerned."""
    port = guarded.gateway.server_ports["vault"]
    urls = [f"{guarded.gateway.url}/run/vault", f"http://127.0.0.1:{port}/run"]
    other = guarded.token("run:mirror")
    for url in urls:
        for send in (requests.get, requests.post):
            missing = send(url, timeout=60)
            assert "missing" == check_error("unauthorized", missing)["reason"]
            assert 'Bearer realm="basic_inference_server"' == missing.headers["WWW-Authenticate"]
            refused = send(url, headers={"Authorization": f"Bearer {other}"}, timeout=60)
            assert "run:vault" == check_error("forbidden", refused)["scope"]
    for token in (None, "wrong", other):
        assert 200 == guarded.run(token, "mirror").status_code


def test_other_scheme_is_read_the_same_way(guarded: Guarded) -> None:
    """The seeds' clients say `BackendAI`."""
    headers = {"Authorization": f"BackendAI {guarded.token('run:vault')}"}
    answer = requests.get(guarded.gateway.url + "/run/vault", headers=headers, timeout=60)
    assert 200 == answer.status_code


def test_closing_and_opening_take_effect_with_a_reload(guarded: Guarded) -> None:
    """In every gateway process, and without losing the endpoint."""
    path = guarded.gateway.base_folder / "config_gateway.txt"
    before = path.read_text()
    clients = [client_from() for _ in range(8)]

    def statuses() -> set[int]:
        return {guarded.run(None, "mirror", client).status_code for client in clients}

    configuration = json.loads(before)
    configuration["CONFIG_ENDPOINTS"]["mirror"]["OPEN_TO_PUBLIC"] = False
    for text, status in ((json.dumps(configuration), 401), (before, 200)):
        path.write_text(text)
        assert 200 == guarded.administer("/reload").status_code
        eventually(lambda status=status: {status} == statuses(), what=f"all answer {status}")  # type: ignore[misc]


# --- who is refused: every administration route, every kind of wrong token


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", f"Bearer {GUESS}", "Bearer é", "Basic YTpi", "Bearer a b"],
)
def test_wrong_token_opens_nothing(guarded: Guarded, authorization: str) -> None:
    """One and the same answer on every route, before the body is looked at."""
    for path in [*guarded.administration(), "/run/vault"]:
        answer = client_from().post(
            guarded.gateway.url + path,
            data=b"{no JSON",
            headers={
                "Authorization": authorization.encode(), "Content-Type": "application/json",
            },
            timeout=60,
        )  # fmt: skip
        body = check_error("unauthorized", answer)
        assert ("invalid", "The token is not valid; send Authorization: Bearer <token>.") == (
            body["reason"], body["ERROR"],
        ), path  # fmt: skip
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_missing_token_opens_nothing(guarded: Guarded) -> None:
    """Nor does one that is in the query or the body, where tokens do not belong."""
    for path in guarded.administration():
        for url, fields in (
            (path, {}), (f"{path}?token={guarded.admin_token}", {"TOKEN": guarded.admin_token}),
        ):  # fmt: skip
            answer = guarded.call(url, None, fields)
            assert "missing" == check_error("unauthorized", answer)["reason"], path


def test_expired_token_opens_nothing(guarded: Guarded) -> None:
    """Its owner is told why."""
    expired = guarded.expired_token()
    for path in [*guarded.administration(), "/run/vault"]:
        answer = guarded.call(path, expired, {})
        assert "expired" == check_error("unauthorized", answer)["reason"], path
        assert "The token has expired" in answer.headers["WWW-Authenticate"]


def test_token_for_endpoints_does_not_administer(guarded: Guarded) -> None:
    """Not on any route."""
    token = guarded.token("run:*", "run:vault")
    for path in guarded.administration():
        answer = guarded.call(path, token, {})
        assert "admin" == check_error("forbidden", answer)["scope"], path
        assert 'error="insufficient_scope", scope="admin"' in answer.headers["WWW-Authenticate"]


def test_administration_scope_administers(guarded: Guarded) -> None:
    """On every route, as the administration token does."""
    for token in (guarded.token("admin"), guarded.admin_token):
        for path in guarded.administration():
            status = guarded.call(path, token, {"SIGNATURE": "nope"}).status_code
            assert status not in {401, 403, 429, 500}, path


def test_two_headers_and_very_long_ones_are_refused(guarded: Guarded) -> None:
    """Which of two should count? And nobody needs a token of a megabyte."""
    right = ("Authorization", f"Bearer {guarded.admin_token}")
    with RawClient(guarded.gateway.port) as client:
        client.send(head("GET", "/list_tokens", right, ("Authorization", "Bearer other")))
        assert "bad_request" == client.read_answer().json()["code"]
    with RawClient(guarded.gateway.port) as client:
        client.send(head("GET", "/list_tokens", ("Authorization", "Bearer " + "x" * 1_000_000)))
        assert 431 == client.read_answer().status_code
    with RawClient(guarded.gateway.port) as client:
        client.send(head("GET", "/list_tokens", ("Authorization", "Bearer " + "x" * 60_000)))
        assert 401 == client.read_answer().status_code


def test_no_page_of_another_site_reads_administration(guarded: Guarded) -> None:
    """No answer, with a token or without, allows another origin; a preflight gets none."""
    origin = {"Origin": "http://evil.example"}
    for path in guarded.administration():
        for headers in (origin, {**origin, "Authorization": f"Bearer {guarded.admin_token}"}):
            url = guarded.gateway.url + path
            answers = [
                requests.options(url, headers=headers, timeout=60),
                requests.post(url, json={"SIGNATURE": "nope"}, headers=headers, timeout=60),
            ]
            assert [405] == [answer.status_code for answer in answers[:1]]
            for answer in answers:
                assert not [name for name in answer.headers if "access-control" in name.lower()]


# --- creating, listing, revoking


def test_token_made_by_command_line_is_valid_at_once(guarded: Guarded) -> None:
    """In every gateway process; and void at once when it is revoked, on open connections too."""
    folder = str(guarded.gateway.base_folder)

    def tokens(*arguments: str) -> str:
        command = [sys.executable, "-m", "basic_inference_server", "tokens", *arguments]
        done = subprocess.run(
            [*command, "-b", folder], cwd=ROOT, capture_output=True, text=True, timeout=60,
            check=True,
        )  # fmt: skip
        return done.stdout.removesuffix("\n")

    token = tokens("create", "--name", "by hand", "--scope", "run:vault", "--expires", "1h")
    clients = [client_from() for _ in range(8)]
    assert {200} == {guarded.run(token, client=client).status_code for client in clients}
    assert token not in tokens("list")
    (identity,) = [one.id for one in guarded.store.tokens() if one.name == "by hand"]
    tokens("revoke", identity)
    assert {401} == {guarded.run(token, client=client).status_code for client in clients}


def test_token_made_by_route_is_valid_at_once(guarded: Guarded) -> None:
    """It is shown in this one answer, which nobody on the way keeps."""
    made = guarded.administer("/create_token", NAME="shop", SCOPES=["run:vault", "run:resting"])
    assert (200, "no-store") == (made.status_code, made.headers["Cache-Control"])
    token, identity = made.json()["TOKEN"], made.json()["ID"]
    clients = [client_from() for _ in range(8)]
    assert {200} == {guarded.run(token, client=client).status_code for client in clients}

    listed = guarded.administer("/list_tokens")
    (shown,) = [one for one in listed.json()["TOKENS"] if one["ID"] == identity]
    assert {"ID", "NAME", "SCOPES", "CREATED", "EXPIRES", "EXPIRED"} == shown.keys()
    assert ("shop", ["run:vault", "run:resting"], False) == (
        shown["NAME"], shown["SCOPES"], shown["EXPIRED"],
    )  # fmt: skip
    digest = next(one.digest.hex() for one in guarded.store.tokens() if one.id == identity)
    assert not [one for one in (token, digest) if one in listed.text]

    revoked = guarded.administer("/revoke_token", ID=identity)
    assert (200, identity) == (revoked.status_code, revoked.json()["REVOKED"]["ID"])
    assert {401} == {guarded.run(token, client=client).status_code for client in clients}
    check_error("not_found", guarded.administer("/revoke_token", ID=identity))
    said = guarded.events("token_created")[-1], guarded.events("token_revoked")[-1]
    assert [identity, identity] == [event["id"] for event in said]


@pytest.mark.parametrize(
    ("fields", "expires"),
    [
        ({"EXPIRES_IN_S": 3600}, 3600),
        ({}, 90 * 86400),
        ({"EXPIRES": None}, None),
        ({"EXPIRES": "never"}, None),
        ({"EXPIRES": "2030-01-31T00:00:00+01:00"}, "2030-01-30T23:00:00Z"),
    ],
    ids=str,
)
def test_token_is_valid_as_long_as_is_asked_for(
    guarded: Guarded, fields: dict[str, Any], expires: int | str | None
) -> None:
    """A time from now, an instant, for ever; or ninety days."""
    made = guarded.administer("/create_token", NAME="n", SCOPES=["admin"], **fields).json()
    (token,) = [one for one in guarded.store.tokens() if one.id == made["ID"]]
    if isinstance(expires, int):
        assert token.expires_s is not None
        assert expires == token.expires_s - token.created_s
    else:
        assert expires == made["EXPIRES"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"NAME": ""}, "NAME"), ({"NAME": 5}, "NAME"), ({"NAME": "a\nb"}, "NAME"),
        ({"SCOPES": "admin"}, "SCOPES"), ({"SCOPES": []}, "SCOPES"), ({"SCOPES": None}, "SCOPES"),
        ({"SCOPES": ["root"]}, "scope"), ({"SCOPES": ["run:../../etc"]}, "scope"),
        ({"SCOPES": ["run:nope"]}, "no endpoint 'nope'"),
        ({"EXPIRES_IN_S": 0}, "EXPIRES_IN_S"), ({"EXPIRES_IN_S": "soon"}, "EXPIRES_IN_S"),
        ({"EXPIRES_IN_S": True}, "EXPIRES_IN_S"), ({"EXPIRES_IN_S": 1e300}, "EXPIRES_IN_S"),
        ({"EXPIRES": "tomorrow"}, "EXPIRES"), ({"EXPIRES": 5}, "EXPIRES"),
        ({"EXPIRES": "2001-01-01T00:00:00Z"}, "expiry"),
        ({"EXPIRES": "9999-12-31T23:59:59Z"}, "expiry"),
        ({"EXPIRES": None, "EXPIRES_IN_S": 5}, "not both"),
    ],
    ids=str,
)  # fmt: skip
def test_token_that_would_not_work_is_not_made(
    guarded: Guarded, change: dict[str, Any], named: str
) -> None:
    """The answer names the field."""
    before = guarded.store.tokens()
    fields = {"NAME": "n", "SCOPES": ["run:vault"], **change}
    assert named in check_error("bad_input", guarded.administer("/create_token", **fields))["ERROR"]
    assert before == guarded.store.tokens()


@pytest.mark.parametrize("identity", [None, 5, ["a"]])
def test_what_is_no_id_is_refused(guarded: Guarded, identity: Any) -> None:
    """An id is a text."""
    check_error("bad_input", guarded.administer("/revoke_token", ID=identity))


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc/passwd", "$(touch elsewhere)", "a;b"])
def test_nothing_that_is_sent_becomes_a_path_or_a_command(guarded: Guarded, name: str) -> None:
    """Names and ids are only kept and compared."""
    folder = guarded.gateway.base_folder

    def files() -> set[Path]:
        return {path for path in folder.parent.rglob("*") if "__pycache__" not in path.parts}

    guarded.token("admin")
    before = files()
    made = guarded.administer("/create_token", NAME=name, SCOPES=["admin"])
    assert (200, name) == (made.status_code, made.json()["NAME"])
    check_error("not_found", guarded.administer("/revoke_token", ID=name))
    check_error("bad_input", guarded.administer("/create_token", NAME="n", SCOPES=[f"run:{name}"]))
    assert before == files()


# --- when something is wrong


def test_file_that_others_can_read_lets_only_the_administration_token_pass(
    guarded: Guarded,
) -> None:
    """Callers are told whose fault it is, the administrator and the log what to do."""
    token = guarded.token("run:vault")
    guarded.store.path.chmod(0o644)
    try:
        answer = guarded.run(token)
        assert "unreadable" == check_error("unauthorized", answer)["reason"]
        assert str(guarded.store.path) not in answer.text
        assert 200 == guarded.run(guarded.admin_token).status_code
        listed = guarded.administer("/list_tokens")
        check_error("storage_unavailable", listed)
        assert "chmod 600" in listed.json()["ERROR"]
        eventually(
            lambda: [one for one in guarded.events("tokens_unreadable")
                     if "chmod 600" in one["error"]], what="the log says so",
        )  # fmt: skip
    finally:
        guarded.store.path.chmod(0o600)
    assert 200 == guarded.run(token).status_code


def test_wrong_tokens_are_limited_and_valid_ones_are_not(guarded: Guarded) -> None:
    """Ten a minute for an address, over both kinds of routes; other addresses do not notice."""
    token = guarded.token("run:vault")
    with client_from("127.99.0.1") as client:
        answers = [guarded.run(GUESS, client=client) for _ in range(5)]
        answers += [guarded.call("/list_tokens", GUESS, {}, client) for _ in range(5)]
        assert [401] * 10 == [answer.status_code for answer in answers]
        for refused in (guarded.run(GUESS, client=client), guarded.run("a b", client=client),
                        guarded.call("/shutdown", GUESS, {}, client)):  # fmt: skip
            body = check_error("too_many_attempts", refused)
            assert 50 <= body["retry_after_s"] <= 60
        assert 200 == guarded.run(token, client=client).status_code
        assert 200 == guarded.call("/list_tokens", guarded.admin_token, {}, client).status_code
        for path in ("/list_servers", "/run/mirror", "/v1/ready"):
            headers = {"Authorization": f"Bearer {GUESS}"}
            answer = client.get(guarded.gateway.url + path, headers=headers, timeout=60)
            assert 200 == answer.status_code, path
        assert 401 == guarded.run(None, client=client).status_code
    assert 401 == guarded.run(GUESS).status_code
    eventually(lambda: guarded.events("attempts_refused"), what="the log says so")
    said = [
        event for event in guarded.events("attempts_refused") if event["client"] == "127.99.0.1"
    ]
    assert 1 == len(said)


def test_no_token_is_left_anywhere(guarded: Guarded) -> None:
    """Tokens sent in every place; a worker crashes; then everything is searched."""
    made = guarded.administer("/create_token", NAME="n", SCOPES=["run:naughty", "run:vault"])
    tokens = [made.json()["TOKEN"], guarded.token("admin"), guarded.admin_token]
    url = guarded.gateway.url
    for token in [*tokens, GUESS]:
        headers = {
            "Authorization": f"Bearer {token}", "X-Request-Id": token, "Cookie": f"t={token}",
            "User-Agent": token, "X-Api-Key": token, "X-Request-Timeout": token,
        }  # fmt: skip
        client = client_from()
        paths = {
            "/run/vault", "/run/naughty", f"/run/{token}", f"/{token}", "/list_tokens",
            "/revoke_token", "/start_server", "/notifications", *OPEN_TO_ANYBODY,
        }  # fmt: skip
        for path in paths:
            fields = {"SIGNATURE": token, "ID": token, "REASON": "test", token: token}
            client.post(f"{url}{path}?t={token}", json=fields, headers=headers, timeout=60)
        client.post(f"{url}/run", data=b"{" + token.encode(), headers=headers, timeout=60)
    headers = {"Authorization": f"Bearer {tokens[0]}", "X-Request-Id": tokens[0]}
    for deed, status in (("raise", 500), ("segv", 502)):
        fields = {"SIGNATURE": "naughty", "DO": deed, "TOKEN": tokens[0]}
        answer = requests.post(f"{url}/run", json=fields, headers=headers, timeout=60)
        assert status == answer.status_code
    eventually(lambda: guarded.events("worker_died"), what="the death is logged")

    shown = {path: guarded.administer(path).text for path in
             ("/list_servers", "/system_status", "/notifications", "/list_tokens")}  # fmt: skip
    processes = processes_in(guarded.gateway.base_folder)
    assert len(processes) > 7
    for line in processes:
        shown[f"arguments of {line}"] = line
        shown[f"environment of {line}"] = environment_of(int(line.split()[0]))
    assert any("BIS_ADMIN_TOKEN_FILE" in text for text in shown.values())
    shown["log"] = guarded.gateway.output
    for file in (guarded.gateway.base_folder / "_cache").rglob("*"):
        if file.is_file() and file.name != "admin_token":
            shown[str(file)] = file.read_bytes().decode("latin-1")
    secrets = [*tokens, GUESS]
    digests = [one.digest.hex() for one in guarded.store.tokens()]
    places = {where: text for where, text in shown.items() if not where.endswith(TOKENS_FILE)}
    assert [] == [where for where, text in shown.items() if any(one in text for one in secrets)]
    assert [] == [where for where, text in places.items() if any(one in text for one in digests)]
