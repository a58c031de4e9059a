"""What happens where a bundled model cannot load: a package is missing, or a setting is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.functional.answers import check_error
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("missing")
    for name in ("run_gateway.py", "app_ver.py", "endpoints"):
        (folder / name).symlink_to(ROOT / name)
    # Found before the installed one, and gone as far as the endpoint can tell.
    (folder / "onnxruntime.py").write_text('raise ModuleNotFoundError("onnxruntime")\n')
    endpoints = {"digits": {}, "summarization": {"LANGUAGE": "fr"}, "get_aprox": {}}
    (folder / "config_gateway.txt").write_text(json.dumps({"CONFIG_ENDPOINTS": endpoints}))
    command = [sys.executable, "run_gateway.py", "--host", "127.0.0.1", "--port", "0"]
    with running_gateway(folder, command=command) as running:
        yield running


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        ("digits", 'digits needs onnxruntime: pip install "basic_inference_server[models]"'),
        ("summarization", "LANGUAGE is 'fr', which breaks INCLUDED_LIST ['en', 'ro']"),
    ],
)
def test_endpoint_that_cannot_load_fails_alone(
    gateway: RunningGateway, signature: str, reason: str
) -> None:
    """It says what to install or to change and is not tried again; the others serve."""
    eventually(lambda: gateway.servers()[signature]["state"] == "FAILED")
    assert reason in check_error("not_ready", gateway.run(signature, TEXT="One."))["ERROR"]
    found = gateway.run("get_aprox", WORD="univercity").json()["data"]
    assert ["university"] == [item["word"] for item in found]
