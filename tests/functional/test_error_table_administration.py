"""The error table, rows 401 and 403: who may administer, and from where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.addresses import client_from
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import MIRROR
from tests.functional.gateways import shared_gateway
from tests.functional.raw_client import RawClient
from tests.support.users import another_user, needs_root

pytestmark = pytest.mark.shares_gateway

JSON_BODY = {"SIGNATURE": "mirror"}
CHANGES_BY_GET = [
    "/start_server", "/restart_server", "/kill_server", "/update_workers",
    "/support_update_status", "/reload", "/release_quarantine", "/shutdown",
]  # fmt: skip
ADMINISTRATION = [*CHANGES_BY_GET, "/notifications", "/quarantine"]
TOKENS = ["/create_token", "/list_tokens", "/revoke_token"]
READING = ["/list_servers", "/system_status", "/get_paths", "/v1/live", "/v1/ready"]
FORWARDED = {"X-Forwarded-For": "203.0.113.9"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """The default rules."""
    folder = tmp_path_factory.mktemp("administration")
    with shared_gateway(folder, {"mirror": {}}, {"mirror": MIRROR}) as running:
        yield running


@pytest.fixture(scope="module")
def closed_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """As behind a proxy on the same machine: loopback proves nothing, the status is closed."""
    with shared_gateway(
        tmp_path_factory.mktemp("closed"),
        {"mirror": {}},
        {"mirror": MIRROR},
        ADMIN_TRUST_LOOPBACK=False,
        STATUS_OPEN=False,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def open_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """As the seeds: anybody may do anything."""
    folder = tmp_path_factory.mktemp("open")
    with shared_gateway(folder, {"mirror": {}}, {"mirror": MIRROR}, ADMIN_OPEN=True) as running:
        yield running


def token_file(gateway: RunningGateway) -> Path:
    """Return where the administration token is."""
    return gateway.base_folder / "_cache" / "admin_token"


def with_token(gateway: RunningGateway, scheme: str = "Bearer") -> dict[str, str]:
    """Return the header of an administrator."""
    return {"Authorization": f"{scheme} {token_file(gateway).read_text().strip()}"}


def call(gateway: RunningGateway, path: str, headers: dict[str, str]) -> requests.Response:
    """Send an administration call with JSON, from an address with no wrong tokens so far."""
    with client_from() as client:
        return client.post(gateway.url + path, json=JSON_BODY, headers=headers, timeout=60)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"X-Forwarded-For": "203.0.113.9"}, id="X-Forwarded-For"),
        pytest.param({"X-Forwarded-For": "127.0.0.1"}, id="X-Forwarded-For that is local"),
        pytest.param({"X-Real-IP": "127.0.0.1"}, id="X-Real-IP"),
        pytest.param({"Forwarded": "for=127.0.0.1"}, id="Forwarded"),
        pytest.param({"Via": "1.1 proxy"}, id="Via"),
        pytest.param({"Origin": "http://evil.example"}, id="foreign origin"),
        pytest.param({"Origin": "null"}, id="opaque origin"),
        pytest.param({"Host": "evil.example"}, id="foreign host"),
        pytest.param({"Host": "127.0.0.1.evil.example"}, id="host that looks local"),
        pytest.param({"Referer": "http://evil.example/"}, id="page of another site"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="browser that says so"),
        pytest.param({"Content-Type": "text/plain"}, id="text"),
        pytest.param({"Content-Type": "multipart/form-data"}, id="multipart"),
        pytest.param({"Content-Type": ""}, id="no type"),
    ],
)
@pytest.mark.parametrize("path", CHANGES_BY_GET)
def test_change_from_where_a_browser_or_proxy_may_sit_is_forbidden(
    gateway: RunningGateway, path: str, headers: dict[str, str]
) -> None:
    """Without a token only a plain local call with JSON may change something."""
    check_error("forbidden", call(gateway, path, headers))
    assert gateway.process.poll() is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "app.localhost"])
def test_change_from_a_page_of_the_gateway_itself_is_allowed(
    gateway: RunningGateway, host: str
) -> None:
    """A local name for the host, and a page of the same origin, are no strangers."""
    host = f"{host}:{gateway.port}"
    for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
        assert 200 == call(gateway, "/start_server", headers).status_code


def test_what_curl_sends_is_allowed(gateway: RunningGateway) -> None:
    """`curl -d` says of JSON that it is a form; the first specification shuts down with it."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = call(gateway, "/start_server", headers)
    assert (200, "READY") == (answer.status_code, answer.json()["STATE"])


@needs_root
def test_program_of_another_user_needs_a_token(gateway: RunningGateway) -> None:
    """As a proxy that runs as a user of its own: it may send what it likes, and read nothing."""
    for path in ("/shutdown", "/start_server", "/notifications"):
        with another_user():
            client = RawClient(gateway.port)
        with client:
            client.send_json(path, {"SIGNATURE": "SAFE_KILL_SERVER_CMD"})
            error = check_error("forbidden", client.read_answer())
        assert "user that runs the gateway" in error["ERROR"]


@pytest.mark.parametrize("path", TOKENS)
def test_tokens_need_a_token_from_everyone(
    gateway: RunningGateway, open_gateway: RunningGateway, path: str
) -> None:
    """From this machine, and where everybody may do all the rest."""
    for running in (gateway, open_gateway):
        error = check_error("unauthorized", call(running, path, {}))
        assert ("missing", True) == (error["reason"], "scope admin" in error["ERROR"])
    with_admin_token = call(gateway, path, {**with_token(gateway), **FORWARDED})
    assert with_admin_token.status_code in {200, 422}


def test_every_administration_route_is_tested_here(gateway: RunningGateway) -> None:
    """A new route has to come into the lists above."""
    paths = set(gateway.get("/get_paths").json()["PATHS"])
    assert paths - {"/run", "/run/<signature>"} == {*ADMINISTRATION, *TOKENS, *READING}


@pytest.mark.parametrize("path", CHANGES_BY_GET)
def test_change_by_get_is_forbidden_without_a_token(gateway: RunningGateway, path: str) -> None:
    """A link or an image in a page of another site changes nothing."""
    check_error("forbidden", gateway.get(f"{path}?SIGNATURE=mirror"))
    check_error("forbidden", gateway.get(f"{path}?SIGNATURE=SAFE_KILL_SERVER_CMD"))


def test_change_by_form_is_forbidden_without_a_token(gateway: RunningGateway) -> None:
    """A form, which a page of another site can send without asking, changes nothing."""
    answer = requests.post(gateway.url + "/kill_server", data=JSON_BODY, timeout=60)
    check_error("forbidden", answer)
    assert 200 == gateway.run("mirror").status_code


def test_notifications_are_administration(gateway: RunningGateway) -> None:
    """What endpoints recorded is shown to local calls, but not to forwarded ones."""
    assert 200 == gateway.get("/notifications").status_code
    check_error("forbidden", call(gateway, "/notifications", FORWARDED))


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer wrong",
        "Bearer ",
        "Bearer",
        "BackendAI wrong",
        "Basic d3Jvbmc6d3Jvbmc=",
        "wrong",
        "Bearer b\xe9b\xe9",
        "Bearer " + "x" * 5000,
    ],
)
@pytest.mark.parametrize("path", [*ADMINISTRATION, *TOKENS])
def test_wrong_token_is_unauthorized_even_from_this_machine(
    gateway: RunningGateway, path: str, authorization: str
) -> None:
    """A token that is not valid is never ignored; the answer says which scheme is asked for."""
    answer = call(gateway, path, {"Authorization": authorization})
    check_error("unauthorized", answer)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BackendAI"])
def test_administration_token_is_accepted_from_anywhere(
    gateway: RunningGateway, scheme: str
) -> None:
    """With the token, neither forwarding nor method nor content type matters."""
    headers = {**with_token(gateway, scheme), **FORWARDED, "Origin": "http://evil.example"}
    assert 200 == call(gateway, "/notifications", headers).status_code
    assert 200 == call(gateway, "/start_server", headers).status_code
    by_get = requests.get(
        gateway.url + "/start_server?SIGNATURE=mirror", headers=headers, timeout=60
    )
    assert (200, "READY") == (by_get.status_code, by_get.json()["STATE"])
    by_form = requests.post(
        gateway.url + "/start_server", data=JSON_BODY, headers=headers, timeout=60
    )
    assert 200 == by_form.status_code


def test_administration_token_is_private_and_long(gateway: RunningGateway) -> None:
    """Only the owner can read the file, and nobody can guess the token."""
    assert 0o600 == token_file(gateway).stat().st_mode & 0o777
    assert 40 <= len(token_file(gateway).read_text().strip())


def test_right_scope_is_checked_before_the_body(gateway: RunningGateway) -> None:
    """Who may not administer learns nothing about bodies or names."""
    answer = requests.post(
        gateway.url + "/kill_server",
        data=b"{no JSON",
        headers={**FORWARDED, "Content-Type": "application/json"},
        timeout=60,
    )
    check_error("forbidden", answer)


@pytest.mark.parametrize("path", READING)
def test_status_is_open_to_anybody_by_default(gateway: RunningGateway, path: str) -> None:
    """Reading routes answer forwarded calls, too."""
    headers = {**FORWARDED, "Host": "models.example"}
    answer = requests.get(gateway.url + path, headers=headers, timeout=60)
    assert 200 == answer.status_code


@pytest.mark.parametrize("path", READING)
def test_status_shows_no_paths_or_secrets(gateway: RunningGateway, path: str) -> None:
    """Reading routes show neither the folder nor the token."""
    text = gateway.get(path).text
    assert str(gateway.base_folder) not in text
    assert token_file(gateway).read_text().strip() not in text


@pytest.mark.parametrize("path", ["/list_servers", "/system_status", "/get_paths"])
def test_status_closed_is_for_administrators_only(
    closed_gateway: RunningGateway, path: str
) -> None:
    """`STATUS_OPEN: false` closes the reading routes to all but administrators."""
    check_error("unauthorized", closed_gateway.get(path))
    check_error("unauthorized", call(closed_gateway, path, {"Authorization": "Bearer no"}))
    assert 200 == call(closed_gateway, path, with_token(closed_gateway)).status_code


def test_status_closed_is_closed_on_the_data_path_too(closed_gateway: RunningGateway) -> None:
    """The reserved signature is no way around."""
    check_error("unauthorized", closed_gateway.run("SYSTEM_STATUS"))


@pytest.mark.parametrize("path", [*ADMINISTRATION, *TOKENS])
def test_untrusted_loopback_needs_a_token(closed_gateway: RunningGateway, path: str) -> None:
    """`ADMIN_TRUST_LOOPBACK: false` asks everybody for the token."""
    for headers in ({}, FORWARDED):
        answer = call(closed_gateway, path, headers)
        assert "token" in check_error("unauthorized", answer)["ERROR"]
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert 200 == call(closed_gateway, "/notifications", with_token(closed_gateway)).status_code


@pytest.mark.parametrize("headers", [FORWARDED, {"Host": "x.example"}, {"Origin": "http://x"}])
def test_open_administration_lets_anybody_in(
    open_gateway: RunningGateway, headers: dict[str, str]
) -> None:
    """`ADMIN_OPEN: true` gives the seeds' behaviour: any call, by GET or form, may do all."""
    answer = call(open_gateway, "/restart_server", headers)
    assert (200, "READY") == (answer.status_code, answer.json()["STATE"])
    by_get = requests.get(
        open_gateway.url + "/start_server?SIGNATURE=mirror", headers=headers, timeout=60
    )
    assert 200 == by_get.status_code


def test_open_administration_is_warned_of(open_gateway: RunningGateway) -> None:
    """The log says at start-up that anybody may administer."""
    warned = [event for event in open_gateway.events if "ADMIN_OPEN" in event.get("message", "")]
    assert ["warning"] == [event["level"] for event in warned]


@pytest.mark.parametrize("path", ["/create_token", "/revoke_token"])
def test_token_that_cannot_be_written_is_told_so(gateway: RunningGateway, path: str) -> None:
    """What the disk does not take is no fault of the engine; nothing was changed."""

    def ask(path: str, **fields: object) -> requests.Response:
        return requests.post(
            gateway.url + path, json=fields, headers=with_token(gateway), timeout=60
        )

    token = ask("/create_token", NAME="first", SCOPES=["run:*"])
    (process,) = [one for one in psutil.Process(gateway.process.pid).children(recursive=True)
                  if not one.children() and "gateway" in " ".join(one.cmdline())]  # fmt: skip
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (0, before[1]))  # no file may grow
    try:
        refused = ask(path, NAME="second", SCOPES=["run:*"], ID=token.json()["ID"])
        error = check_error("storage_unavailable", refused)
        assert "cannot be written" in error["ERROR"]
        assert "nothing was changed" in error["ERROR"]
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)
    names = [one["NAME"] for one in ask("/list_tokens").json()["TOKENS"]]
    assert ("first", 0) == (names[-1], names.count("second"))
