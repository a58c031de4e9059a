"""bandit over what is shipped: every finding is listed here with the reason why it is none.

A finding that is not listed fails, and so does a listed one that is gone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("basic_inference_server", "endpoints", "run_gateway.py", "app_ver.py")
TIMEOUT_S = 50.0

# As in ruff's configuration: an assertion documents an invariant and checks no input, and every
# command is a list of arguments of our own, never a shell.
NOT_ASKED = "B101,B404,B603"

ACCEPTED = {
    "0.0.0.0 is the documented default of a server for other machines": {
        ("basic_inference_server/core/settings.py", "B104"),
        ("basic_inference_server/supervision/places.py", "B104"),
    },
    "app_ver.py is the operator's file, in the operator's folder": {
        ("basic_inference_server/core/settings.py", "B102"),
    },
    "an endpoint's file, compiled once for all workers of its server": {
        ("basic_inference_server/worker/discovery.py", "B102"),
    },
    "/dev/shm holds unlinked files": {
        ("basic_inference_server/prefork/arbiter.py", "B108"),
    },
    "chance spreads restarts in time; nothing secret is made of it": {
        ("basic_inference_server/serving/pull_worker.py", "B311"),
        ("basic_inference_server/supervision/lifecycle_keeper.py", "B311"),
    },
    "the name of a variable is no password": {
        ("endpoints/support_process.py", "B105"),
    },
}


def findings(*paths: str, cwd: Path) -> set[tuple[str, str]]:
    """Return file and test of everything that bandit says about some paths."""
    command = [sys.executable, "-m", "bandit", "--quiet", "--format", "json", "--skip", NOT_ASKED]
    ended = subprocess.run(
        [*command, "--recursive", *paths],
        cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert ended.returncode in {0, 1}, ended.stderr  # 1: there are findings
    report = json.loads(ended.stdout)
    assert [] == report["errors"]
    assert report["metrics"]["_totals"]["loc"] > 0
    return {(found["filename"].removeprefix("./"), found["test_id"]) for found in report["results"]}


def test_bandit_finds_nothing_new() -> None:
    """Everything that bandit finds in the shipped code is known and has its reason."""
    accepted: set[tuple[str, str]] = set().union(*ACCEPTED.values())
    assert accepted == findings(*SHIPPED, cwd=ROOT)


def test_bandit_would_find_something(tmp_path: Path) -> None:
    """A shell that is handed a request's text does not pass."""
    (tmp_path / "bad.py").write_text("import os\n\n\ndef run(text):\n    os.system(text)\n")
    assert {("bad.py", "B605")} == findings("bad.py", cwd=tmp_path)
