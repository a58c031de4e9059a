"""Why an endpoint could not be loaded, in one sentence that says what to change."""

from __future__ import annotations

import re
from pathlib import Path


class EndpointLoadError(Exception):
    """The endpoint cannot be loaded.

    `is_permanent` says that trying again cannot help until somebody changes a file or the
    configuration: a missing file, a syntax error, a broken rule.
    """

    def __init__(self, message: str, *, is_permanent: bool = True) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


# Where the package is not called as its module.
PACKAGES = {
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


def import_hint(error: BaseException, folder: Path | None = None) -> str:
    """Return what to write or to install for a module that was not found.

    Nothing for other errors. A module that is a file of `folder`, the endpoints folder, has to be
    imported from there: a package of the same name is a stranger's.
    """
    if isinstance(error, ModuleNotFoundError) and error.name and "pip install" not in str(error):
        top, _, inner = error.name.partition(".")
        if folder is not None and inner and top == folder.name:
            return f"; there is no {inner.replace('.', '/')}.py beside it"
        if folder is not None and is_in(folder, top):
            return f"; {top} is beside it: write from {folder.name} import {top}"
        return f"; pip install {PACKAGES.get(top, top)}"
    if isinstance(error, AttributeError) and folder is not None:
        missing = re.match(r"module '(\w+)' has no attribute '(\w+)'", str(error))
        if missing and missing[1] == folder.name and is_in(folder, missing[2]):
            return f"; write from {folder.name} import {missing[2]}"
    return ""


def is_in(folder: Path, module: str) -> bool:
    """Say whether a folder holds a module or package of that name."""
    try:
        return (folder / f"{module}.py").is_file() or (folder / module).is_dir()
    except (OSError, ValueError):
        return False
