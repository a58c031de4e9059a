"""A gateway with closed endpoints, its tokens, and where they might leak."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from basic_inference_server.core.clock import wall_s
from basic_inference_server.core.tokens_file import TOKENS_FILE, TokenStore
from basic_inference_server.testing import RunningGateway
from tests.functional.addresses import client_from
from tests.functional.endpoint_sources import FAULTY, MIRROR
from tests.functional.gateways import shared_gateway
from tests.support.eventually import eventually

OPEN_TO_ANYBODY = {
    "/run", "/run/<signature>", "/v1/live", "/v1/ready", "/list_servers", "/system_status",
    "/get_paths",
}  # fmt: skip


class Guarded:
    """The gateway of these tests, and its tokens."""

    def __init__(self, gateway: RunningGateway) -> None:
        self.gateway = gateway
        self.store = TokenStore(gateway.base_folder / "_cache" / TOKENS_FILE)
        self.admin_token = (gateway.base_folder / "_cache" / "admin_token").read_text().strip()

    def token(self, *scopes: str) -> str:
        """Return a new token."""
        return self.store.create("test", scopes, lifetime_s=600)[1]

    def expired_token(self) -> str:
        """Return a token whose time was over a minute ago; it is forgotten at the next one."""
        past = TokenStore(self.store.path, lambda: wall_s() - 120)
        return past.create("old", ("admin",), lifetime_s=60)[1]

    def run(
        self, token: str | None, signature: str = "vault", client: requests.Session | None = None
    ) -> requests.Response:
        """Run an endpoint with a token, or without one."""
        return self.call("/run", token, {"SIGNATURE": signature}, client)

    def call(
        self, path: str, token: str | None, fields: dict[str, Any],
        client: requests.Session | None = None,
    ) -> requests.Response:  # fmt: skip
        """POST with a token, or without one; wrong ones come from an address of their own."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        client = client or client_from()
        return client.post(self.gateway.url + path, json=fields, headers=headers, timeout=60)

    def administer(self, path: str, **fields: Any) -> requests.Response:
        """Send an administration call with the administration token."""
        return self.call(path, self.admin_token, fields)

    def administration(self) -> list[str]:
        """Return every route that is not for everybody: a new one is among them by itself."""
        paths = set(self.gateway.get("/get_paths").json()["PATHS"])
        assert paths > OPEN_TO_ANYBODY
        return sorted(paths - OPEN_TO_ANYBODY)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of that name."""
        return [event for event in self.gateway.events if event["event"] == name]


@contextmanager
def guarded_gateway(folder: Path) -> Iterator[Guarded]:
    """Run two gateway processes that trust no address; `vault` and `naughty` are closed.

    They start with a file of tokens that is damaged, which is repaired then.
    """
    endpoints: dict[str, dict[str, Any]] = {
        "mirror": {},
        "vault": {"SERVER_CLASS": "mirror", "OPEN_TO_PUBLIC": False},
        "naughty": {"SERVER_CLASS": "faulty", "OPEN_TO_PUBLIC": False},
        "resting": {"SERVER_CLASS": "mirror", "DISABLED": True},
        "watcher": {"HOST": "NO_HOST"},
    }
    (folder / "_cache").mkdir()
    (folder / "_cache" / TOKENS_FILE).touch(0o600)
    with shared_gateway(
        folder,
        endpoints,
        {"mirror": MIRROR, "faulty": FAULTY, "watcher": "import signal\n\nsignal.pause()\n"},
        ADMIN_TRUST_LOOPBACK=False,
        GATEWAY_WORKERS=2,
    ) as running:
        made = Guarded(running)
        eventually(lambda: 2 == len(made.events("tokens_unreadable")), what="both have looked")
        said = [event["error"] for event in made.events("tokens_unreadable")]
        assert all("put a good copy back" in problem for problem in said)
        made.store.path.unlink()
        yield made


def environment_of(pid: int) -> str:
    """Return the environment that a process was started with; nothing when it has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_text()
    except OSError:
        return ""
