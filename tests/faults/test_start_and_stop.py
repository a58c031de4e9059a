"""Starts that must not happen, and stops under load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from basic_inference_server.testing import RunningGateway
from tests.faults.ledger import Ledger
from tests.functional.gateways import run_to_end
from tests.support.eventually import eventually
from tests.support.processes import expect_gone, tree

Launch = Callable[..., RunningGateway]
EXIT_CONFIG = 78


def link_to_itself(path: Path) -> None:
    """Make a link that leads nowhere but to itself."""
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        pytest.param(lambda path: path.write_bytes(b"{\0}"), ":1:2: ", id="NUL"),
        pytest.param(lambda path: path.write_bytes(b"\xef\xbb\xbf{}"), ":1:1: ", id="BOM"),
        pytest.param(lambda path: path.write_bytes(b" " * 11_000_000), "larger", id="11 MB"),
        pytest.param(lambda path: path.mkdir(), "directory", id="folder"),
        pytest.param(link_to_itself, "symbolic links", id="loop of links"),
    ],
)
def test_file_that_is_no_configuration_ends_the_start(
    tmp_path: Path, make: Callable[[Path], None], shown: str
) -> None:
    """Exit code 78 within 3 s, one line that names the file, and no child (C1)."""
    make(tmp_path / "config_gateway.txt")
    code, lines = run_to_end(tmp_path)
    assert EXIT_CONFIG == code, lines
    assert "config_gateway.txt" in lines[1]
    assert shown in lines[1]


def test_stop_under_load_answers_everything_that_was_accepted(launch: Launch) -> None:
    """A request gets its answer or finds the port closed; nothing is cut off (L1)."""
    gateway = launch({"misbehaving": {"NR_WORKERS": 2}})
    processes = tree(gateway)
    fields = {"SIGNATURE": "misbehaving", "DO": "sleep", "SECONDS": 0.1}
    with Ledger(gateway.port, 40, fields, 2.0) as load:
        eventually(lambda: load.answered > 10)
        gateway.process.terminate()
        assert 0 == gateway.process.wait(10)
        load.stop()
    load.check()
    assert {"200", "ConnectionRefusedError", "503"} >= set(load.outcomes), load.failures()[:3]
    assert {"", "shutting_down"} >= {row.code for row in load.rows}
    first_refused = min(row.t0 for row in load.rows if row.outcome == "ConnectionRefusedError")
    assert [] == [row for row in load.rows if row.outcome == "200" and row.t0 > first_refused]
    expect_gone(processes, timeout_s=1)
