"""run.sh as an operator uses it: real bash, real signals, a small program for the gateway."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(sys.executable).parent.parent
SCRIPTS = [
    "run.sh", "run_tests.sh", "scripts/audit.sh", "scripts/bootstrap.sh", "scripts/lock.sh",
    ".ci/run", "basic_inference_server/supervision/janitor.sh",
]  # fmt: skip
TIMEOUT_S = 50.0  # a start may have to make an environment, on a busy machine

# Takes the next step of the plan: an exit code, or "serve" until a signal comes.
# TERM answers with 37, INT with 38, USR1 stands for POST /shutdown and answers with 0; HUP is
# counted.
GATEWAY = """
import json, os, pathlib, signal, sys
signal.alarm(30)  # never outlives the test run
starts = pathlib.Path("starts")
number = len(starts.read_text().splitlines()) if starts.exists() else 0
step = json.loads(pathlib.Path("plan").read_text())[number]
for name, code in (("TERM", 37), ("INT", 38), ("USR1", 0)):
    signal.signal(signal.Signals["SIG" + name], lambda *_, code=code: os._exit(code))
def count(*_):
    with open("reloads", "a") as file:
        file.write("x")
signal.signal(signal.SIGHUP, count)
version = pathlib.Path("version")
start = {
    "pid": os.getpid(),
    "folder": os.getcwd(),
    "argv": sys.argv[1:],
    "version": version.read_text() if version.exists() else "",
    "keeps_bytecode": not sys.dont_write_bytecode,
}
with starts.open("a") as file:
    file.write(json.dumps(start) + "\\n")
if step != "serve":
    sys.exit(step)
while True:
    signal.pause()
"""

# Records its arguments as the gateway does, whose plan it then follows.
DOCKER = """#!/bin/sh
[ "$1" = ps ] && exit "$DOCKER_STATUS"
exec "$RUN_VENV/bin/python" run_gateway.py "$@"
"""


def eventually(predicate: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> Any:
    """Return the first true value of a predicate, or fail with its last one."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (value := predicate()):
        assert time.monotonic() < deadline, f"still {value!r} after {timeout_s} s"
        pause.wait(0.01)
    return value


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class Script:
    """A folder with run.sh and the stand-in gateway, and one run of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.environment = {
            "PATH": f"{self.bin}:{os.defpath}",
            "HOME": str(folder),
            "RUN_VENV": str(VENV),
            "RESTART_DELAY_S": "0.05",
            "DOCKER_STATUS": "0",
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        shutil.copy(ROOT / "run.sh", folder)
        (folder / "run_gateway.py").write_text(GATEWAY)
        write_program(self.bin / "docker", DOCKER)
        write_program(self.bin / "sudo", "#!/bin/sh\nexit 1\n")
        self.process: subprocess.Popen[bytes] | None = None

    def start(
        self,
        *arguments: str,
        plan: list[int | str],
        nohup: bool = False,
        program: str = "./run.sh",
        terminal: int | None = None,
    ) -> None:
        before = ["nohup"] if nohup else ["setsid", "--ctty"] if terminal is not None else []
        (self.folder / "plan").write_text(json.dumps(plan))
        with (self.folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                [*before, program, *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL if terminal is None else terminal,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=terminal is None,
            )

    @property
    def starts(self) -> list[dict[str, Any]]:
        path = self.folder / "starts"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    def wait_for_start(self, number: int) -> dict[str, Any]:
        eventually(lambda: len(self.starts) >= number)
        return self.starts[number - 1]

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def exit_code(self) -> int:
        assert self.process is not None
        return self.process.wait(TIMEOUT_S)

    def close(self) -> None:
        """Kill what is left; the gateway is in a process group of its own."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        for start in self.starts:
            try:
                os.killpg(start["pid"], signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Script]:
    running = Script(tmp_path)
    yield running
    running.close()


@pytest.mark.parametrize("code", [pytest.param(0, id="shutdown"), pytest.param(137, id="killed")])
def test_gateway_that_ends_by_itself_starts_again(script: Script, code: int) -> None:
    """POST /shutdown and a crash are both followed by a new gateway with the same arguments."""
    script.start("--port", "5010", plan=[code, "serve"])
    assert ["--port", "5010"] == script.wait_for_start(2)["argv"]


def test_shutdown_that_had_to_cut_a_request_updates_all_the_same(script: Script) -> None:
    """A client that never finishes its request does not keep the next version away."""
    script.start(plan=[1, "serve"])
    script.wait_for_start(2)
    assert "gateway ended with 1, updating" in script.output


@pytest.mark.parametrize(
    "code", [pytest.param(78, id="configuration"), pytest.param(4, id="port taken")]
)
def test_gateway_that_cannot_start_ends_the_loop(script: Script, code: int) -> None:
    """What a restart would only repeat ends run.sh with the gateway's own code."""
    script.start(plan=[code])
    assert code == script.exit_code()
    assert 1 == len(script.starts)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGTERM, 37, id="terminate"),
        pytest.param(signal.SIGINT, 38, id="interrupt"),
    ],
)
def test_signal_ends_gateway_and_loop(script: Script, number: signal.Signals, code: int) -> None:
    """A signal reaches the gateway, whose exit code run.sh passes on without a restart."""
    script.start(plan=["serve", "serve"])
    script.wait_for_start(1)
    script.send(number)
    assert code == script.exit_code()
    assert 1 == len(script.starts)


def test_hangup_of_a_process_manager_reloads(script: Script) -> None:
    """ExecReload sends HUP: the gateway gets it, and everything runs on."""
    script.start(plan=["serve", "serve"])
    script.wait_for_start(1)
    script.send(signal.SIGHUP)
    reloads = script.folder / "reloads"
    eventually(lambda: reloads.exists() and reloads.read_text() == "x")
    script.send(signal.SIGTERM)
    assert 37 == script.exit_code()
    assert 1 == len(script.starts)


def test_closed_terminal_ends_gateway_and_loop(script: Script) -> None:
    """The same signal comes then, but the terminal is gone; a reload before it changes nothing."""
    master, terminal = os.openpty()
    script.start(plan=["serve", "serve"], terminal=terminal)
    os.close(terminal)
    script.wait_for_start(1)
    script.send(signal.SIGHUP)
    eventually((script.folder / "reloads").exists)
    os.close(master)
    assert 37 == script.exit_code()
    assert 1 == len(script.starts)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_signal_without_a_meaning_is_said_and_ends_nothing(
    script: Script, number: signal.Signals
) -> None:
    """A rotation of logs signals whatever it finds."""
    script.start(plan=["serve", "serve"])
    script.wait_for_start(1)
    script.send(number)
    eventually(lambda: "USR1 and USR2 mean nothing here: HUP reloads" in script.output)
    script.send(signal.SIGTERM)
    assert 37 == script.exit_code()
    assert 1 == len(script.starts)


def test_script_is_called_through_a_link(script: Script) -> None:
    """It works in its own folder, not in that of the link."""
    (script.folder / "elsewhere").mkdir()
    link = script.folder / "elsewhere" / "start"
    link.symlink_to(script.folder / "run.sh")
    script.start(plan=["serve"], program=str(link))
    assert str(script.folder) == script.wait_for_start(1)["folder"]


def test_closed_descriptors_are_opened(script: Script) -> None:
    """Nothing else gets the number of a standard descriptor, here or in the gateway."""
    program = write_program(script.folder / "start", "#!/bin/sh\nexec ./run.sh <&- >&- 2>&-\n")
    script.start(plan=["serve"], program=str(program))
    start = script.wait_for_start(1)
    folder = Path(f"/proc/{start['pid']}/fd")
    assert [Path("/dev/null")] * 3 == [(folder / str(fd)).readlink() for fd in range(3)]


def test_signal_between_two_gateways_ends_at_once(script: Script) -> None:
    """SIGTERM while run.sh waits for the next start ends it, and no gateway follows."""
    script.environment["RESTART_DELAY_S"] = "60"
    script.start(plan=[0, "serve"])
    eventually(lambda: "next start in 60 s" in script.output)
    script.send(signal.SIGTERM)
    assert 0 == script.exit_code()
    assert 1 == len(script.starts)


def test_logout_under_nohup_changes_nothing(script: Script) -> None:
    """After SIGHUP the same gateway serves on and the loop still restarts it."""
    script.start(plan=["serve", "serve"], nohup=True)
    pid = script.wait_for_start(1)["pid"]
    script.send(signal.SIGHUP)
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGUSR1)
    script.wait_for_start(2)
    assert "gateway ended with 0, updating" in script.output
    script.send(signal.SIGTERM)
    assert 37 == script.exit_code()


def test_question_is_answered_once(script: Script) -> None:
    """Arguments that print something and end do not loop."""
    script.start("--check-config", plan=[0])
    assert 0 == script.exit_code()
    assert [["--check-config"]] == [start["argv"] for start in script.starts]


def test_gateway_may_keep_compiled_modules(script: Script) -> None:
    """PYTHONDONTWRITEBYTECODE does not slow down every start of the gateway."""
    script.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    script.start(plan=["serve"])
    assert script.wait_for_start(1)["keeps_bytecode"]


def test_wrong_delay_is_refused(script: Script) -> None:
    """A delay that is no number would restart without any pause."""
    script.environment["RESTART_DELAY_S"] = "soon"
    script.start(plan=[0])
    assert 78 == script.exit_code()
    assert 'RESTART_DELAY_S: expected seconds, got "soon"' in script.output


def test_image_runs_in_the_same_loop(script: Script) -> None:
    """With IMAGE the container gets ports and volume, is pulled, and follows the last one."""
    script.environment |= {"IMAGE": "account/repo", "TZ": "UTC", "BIS_LOG_LEVEL": "debug"}
    script.start(plan=[78, "serve"])
    run = "run --rm --pull=always --stop-timeout 40 -p 5002-5022:5002-5022"
    volume = "-v ai_vol:/aid_app/_cache -e TZ=UTC -e BIS_LOG_LEVEL=debug account/repo"
    assert f"{run} {volume}".split() == script.wait_for_start(2)["argv"]
    script.send(signal.SIGTERM)
    assert 37 == script.exit_code()


def test_image_gets_arguments_and_overrides(script: Script) -> None:
    """Arguments become the container's command; pull, ports and volume can be changed."""
    script.environment |= {"IMAGE": "local_app", "PULL": "missing", "PORTS": "5002"}
    script.environment["CACHE_VOLUME"] = "other"
    script.start("--host", "0.0.0.0", plan=["serve"])
    command = ["local_app", "python", "run_gateway.py", "--host", "0.0.0.0"]
    argv = script.wait_for_start(1)["argv"]
    assert command == argv[-5:]
    assert {"--pull=missing", "5002:5002", "other:/aid_app/_cache"} <= set(argv)


def test_image_without_docker_runs_the_checkout(script: Script) -> None:
    """When docker does not answer, not even through sudo, the local gateway runs and it is said."""
    script.environment |= {"IMAGE": "account/repo", "DOCKER_STATUS": "1"}
    script.start(plan=["serve"])
    assert [] == script.wait_for_start(1)["argv"]
    assert "docker does not answer: running the local gateway" in script.output


@pytest.mark.skipif(shutil.which("git", path=os.defpath) is None, reason="needs git")
def test_shutdown_pulls_the_checkout(script: Script, tmp_path: Path) -> None:
    """The gateway that follows a shutdown runs what was pushed meanwhile."""
    upstream = tmp_path / "upstream"
    upstream.mkdir()

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=operator", "-c", "user.email=operator@localhost"]
        command = ["git", *who, *arguments]
        subprocess.run(command, cwd=upstream, env=script.environment, check=True, timeout=TIMEOUT_S)

    git("init", "--quiet", "--initial-branch=main")
    (upstream / "version").write_text("old")
    git("add", "version")
    git("commit", "--quiet", "--message=old")
    git("clone", "--quiet", str(upstream), str(tmp_path / "clone"))
    for name in (".git", "version"):
        (tmp_path / "clone" / name).rename(tmp_path / name)
    script.start(plan=["serve", "serve", "serve"])
    pid = script.wait_for_start(1)["pid"]
    (upstream / "version").write_text("new")
    git("commit", "--quiet", "--all", "--message=new")
    os.kill(pid, signal.SIGUSR1)
    assert "new" == script.wait_for_start(2)["version"], script.output
    shutil.rmtree(upstream)
    os.kill(script.starts[1]["pid"], signal.SIGUSR1)
    assert "new" == script.wait_for_start(3)["version"]
    assert "git pull failed" in script.output
    assert "warning: going on with the code that is here" in script.output


@pytest.mark.skipif(shutil.which("git", path=os.defpath) is None, reason="needs git")
def test_checkout_of_somebody_else_is_said(script: Script) -> None:
    """Git does not touch it, and its own message says what to do."""
    subprocess.run(["git", "init", "--quiet"], cwd=script.folder, check=True, timeout=TIMEOUT_S)
    script.environment["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"
    script.start(plan=[0, "serve"])
    script.wait_for_start(2)
    assert "run.sh: git does not read this checkout: fatal: detected dubious" in script.output
    assert "safe.directory" in script.output


def test_missing_git_is_said(script: Script) -> None:
    """A checkout that cannot be pulled runs on, but not in silence."""
    (script.folder / ".git").mkdir()
    for name in ("bash", "dirname", "readlink", "sleep"):
        if program := shutil.which(name):
            (script.bin / name).symlink_to(program)
    script.environment["PATH"] = str(script.bin)
    script.start(plan=[0, "serve"])
    script.wait_for_start(2)
    assert "run.sh: git is not installed, so nothing can be pulled" in script.output


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param(3, "is not a Python 3.10 or newer", id="too old"),
        pytest.param(4, "has no venv module: install it", id="no venv module"),
    ],
)
def test_unusable_python_is_one_line(script: Script, status: int, message: str) -> None:
    """Without a Python that can set up the environment run.sh says so and ends."""
    del script.environment["RUN_VENV"]
    (script.folder / "requirements-models.lock").touch()
    write_program(script.bin / "strange-python", f"#!/bin/sh\nexit {status}\n")
    script.environment["PYTHON"] = "strange-python"
    script.start(plan=[0])
    assert 1 == script.exit_code()
    assert [] == script.starts
    assert message in script.output
    assert 1 == len(script.output.splitlines())


def test_no_python_is_one_line(script: Script) -> None:
    """A machine with nothing but bash gets one sentence that says what to do."""
    del script.environment["RUN_VENV"]
    (script.folder / "requirements-models.lock").touch()
    for name in ("bash", "dirname", "flock", "readlink"):
        if program := shutil.which(name):
            (script.bin / name).symlink_to(program)
    script.environment["PATH"] = str(script.bin)
    script.start(plan=[0])
    assert 1 == script.exit_code()
    message = "bootstrap.sh: no Python 3.10 or newer found: install one, or set PYTHON to its path"
    assert [message] == script.output.splitlines()


def test_environment_follows_its_lock(script: Script) -> None:
    """.venv is made at the first start, kept by the second, and changed with the lock only."""
    del script.environment["RUN_VENV"]
    script.environment["PYTHON"] = sys.executable
    lock = script.folder / "requirements-models.lock"
    installed = script.folder / ".venv" / ".installed.lock"
    outputs = []
    for text in ("# first\n", "# first\n", "# second\n"):
        lock.write_text(text)
        (script.folder / "starts").unlink(missing_ok=True)
        script.start(plan=[78])
        assert 78 == script.exit_code(), script.output
        assert text == installed.read_text()
        outputs.append(script.output)
    assert [True, False, False] == ["Setting up .venv" in output for output in outputs]
    assert "" == outputs[1]


@pytest.mark.parametrize(
    ("arguments", "failing", "steps"),
    [
        pytest.param([], "none", ["ruff", "ruff", "lint-imports", "mypy", "pytest"], id="all"),
        pytest.param([], "mypy", ["ruff", "ruff", "lint-imports", "mypy"], id="first failure"),
        pytest.param(["tests/unit"], "none", ["pytest tests/unit"], id="some tests"),
    ],
)
def test_checks_run_in_order(
    tmp_path: Path, arguments: list[str], failing: str, steps: list[str]
) -> None:
    """run_tests.sh runs the linters before the tests and stops at the first failure."""
    record = f'echo "$*" >>{tmp_path}/steps; case "$*" in *{failing}*) exit 9 ;; esac'
    write_program(tmp_path / "bin" / "python", f"#!/bin/sh\n{record}\n")
    done = subprocess.run(
        ["./run_tests.sh", *arguments],
        cwd=ROOT,
        env={"PATH": os.defpath, "RUN_VENV": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert (9 if failing == "mypy" else 0) == done.returncode
    lines = (tmp_path / "steps").read_text().splitlines()
    assert len(steps) == len(lines)
    assert all(step in line for step, line in zip(steps, lines, strict=True))


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_has_no_findings(name: str) -> None:
    """Shellcheck finds nothing in any script."""
    assert "" == findings("shellcheck", "--severity=style", name)


def test_dockerfile_has_no_findings() -> None:
    """Hadolint finds nothing in the Dockerfile."""
    assert "" == findings("hadolint", "Dockerfile")


def findings(tool: str, *arguments: str) -> str:
    """Return what a linter prints; skip the test where it is not installed."""
    program = VENV / "bin" / tool
    if not program.exists():
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run(
        [str(program), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    ending = f"exit code {done.returncode}" if done.returncode else ""
    return done.stdout + done.stderr + ending
