"""Packaging: metadata here, tool configuration in pyproject.toml, dependencies in requirements/."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
PAGE_FILES = ("html", "css", "js", "svg", "json")


def read(name: str) -> str:
    """Return the text of a file beside this one, or nothing when a build left it out."""
    path = HERE / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def requirements(name: str) -> list[str]:
    """Return the requirements of requirements/<name>.in, the same source the locks are made of."""
    lines = read(f"requirements/{name}.in").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def library_version() -> str:
    """Read LIB_VER as text: importing the package would need its dependencies."""
    match = re.search(
        r'^LIB_VER\b.*?=\s*"([^"]+)"', read("basic_inference_server/_version.py"), re.M
    )
    if match is None:
        raise SystemExit("setup.py: no LIB_VER in basic_inference_server/_version.py")
    return match[1]


setup(
    name="basic_inference_server",
    version=library_version(),
    description="Multi-worker model-serving gateway: one address, many supervised endpoints",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.10",
    # Not the bundled endpoints: a top-level package of that name would hide a user's own folder.
    packages=find_packages(include=["basic_inference_server", "basic_inference_server.*"]),
    package_data={
        "basic_inference_server": [
            "py.typed",
            "supervision/janitor.sh",
            *(f"**/*.{ending}" for ending in PAGE_FILES),
        ],
    },
    install_requires=requirements("runtime"),
    extras_require={name: requirements(name) for name in ("models", "ner", "dev")},
    classifiers=[
        "Environment :: Web Environment",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
