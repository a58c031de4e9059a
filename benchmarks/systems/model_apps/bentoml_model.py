"""The work of batching.py and onnx_mlp.py as a BentoML service."""

# No `from __future__ import annotations`: BentoML reads the types of an API when it is defined.
from typing import Any, List  # noqa: UP035

import bentoml
import model_work

batching: dict[str, Any] = {"batchable": model_work.BATCH_SIZE > 1}
if model_work.BATCH_SIZE > 1:
    # Its dispatcher tunes the wait itself; this is the latency that it must not plan beyond.
    batching |= {"max_batch_size": model_work.BATCH_SIZE, "max_latency_ms": 1000}


@bentoml.service(workers=2)
class Model:
    """Each request is a batch of one row; BentoML joins those of several where it batches."""

    def __init__(self) -> None:
        self.model = model_work.Model()

    @bentoml.api(route="/run", **batching)
    def run(self, rows: List[List[float]]) -> List[List[float]]:  # noqa: UP006
        """The work."""
        return self.model.predict(rows)
