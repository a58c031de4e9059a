"""The work of batching.py and onnx_mlp.py as an endpoint of this gateway."""

from __future__ import annotations

from typing import Any

import model_work

from basic_inference_server import FlaskWorker


class ModelWorker(FlaskWorker):
    """Executed alone or in batches, as BATCH_SIZE says."""

    def _load_model(self) -> None:
        self.model = model_work.Model()

    def _predict(self, prep_inputs: dict[str, Any]) -> dict[str, Any]:
        return self._predict_batch([prep_inputs])[0]

    def _predict_batch(self, prepared: list[dict[str, Any]]) -> list[dict[str, Any]]:
        outputs = self.model.predict([inputs["INPUT"] for inputs in prepared])
        return [{"output": output} for output in outputs]
