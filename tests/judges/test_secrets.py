"""detect-secrets over the repository, and over the log of a run in which tokens were used."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.endpoint_sources import FAULTY
from tests.functional.gateways import shared_gateway

pytestmark = pytest.mark.shares_gateway

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 50.0

# Found in the repository: the reason, and the files.
ACCEPTED = {
    "made-up passwords, to see them masked": {"tests/functional/test_configuration_effect.py"},
    "hashes of archives": {"tests/judges/archives.py"},
    "the digest of abc": {"tests/unit/core/test_fingerprints.py"},
    "a field of that name": {"tests/unit/worker/test_schemas.py"},
}


def secrets_in(*paths: str, cwd: Path, everything: bool = False) -> dict[str, list[str]]:
    """Return the kinds of secrets found in each file; only tracked files if not said otherwise."""
    command = [sys.executable, "-m", "detect_secrets", "scan"]
    command += ["--all-files"] if everything else []
    ended = subprocess.run(
        [*command, *paths], cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    results = json.loads(ended.stdout)["results"]
    return {name: [found["type"] for found in kinds] for name, kinds in results.items()}


def test_repository_has_no_secret() -> None:
    """What looks like a secret in a tracked file is known and has its reason."""
    accepted: set[str] = set().union(*ACCEPTED.values())
    found = secrets_in(cwd=ROOT)
    assert accepted == found.keys(), found


def use_tokens(gateway: RunningGateway, token: str) -> None:
    """Send the token in every place where a client might put it, rightly or wrongly."""
    sends: list[Callable[[], requests.Response]] = [
        lambda: requests.get(f"{gateway.url}/notifications", headers=bearer(token), timeout=60),
        lambda: requests.get(f"{gateway.url}/notifications", headers=bearer(token * 2), timeout=60),
        lambda: requests.get(f"{gateway.url}/run/{token}", headers=bearer(token), timeout=60),
        lambda: requests.get(f"{gateway.url}/{token}?token={token}", timeout=60),
        lambda: requests.get(f"{gateway.url}/run", headers={"X-Request-Id": "sane"}, timeout=60),
        lambda: requests.post(
            f"{gateway.url}/restart_server",
            json={"SIGNATURE": "faulty", "REASON": "token test"},
            headers=bearer(token),
            timeout=30,
        ),
        lambda: requests.post(
            f"{gateway.url}/run/faulty", json={"DO": "raise"}, headers=bearer(token), timeout=60
        ),
        lambda: requests.post(
            f"{gateway.url}/run/faulty", json={"DO": "kill"}, headers=bearer(token), timeout=60
        ),
        lambda: requests.post(f"{gateway.url}/shutdown", headers=bearer("x" + token), timeout=60),
    ]
    for send in sends:
        with suppress(requests.ConnectionError):
            send()


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def test_log_has_no_secret(tmp_path: Path) -> None:
    """The token is in nothing that the gateway says while and after it is used."""
    (tmp_path / "project").mkdir()
    with shared_gateway(
        tmp_path / "project", {"faulty": {}}, {"faulty": FAULTY}, LOG_LEVEL="debug"
    ) as gateway:
        token = (gateway.base_folder / "_cache" / "admin_token").read_text().strip()
        use_tokens(gateway, token)
        statuses = [gateway.get(path).text for path in ("/system_status", "/list_servers")]
        asked = requests.get(f"{gateway.url}/notifications", headers=bearer(token), timeout=60)
    assert 200 == asked.status_code
    said = "\n".join([gateway.output, asked.text, *statuses])
    assert "endpoint_error" in said or "request_failed" in said, said
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "said.txt").write_text(said)
    assert token not in said
    assert {} == secrets_in("log", cwd=tmp_path, everything=True)


def test_secret_in_a_log_would_be_found(tmp_path: Path) -> None:
    """The scan is no formality: a token in a log line is seen."""
    (tmp_path / "log").mkdir()
    line = {"event": "request", "sent": hashlib.sha256(b"as long as a token").hexdigest()}
    (tmp_path / "log" / "said.txt").write_text(json.dumps(line))
    assert ["log/said.txt"] == list(secrets_in("log", cwd=tmp_path, everything=True))
