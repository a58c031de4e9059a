"""How each kind of child is started: command, environment, inherited descriptors."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import basic_inference_server
from basic_inference_server.core import support_key
from basic_inference_server.core.child_spec import (
    SPEC_VARIABLE,
    GatewaySpec,
    ServerSpec,
    for_our_start,
    write_spec,
)
from basic_inference_server.core.logs import LOG_MARK_VARIABLE, RECORD_MARK
from basic_inference_server.core.settings import process_environment
from basic_inference_server.supervision.child_process import ChildEvents, ChildProcess
from basic_inference_server.supervision.strays import RUN_VARIABLE

GATEWAY = "gateway"
NETRC_NAMES = (".netrc", "_netrc")
PACKAGE_PARENT = str(Path(basic_inference_server.__file__).resolve().parent.parent)

# One numeric thread per worker: with more, workers fight for the cores. The telemetry thread of
# onnxruntime would hang forked children at their exit.
QUIET_LIBRARIES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "ORT_DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True)
class Spawner:
    """Starts children in one base folder."""

    base_folder: str
    log_secret: str = field(default_factory=lambda: secrets.token_hex(8))
    run_id: str = field(default_factory=lambda: secrets.token_hex(8))
    support_key: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)

    @property
    def record_mark(self) -> bytes:
        """What the log records of our children begin with."""
        return RECORD_MARK + self.log_secret.encode()

    def mark(self, name: str, generation: int) -> str:
        """Return what says of a process, in its environment, which generation it belongs to."""
        return f"{self.run_id}.{name}.{generation}"

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return a child's environment: ours, quiet libraries, then the operator's `ENV`.

        It finds this package, wherever that is; our roles take that back when they have started.
        """
        inherited = process_environment()
        operators = {**inherited, **extra}
        paths = [PACKAGE_PARENT, *filter(None, operators.get("PYTHONPATH", "").split(os.pathsep))]
        ours = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONUNBUFFERED": "1"}
        return {
            **inherited,
            **{key: value for key, value in QUIET_LIBRARIES.items() if key not in inherited},
            "BIS_SUPERVISED": "1",
            LOG_MARK_VARIABLE: self.log_secret,
            **extra,
            **for_our_start(ours, operators),
        }

    def role(
        self,
        module: str,
        name: str,
        spec: ServerSpec | GatewaySpec,
        inherited_fds: Sequence[int],
        announcements: tuple[socket.socket, socket.socket],
        extra_environment: Mapping[str, str],
        events: ChildEvents,
    ) -> ChildProcess:
        """Start one of our own roles, e.g. `basic_inference_server.serving`.

        `name` is an argument that nobody reads but people in the output of `ps`.
        """
        ours, theirs = announcements
        owner = spec.signature if isinstance(spec, ServerSpec) else GATEWAY
        spec_fd = write_spec(spec)
        try:
            child = ChildProcess(
                [sys.executable, "-m", module, name],
                self.environment(
                    {
                        **extra_environment,
                        SPEC_VARIABLE: str(spec_fd),
                        RUN_VARIABLE: self.mark(owner, spec.generation),
                    }
                ),
                [*inherited_fds, theirs.fileno(), spec_fd],
                self.base_folder,
                events,
            )
        except OSError:
            ours.close()
            raise
        finally:
            os.close(spec_fd)
            theirs.close()
        child.listen_to(ours)
        return child

    def program(
        self,
        path: Path,
        name: str,
        number: int,
        configuration: Mapping[str, Any],
        extra_environment: Mapping[str, str],
        events: ChildEvents,
    ) -> ChildProcess:
        """Start a support process: an ordinary program that takes `--config_endpoint JSON`."""
        command = [sys.executable, str(path), "--config_endpoint", json.dumps(configuration)]
        environment = self.environment({**extra_environment, RUN_VARIABLE: self.mark(name, number)})
        if has_netrc(environment):
            return ChildProcess(command, environment, [], self.base_folder, events)
        login = anonymous_file(support_key.netrc(self.support_key, name, configuration["SERVER"]))
        try:
            environment[support_key.VARIABLE] = f"/proc/self/fd/{login}"
            return ChildProcess(command, environment, [login], self.base_folder, events)
        finally:
            os.close(login)


def has_netrc(environment: Mapping[str, str]) -> bool:
    """Say whether a program with that environment logs in somewhere with a file of the user's."""
    home = environment.get("HOME")
    return support_key.VARIABLE in environment or (
        home is not None and any(os.access(f"{home}/{name}", os.F_OK) for name in NETRC_NAMES)
    )


def anonymous_file(text: str) -> int:
    """Return the descriptor of a file without a name; the caller closes it."""
    fd = os.memfd_create("netrc", os.MFD_CLOEXEC)
    os.write(fd, text.encode())
    return fd
