"""What the figures were taken on, for the head of a report and for its JSON."""

from __future__ import annotations

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path

BUSY_LOAD = 0.5
PACKAGES = ("flask", "gunicorn", "uvicorn", "uvloop")


def describe() -> dict[str, object]:
    """Processor, interpreter, versions, and how busy the machine already was."""
    return {
        "taken_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpus": len(os.sched_getaffinity(0)),
        "cpu_model": _cpu_model(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average_1min": round(os.getloadavg()[0], 2),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def print_head() -> None:
    """The description in two lines, with a warning on a busy machine."""
    description = describe()
    print(
        f"{description['cpus']} CPUs ({description['cpu_model']}), Linux {description['kernel']}, "
        f"Python {description['python']}, {description['packages']}"
    )
    if os.getloadavg()[0] > BUSY_LOAD:
        print(
            f"WARNING: load average {description['load_average_1min']}: something else runs here. "
            "Trust the ratios and the CPU per request, not the absolute rates."
        )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
