"""What the faults have to know of a system: where it answers, how it is started and reloaded."""

from __future__ import annotations

import enum
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from server_process import Address, ServerProcess

APPLICATIONS = Path(__file__).resolve().parents[1] / "systems" / "fault_apps"
WORKERS = 2

Fields = Mapping[str, object]


class Reload(enum.Enum):
    """The documented way to a new version of the model."""

    CALL = "call"
    HANGUP = "SIGHUP"
    RESTART = "stop and start"


@dataclass(frozen=True)
class Settings:
    """What a fault asks of a system; each system sets it by its own documented means."""

    timeout_s: float | None = None  # None: the system's default
    queue: int | None = None  # the same
    with_other: bool = False  # a second endpoint beside the one that is hit

    def as_environment(self) -> dict[str, str]:
        """For the applications of the peers."""
        return {
            "FAULT_TIMEOUT_S": "" if self.timeout_s is None else f"{self.timeout_s:g}",
            "FAULT_QUEUE": str(self.queue or ""),
            "FAULT_OTHER": "1" if self.with_other else "0",
        }


@dataclass(frozen=True)
class Launch:
    """One start: the folder it runs in, the port to use, the settings, the environment."""

    folder: Path
    address: Address
    settings: Settings
    environment: Mapping[str, str]

    @property
    def full_environment(self) -> dict[str, str]:
        """Settings and environment, with the folder importable."""
        own = {"PYTHONPATH": str(self.folder), "FAULT_PORT": str(self.address[1])}
        return {**own, **self.settings.as_environment(), **self.environment}

    def place(self, *applications: str) -> None:
        """Copy applications, and the work, into the folder."""
        for name in ("fault_work.py", *applications):
            shutil.copy(APPLICATIONS / name, self.folder)


def plain_body(fields: Fields) -> bytes:
    """The fields as one JSON object; NaN is written as NaN."""
    return json.dumps({"SIGNATURE": "work", **fields}).encode()


@dataclass(frozen=True)
class System:
    """One system of the scoreboard."""

    key: str
    title: str
    prepare: Callable[[], object]  # makes its environment, where it has one of its own
    start: Callable[[Launch], ServerProcess]
    health: Sequence[str]
    configuration: str
    reload: Reload
    path: str = "/run"
    other_path: str | None = None  # None: it cannot hold a second model beside the first
    other_body: Callable[[Fields], bytes] = plain_body
    body: Callable[[Fields], bytes] = plain_body
    reload_path: str = ""
    reload_body: bytes = b"{}"
