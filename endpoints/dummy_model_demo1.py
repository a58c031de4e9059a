"""Demonstration endpoint: a placeholder model that finds the same similar word for every input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from basic_inference_server import FlaskWorker

if TYPE_CHECKING:
    from basic_inference_server import Logger

_CONFIG: dict[str, Any] = {
    "WEIGHT": 0,
    "BIAS": 0,
    "PLACEHOLDER_MODEL": True,
}

__WORKER_VER__ = "1.2.1"

DEFAULT_LANGUAGE = "ro"


class PlaceholderModel:
    """Stands where a word model would be and always gives the same answer."""

    def __init__(self, log: Logger) -> None:
        log.P("******** Using a model placeholder *********", color="r")

    def get_similar(self, word: Any, lang: Any) -> str:
        """Return a word similar to `word`: here one constant, whatever is asked."""
        del word, lang
        return "same-word-always"


class DummyModelDemo1Worker(FlaskWorker):
    """Shows the four hooks with a model object; needs `INPUT_VALUE`, takes `LANGUAGE`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(prefix_log="[DUMA]", **kwargs)

    def _load_model(self) -> None:
        self.nlp_model = PlaceholderModel(log=self.log)

    def _pre_process(self, inputs: dict[str, Any]) -> tuple[Any, Any]:
        if "INPUT_VALUE" not in inputs:
            raise ValueError("INPUT_VALUE should be defined in inputs")
        language = inputs.get("LANGUAGE", inputs.get("language", DEFAULT_LANGUAGE))
        return inputs["INPUT_VALUE"], language

    def _predict(self, prep_inputs: tuple[Any, Any]) -> tuple[str, tuple[Any, Any]]:
        self._create_notification(
            notif="log",
            msg=f"Predicting on usr_input: {prep_inputs!r:.200}",
        )
        word, language = prep_inputs
        return self.nlp_model.get_similar(word=word, lang=language), prep_inputs

    def _post_process(self, pred: tuple[str, tuple[Any, Any]]) -> dict[str, Any]:
        similar_word, (input_value, language) = pred
        return {
            "dummy_model_a_predict": similar_word,
            "inputs": {"INPUT_VALUE": input_value, "LANGUAGE": language},
            "worker_ver": __WORKER_VER__,
        }
