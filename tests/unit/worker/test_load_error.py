"""Unit tests of the hint what to write or to install for a missing module."""

from __future__ import annotations

from pathlib import Path

import pytest

from basic_inference_server.worker.load_error import import_hint


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
        pytest.param(ModuleNotFoundError("No module named 'helper'", name="helper"),
                     "; helper is beside it: write from endpoints import helper", id="beside it"),
        pytest.param(ModuleNotFoundError("No module named 'kit.x'", name="kit.x"),
                     "; kit is beside it: write from endpoints import kit", id="folder beside it"),
        pytest.param(
            AttributeError("module 'endpoints' has no attribute 'helper'"),
            "; write from endpoints import helper", id="not imported"),
        pytest.param(AttributeError("module 'endpoints' has no attribute 'no'"),
                     "", id="no such file"),
        pytest.param(AttributeError("module 'numpy' has no attribute 'helper'"),
                     "", id="of another module"),
        pytest.param(ModuleNotFoundError("it needs: pip install a", name="a"), "", id="said"),
        pytest.param(ModuleNotFoundError("gone"), "", id="no name"),
        pytest.param(ImportError("cannot import name 'x' from 'y'", name="y"), "", id="no such"),
        pytest.param(ValueError("no"), "", id="another error"),
    ],
)  # fmt: skip
def test_hint_names_what_is_missing(tmp_path: Path, error: BaseException, hint: str) -> None:
    """A file of the endpoints folder is never taken for a package, which would be a stranger's."""
    folder = tmp_path / "endpoints"
    (folder / "kit").mkdir(parents=True)
    (folder / "helper.py").touch()
    assert hint == import_hint(error, folder)
