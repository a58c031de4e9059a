"""What is installed from a wheel is the whole package, and not only its Python files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "basic_inference_server"


def files_of(folder: Path) -> set[str]:
    """Return what a folder holds, without what Python makes by itself."""
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


# Looked for, not imported: it warns when another test has imported distutils before.
@pytest.mark.skipif(find_spec("setuptools") is None, reason="setuptools is not installed")
def test_every_file_of_the_package_is_installed(tmp_path: Path) -> None:
    """The janitor's script and the marker of types are no modules."""
    shutil.copy(ROOT / "setup.py", tmp_path)
    shutil.copytree(ROOT / PACKAGE, tmp_path / PACKAGE)
    built = tmp_path / "built"
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(built)],
        cwd=tmp_path, check=True, capture_output=True, timeout=50,
    )  # fmt: skip
    expected = files_of(ROOT / PACKAGE)
    assert "supervision/janitor.sh" in expected
    assert expected == files_of(built / PACKAGE)
