"""Secrets in folders that others may write."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import requests

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.functional.answers import check_error
from tests.functional.endpoint_sources import MIRROR
from tests.support.projects import write_project
from tests.support.users import ANOTHER_USER, needs_root

RUN = 'umask 000; exec "$0" -m basic_inference_server run --host 127.0.0.1 --port 0'


def administer(gateway: RunningGateway, token: str) -> requests.Response:
    """Send an administration call with a token."""
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(gateway.url + "/notifications", headers=headers, timeout=60)


def command() -> list[str]:
    """Return a start without any umask."""
    return ["sh", "-c", RUN, sys.executable]


@needs_root
def test_secrets_in_a_folder_of_somebody_else_are_kept_below_it(tmp_path: Path) -> None:
    """As on a volume: it is said once, and what is put in their place is not believed."""
    write_project(tmp_path, {"mirror": {}}, {"mirror": MIRROR})
    cache = tmp_path / "_cache"
    cache.mkdir()
    cache.chmod(0o777)
    os.chown(cache, ANOTHER_USER, 0)
    with running_gateway(tmp_path, command=command()) as gateway:
        private = cache / "private"
        token = (private / "admin_token").read_text().strip()
        assert not (cache / "admin_token").exists()
        assert 200 == administer(gateway, token).status_code

        private.rename(cache / "gone")
        private.mkdir(mode=0o700)
        (private / "admin_token").write_text("bis_forged")
        (private / "admin_token").chmod(0o600)
        for path in (private, private / "admin_token"):
            os.chown(path, ANOTHER_USER, 0)
        for secret in ("bis_forged", token):
            error = check_error("unauthorized", administer(gateway, secret))
            assert "unreadable" == error["reason"]
    said = [event for event in gateway.events if event["event"] == "secrets_elsewhere"]
    assert [True] == [str(private) in event["message"] for event in said]
