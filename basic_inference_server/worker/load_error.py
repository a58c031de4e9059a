"""Why an endpoint could not be loaded, in one sentence that says what to change."""

from __future__ import annotations


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


def install_hint(error: BaseException, own_folder: str = "") -> str:
    """Return what to install for a module that is missing; nothing for other errors.

    A module of `own_folder`, the endpoints folder, is a file that is not there.
    """
    if not isinstance(error, ModuleNotFoundError) or not error.name or "pip install" in str(error):
        return ""
    top, _, inner = error.name.partition(".")
    if inner and top == own_folder:
        return f"; there is no {inner.replace('.', '/')}.py beside it"
    return f"; pip install {PACKAGES.get(top, top)}"
