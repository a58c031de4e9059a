"""What happens where the packages of a bundled model are not installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from basic_inference_server.testing import running_gateway
from tests.support.eventually import eventually

ROOT = Path(__file__).resolve().parents[2]
HINT = 'digits needs onnxruntime: pip install "basic_inference_server[models]"'


def test_missing_package_fails_its_endpoints_alone(tmp_path: Path) -> None:
    """An endpoint whose package is missing says what to install; the others serve."""
    for name in ("run_gateway.py", "app_ver.py", "endpoints"):
        (tmp_path / name).symlink_to(ROOT / name)
    # Found before the installed one, and gone as far as the endpoint can tell.
    (tmp_path / "onnxruntime.py").write_text('raise ModuleNotFoundError("onnxruntime")\n')
    endpoints = {"digits": {"NR_WORKERS": 1}, "get_aprox": {"NR_WORKERS": 1}}
    (tmp_path / "config_gateway.txt").write_text(json.dumps({"CONFIG_ENDPOINTS": endpoints}))
    command = [sys.executable, "run_gateway.py", "--host", "127.0.0.1", "--port", "0"]
    with running_gateway(tmp_path, command=command) as gateway:
        eventually(
            lambda: gateway.servers()["digits"]["state"] == "FAILED",
            timeout_s=20,
            what="digits has failed",
        )
        answer = gateway.run("digits", PIXELS=[0] * 64)
        assert 503 == answer.status_code
        assert HINT in answer.json()["ERROR"]
        found = gateway.run("get_aprox", WORD="univercity").json()["data"]
        assert ["university"] == [item["word"] for item in found]
