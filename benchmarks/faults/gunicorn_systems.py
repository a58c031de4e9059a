"""The two systems made of gunicorn: plain Flask, and its dirty workers behind Flask."""

from __future__ import annotations

from server_process import ServerProcess
from systems.environments import Environment

from faults.system import WORKERS, Launch, Reload, System

THREADS = 8
GUNICORN = Environment("gunicorn", "27.0.1", ("flask==3.1.3",))


def _command(launch: Launch) -> list[str]:
    host, port = launch.address
    command = [str(GUNICORN.python()), "-m", "gunicorn", "--worker-class", "gthread"]
    command += ["--workers", str(WORKERS), "--threads", str(THREADS), "--no-control-socket"]
    return [*command, "--bind", f"{host}:{port}"]


def _start_flask(launch: Launch) -> ServerProcess:
    launch.place("flask_app.py")
    command = _command(launch)
    if launch.settings.timeout_s is not None:
        command += ["--timeout", f"{launch.settings.timeout_s:g}"]
    command.append("flask_app:app")
    return ServerProcess(
        "gunicorn", command, launch.folder, lambda: launch.address, launch.full_environment
    )


def _start_dirty(launch: Launch) -> ServerProcess:
    launch.place("dirty_app.py")
    command = [*_command(launch), "--dirty-workers", str(WORKERS)]
    if launch.settings.timeout_s is not None:
        command += ["--dirty-timeout", f"{launch.settings.timeout_s:g}"]
    applications = ["dirty_app:Work"]
    if launch.settings.with_other:
        applications.append("dirty_app:Other")
    for application in applications:
        command += ["--dirty-app", application]
    return ServerProcess(
        "gunicorn-dirty",
        [*command, "dirty_app:app"],
        launch.folder,
        lambda: launch.address,
        launch.full_environment,
    )


FLASK = System(
    key="flask",
    title=f"Flask on gunicorn {GUNICORN.version} gthread",
    prepare=GUNICORN.python,
    start=_start_flask,
    health=("/health",),
    configuration=(
        "2 workers of 8 threads; `--timeout` for the deadline (gunicorn documents it as the "
        "silence of a worker, not as the time for a request). It has no queue limit that refuses."
    ),
    reload=Reload.HANGUP,
)

DIRTY = System(
    key="dirty",
    title=f"gunicorn {GUNICORN.version} dirty workers",
    prepare=GUNICORN.python,
    start=_start_dirty,
    health=("/health",),
    configuration=(
        "2 dirty workers behind 2 HTTP workers of 8 threads; `--dirty-timeout` and the client's "
        "`timeout` for the deadline; the application answers 504 for `DirtyTimeoutError` and 502 "
        "for other `DirtyError`. It has no queue limit and no health route of its own."
    ),
    reload=Reload.HANGUP,
    other_path="/other",
)
