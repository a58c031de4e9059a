"""Opens an ONNX model on one thread. Not an endpoint: its name begins with an underscore."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_session(path: Path, endpoint: str) -> Any:
    """Return a session for the model in `path`, for use by this process alone.

    Call it from `_load_model`, in the worker: a session does not survive a fork.

    Raises:
        ImportError: onnxruntime is not installed; the message says how to install it.
        OSError: there is no such file.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ImportError(
            f'{endpoint} needs onnxruntime: pip install "basic_inference_server[models]"'
        ) from error
    if not path.is_file():
        raise FileNotFoundError(f"there is no model at {path}")
    options = onnxruntime.SessionOptions()
    # As many workers as cores is the usual number: threads of their own would only be in the way.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(path), sess_options=options, providers=["CPUExecutionProvider"]
    )
