"""Demonstration endpoint: a linear "model" with one weight and one bias, both 0 by default."""

from __future__ import annotations

from typing import Any

from basic_inference_server import FlaskWorker

_CONFIG: dict[str, Any] = {
    "WEIGHT": 0,
    "BIAS": 0,
}


def as_whole_number(value: Any) -> int:
    """Return `value` as an integer, cutting off a fraction.

    Raises:
        ValueError: `value` is no number and no text of a whole number.
    """
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"INPUT_VALUE should be a number, not {value!r:.100}") from error


class DummyModelDemo2Worker(FlaskWorker):
    """Shows the four hooks without a model object; needs `INPUT_VALUE`, a number."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[DUMB]", **kwargs)

    def _load_model(self) -> None:
        """Nothing to load: the model is `WEIGHT` and `BIAS` of the configuration."""

    def _pre_process(self, inputs: dict[str, Any]) -> tuple[Any, int]:
        if "INPUT_VALUE" not in inputs:
            raise ValueError("INPUT_VALUE should be defined in inputs")
        return inputs["INPUT_VALUE"], as_whole_number(inputs["INPUT_VALUE"])

    def _predict(self, prep_inputs: tuple[Any, int]) -> str:
        shown, number = prep_inputs
        weight, bias = self.cfg_weight, self.cfg_bias
        self._create_notification(
            notif="log",
            msg=f"Predicting on usr_input: {shown!r:.200} using weight {weight} and bias {bias}",
        )
        return f"{shown}*{weight} + {bias} = {number * weight + bias} PREDICTED"

    def _post_process(self, pred: str) -> dict[str, Any]:
        return {"dummy_model_predict": pred}
