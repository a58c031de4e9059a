"""The echo work as an endpoint of this gateway."""

from __future__ import annotations

from typing import Any

from basic_inference_server import FlaskWorker


class EchoWorker(FlaskWorker):
    """Answers twice the value plus one."""

    def _load_model(self) -> None:
        """There is nothing to load."""

    def _pre_process(self, inputs: dict[str, Any]) -> int:
        return int(inputs["INPUT_VALUE"])

    def _predict(self, prep_inputs: int) -> int:
        return prep_inputs * 2 + 1

    def _post_process(self, pred: int) -> dict[str, int]:
        return {"result": pred}
