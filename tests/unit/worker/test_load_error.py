"""Unit tests of the hint what to install."""

from __future__ import annotations

import pytest

from basic_inference_server.worker.load_error import install_hint


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        pytest.param(ModuleNotFoundError("No module named 'gensim'", name="gensim"),
                     "; pip install gensim", id="package"),
        pytest.param(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"),
                     "; pip install torch", id="inside a package"),
        pytest.param(ModuleNotFoundError("No module named 'cv2'", name="cv2"),
                     "; pip install opencv-python-headless", id="package with another name"),
        pytest.param(ModuleNotFoundError("No module named 'endpoints._x'", name="endpoints._x"),
                     "; there is no _x.py beside it", id="own file"),
        pytest.param(ModuleNotFoundError("No module named 'endpoints'", name="endpoints"),
                     "; pip install endpoints", id="the folder itself"),
        pytest.param(ModuleNotFoundError("it needs: pip install a", name="a"), "", id="said"),
        pytest.param(ModuleNotFoundError("gone"), "", id="no name"),
        pytest.param(ImportError("cannot import name 'x' from 'y'", name="y"), "", id="no such"),
        pytest.param(ValueError("no"), "", id="another error"),
    ],
)  # fmt: skip
def test_hint_names_what_is_missing(error: BaseException, hint: str) -> None:
    """Only for a module that is not there, and only when nobody has said it."""
    assert hint == install_hint(error, "endpoints")
