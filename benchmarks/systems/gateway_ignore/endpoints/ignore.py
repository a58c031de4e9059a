"""An endpoint that looks at nothing it is sent, so that only the way there is measured."""

from __future__ import annotations

from typing import Any

from basic_inference_server import FlaskWorker


class IgnoreWorker(FlaskWorker):
    """Answers that it was called."""

    def _load_model(self) -> None:
        """There is nothing to load."""

    def _pre_process(self, inputs: dict[str, Any]) -> None:
        return None

    def _predict(self, prep_inputs: None) -> None:
        return None

    def _post_process(self, pred: None) -> dict[str, bool]:
        return {"called": True}
