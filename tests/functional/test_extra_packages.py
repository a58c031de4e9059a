"""`requirements-extra.txt`: packages of one's own beside those that the lock pins."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from basic_inference_server.core.settings import process_environment

ROOT = Path(__file__).resolve().parents[2]
pip = pytest.importorskip("pip", reason="the packages are installed with it")
LOCK = "requirements.lock"


class Checkout:
    """A folder with `bootstrap.sh`, a lock, and packages to install that hold nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scripts").mkdir()
        source = (ROOT / "scripts" / "bootstrap.sh").read_bytes()
        (folder / "scripts" / "bootstrap.sh").write_bytes(source)
        self.extra = folder / "requirements-extra.txt"
        self.stamp = folder / ".venv" / ".installed.lock"
        # A whole environment takes seconds; this one borrows the pip that runs here.
        venv.create(folder / ".venv", with_pip=False)
        self.site = next((folder / ".venv" / "lib").glob("python3*")) / "site-packages"
        (self.site / "borrowed.pth").write_text(str(Path(pip.__file__).parents[1]))
        self.stamp.write_text("incomplete\n")
        digest = hashlib.sha256(self.wheel("pinned", "1.0").read_bytes()).hexdigest()
        self.lock = f"# made\npinned==1.0 \\\n    --hash=sha256:{digest}\n    # via own\n"
        (folder / LOCK).write_text(self.lock)

    def wheel(self, name: str, version: str) -> Path:
        """Write a package."""
        wheel = self.folder / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(wheel, "w") as file:
            head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            file.writestr(f"{info}/METADATA", head)
            file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            file.writestr(f"{info}/RECORD", "")
        return wheel

    def bootstrap(self, **environment: str) -> tuple[int, str]:
        """Bring the environment up to the lock; return exit code and output."""
        ended = subprocess.run(
            ["bash", str(self.folder / "scripts" / "bootstrap.sh"), ".venv", LOCK],
            env={"PATH": process_environment()["PATH"], "PYTHON": sys.executable,
                 "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.folder), **environment},
            capture_output=True, text=True, timeout=50, check=False,
        )  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr

    def installed(self) -> set[str]:
        """Return what is installed."""
        return {path.name.removesuffix(".dist-info") for path in self.site.glob("*.dist-info")}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_packages_of_ones_own_are_added_to_the_lock(checkout: Checkout) -> None:
    """Whenever the list has changed, and never in place of what the lock pins."""
    checkout.wheel("own", "1.0")
    checkout.wheel("pinned", "2.0")
    checkout.extra.write_text("own\npinned\n")
    assert (0, "") == checkout.bootstrap()
    assert {"own-1.0", "pinned-1.0"} == checkout.installed()
    assert checkout.lock + "own\npinned\n" == checkout.stamp.read_text()
    assert (0, "") == checkout.bootstrap(PIP_FIND_LINKS="/nowhere")  # nothing is looked for
    checkout.extra.write_text("own\npinned==2.0\n")
    code, output = checkout.bootstrap()
    assert 1 == code
    assert f"could not add requirements-extra.txt to .venv, beside what {LOCK} pins" in output
    assert {"own-1.0", "pinned-1.0"} == checkout.installed()


def test_list_that_is_asked_for_has_to_be_there(checkout: Checkout) -> None:
    """A misspelt `RUN_EXTRA` is no environment without extras."""
    assert (1, "bootstrap.sh: RUN_EXTRA: mine.txt is missing\n") == (
        checkout.bootstrap(RUN_EXTRA="mine.txt")
    )
    assert set() == checkout.installed()
