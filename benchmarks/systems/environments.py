"""Virtual environments of the peers, one for each name and version, made on first use."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from server_process import ServerError, clean_environment

CACHE_FOLDER = Path(__file__).resolve().parents[1] / ".cache"
INSTALL_TIMEOUT_S = 600
COMPLAINT_CHARS = 2000


@dataclass(frozen=True)
class Environment:
    """A peer's packages; `extra` are those that it needs beside itself."""

    package: str
    version: str
    extra: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        return CACHE_FOLDER / f"{self.package}-{self.version}"

    def python(self) -> Path:
        """Its interpreter; makes the environment when there is none."""
        python = self.folder / "bin" / "python"
        mark = self.folder / "installed"  # written last: what was interrupted is made anew
        if mark.exists() and python.exists():
            return python
        print(f"installing {self.package} {self.version} into {self.folder} …", file=sys.stderr)
        shutil.rmtree(self.folder, ignore_errors=True)
        self._run([sys.executable, "-m", "venv", str(self.folder)])
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        self._run([*pip, f"{self.package}=={self.version}", *self.extra])
        mark.touch()
        return python

    def _run(self, command: list[str]) -> None:
        problem = f"{self.package} {self.version} could not be installed: {' '.join(command)}"
        try:
            finished = subprocess.run(
                command,
                env=clean_environment(),
                capture_output=True,
                text=True,
                timeout=INSTALL_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"{problem}\nit took more than {INSTALL_TIMEOUT_S} s") from error
        if finished.returncode != 0:
            raise ServerError(f"{problem}\n{finished.stderr[-COMPLAINT_CHARS:]}")
