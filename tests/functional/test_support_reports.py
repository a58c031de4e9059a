"""Reports of support processes where the kernel does not say whose a connection is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.functional.answers import check_error
from tests.functional.test_seeds import RUN_WITH_IN_DEBUG, SEEDS, START_OURS, write_seed_text
from tests.support.eventually import eventually
from tests.support.seed_project import write_seed_like_project

ROOT = Path(__file__).resolve().parents[2]
IN_THE_DARK = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'children' / 'in_the_dark'}"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """The first specification's system, its own text where it is there."""
    folder = tmp_path_factory.mktemp("dark")
    if any(SEEDS.glob("004_*.txt")):
        write_seed_text(folder)
        command = [sys.executable, "-c", RUN_WITH_IN_DEBUG]
    else:
        write_seed_like_project(folder)
        command = START_OURS
    with running_gateway(folder, command=command, environment={"PYTHONPATH": IN_THE_DARK}) as it:
        yield it


def test_unmodified_support_process_reports(gateway: RunningGateway) -> None:
    """It knows of no token; `requests` finds its password by itself."""
    report = eventually(lambda: gateway.servers()["support_process"]["report"], what="a report")
    assert report["msg"].startswith("Total Mem: ")


def test_what_cannot_be_established_is_not_trusted(gateway: RunningGateway) -> None:
    """A call without a token could be anybody's, the report of a support process too."""
    error = check_error("forbidden", gateway.post("/notifications"))
    assert "is not known to come from" in error["ERROR"]
    report = {"SIGNATURE": "support_process"}
    check_error("forbidden", gateway.post("/support_update_status", report))
    headers = {"Authorization": "Basic c3VwcG9ydF9wcm9jZXNzOng="}
    guess = requests.post(
        gateway.url + "/support_update_status", json=report, headers=headers, timeout=60
    )
    check_error("unauthorized", guess)
