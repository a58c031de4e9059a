"""Surroundings in which no gateway can run: exit code 4, one line, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from basic_inference_server.core.descriptors import FOR_A_SERVER
from basic_inference_server.core.settings import process_environment
from basic_inference_server.testing import running_gateway
from tests.functional.answers import check_error
from tests.functional.gateways import processes_in
from tests.support.processes import open_descriptors
from tests.support.projects import ECHO, write_project

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = ["run", "--host", "127.0.0.1", "--port", "0"]
RUN = [sys.executable, "-m", "basic_inference_server", *ARGUMENTS]
NOBODY = 65534
OWN_AT_REST = 32
NO_FILTER = 77  # what `without_pidfd.py` ends with where there is no seccomp
ENDED_WITHIN_S = 30.0

Harm = Callable[[Path], None]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A project that other users reach as well: pytest's own folders are private."""
    with tempfile.TemporaryDirectory(prefix="bis-") as made:
        Path(made).chmod(0o755)
        yield write_project(Path(made), {"echo": {}}, {"echo": ECHO})


def refusal(folder: Path, command: Sequence[str] = RUN) -> str:
    """Return the one line with which a start is refused."""
    ended = subprocess.run(
        command, cwd=folder, env={**process_environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True, timeout=ENDED_WITHIN_S, check=False, text=True,
    )  # fmt: skip
    if ended.returncode == NO_FILTER:
        pytest.skip(ended.stderr)
    assert 4 == ended.returncode, ended.stderr
    assert "" == ended.stdout
    (line,) = ended.stderr.splitlines()
    assert [] == processes_in(folder)
    return line


def test_folder_where_a_file_belongs_is_refused(folder: Path) -> None:
    """As a container leaves it whose volume names a file that was not there."""
    where = folder / "_cache" / "admin_token"
    where.mkdir(parents=True)
    expected = f"Cannot start: {where} is a folder, where a file belongs: move it away"
    assert expected == refusal(folder)


def give_token_to_root(folder: Path) -> None:
    (folder / "_cache").mkdir()
    os.chown(folder / "_cache", NOBODY, NOBODY)
    (folder / "_cache" / "admin_token").write_text("bis_secret\n")


def give_folder_to_root(folder: Path) -> None:
    (folder / "_cache").mkdir()


def give_sockets_to_root(folder: Path) -> None:
    (folder / "_cache" / "run").mkdir(parents=True)
    os.chown(folder / "_cache", NOBODY, NOBODY)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("harm", "expected"),
    [
        (give_token_to_root, "{}/admin_token belongs to user 0 and not to user"),
        (give_folder_to_root, "cannot make the folder {}/run: Permission denied"),
        (give_sockets_to_root, "{}/run belongs to somebody else"),
    ],
)
def test_files_of_another_user_are_refused(folder: Path, harm: Harm, expected: str) -> None:
    """The line names the file; the token of another user is not used either."""
    harm(folder)
    program = str(ROOT / "tests" / "children" / "as_nobody.py")
    line = refusal(folder, [sys.executable, program, *ARGUMENTS])
    assert line.startswith("Cannot start: " + expected.format(folder / "_cache")), line


def test_folder_whose_name_is_not_utf8_is_refused(folder: Path) -> None:
    """Neither JSON nor the log could say where that is."""
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))
    odd.mkdir()
    write_project(odd, {"echo": {}}, {"echo": ECHO})
    expected = f"Cannot start: the name of the folder '{folder}/caf\\udce9' is not UTF-8"
    assert expected == refusal(odd)[: len(expected)]


def test_too_few_descriptors_are_refused(folder: Path) -> None:
    """All endpoints are counted before the first is started."""
    write_project(folder, {f"e{n}": {"SERVER_CLASS": "echo"} for n in range(20)}, {"echo": ECHO})
    shell = ["/bin/sh", "-c", f"ulimit -n 128; exec {' '.join(RUN)}"]
    expected = "Cannot start: 20 endpoints need 264 file descriptors, and 128 are allowed; raise"
    assert expected == refusal(folder, shell)[: len(expected)]


def test_few_descriptors_are_said_and_more_endpoints_refused(folder: Path) -> None:
    """A limit that is enough for the endpoints, but not for much else, is no secret."""
    six = {f"s{n}": {"SERVER_CLASS": "echo"} for n in range(6)}
    write_project(folder, six, {"echo": ECHO})
    shell = ["/bin/sh", "-c", f"ulimit -n 130; exec {' '.join(RUN)}"]
    with running_gateway(folder, command=shell) as gateway:
        capped, scarce = [one for one in gateway.events if one["level"] == "warning"]
        assert "MAX_CONNECTIONS 8192 is above the 30 that the limit of 130" in capped["message"]
        assert "takes 148 file descriptors, and 130 are allowed" in scarce["message"]
        # The reckoning is the truth: 64 leave room for what comes and goes.
        assert OWN_AT_REST + 6 * FOR_A_SERVER >= open_descriptors(gateway.process.pid)
        many = {f"e{n}": {"SERVER_CLASS": "echo"} for n in range(20)}
        write_project(folder, {**six, **many}, {"echo": ECHO})
        error = check_error("bad_input", gateway.post("/reload"))["ERROR"]
        assert "26 endpoints need 324 file descriptors, and 130 are allowed" in error
        assert list(six) == list(gateway.servers())
        assert 3 == gateway.run("s0", INPUT_VALUE=1).json()["result"]
        assert 0 == gateway.stop()


def test_kernel_without_pidfd_is_refused(folder: Path) -> None:
    """Old kernels and strict filters are named, with what is needed instead."""
    program = str(ROOT / "tests" / "children" / "without_pidfd.py")
    line = refusal(folder, [sys.executable, program, *RUN])
    assert "Cannot start: pidfd_open or memfd_create: Function not implemented" in line
    assert "Linux 5.3" in line
