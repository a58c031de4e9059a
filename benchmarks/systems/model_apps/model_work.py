"""The work that every system of batching.py and onnx_mlp.py serves. Copied beside each server.

`MODEL_WORK` says which: "sleep" costs 20 ms a batch, whatever its size, and holds no processor;
"mlp" is the ONNX model beside this file, on one thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SLEEP_S = 0.02
KIND = os.environ["MODEL_WORK"]
BATCH_SIZE = int(os.environ["MODEL_BATCH"])
WAIT_MS = float(os.environ["MODEL_WAIT_MS"])
MODEL = Path(__file__).resolve().with_name("mlp.onnx")


class Model:
    """What a worker loads once."""

    def __init__(self) -> None:
        self._session = _open_session() if KIND == "mlp" else None

    def predict(self, rows: Sequence[Any]) -> list[list[float]]:
        """Answer each row of inputs with a row of outputs, all in one go."""
        if self._session is None:
            time.sleep(SLEEP_S)
            return [[1.0]] * len(rows)
        import numpy as np  # noqa: PLC0415 - only where it is used

        answers = self._session.run(None, {"x": np.asarray(rows, dtype=np.float32)})[0]
        outputs: list[list[float]] = answers.tolist()
        return outputs


def _open_session() -> Any:
    import onnxruntime  # noqa: PLC0415 - the same

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(MODEL), sess_options=options, providers=["CPUExecutionProvider"]
    )
