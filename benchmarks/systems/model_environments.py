"""Virtual environments of the peers with onnxruntime in them, in our own versions of it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from systems.environments import CACHE_FOLDER, Environment


def _ours(package: str) -> str:
    """The same version as this gateway runs with, so that only the server differs."""
    return f"{package}=={metadata.version(package)}"


class ModelEnvironment(Environment):
    """Beside the scoreboard's environment of the same package, which has no onnxruntime."""

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        return CACHE_FOLDER / f"{self.package}-{self.version}-models"


def _with_models(package: str, version: str) -> ModelEnvironment:
    return ModelEnvironment(package, version, (_ours("onnxruntime"), _ours("numpy")))


MOSEC = _with_models("mosec", "0.9.8")
LITSERVE = _with_models("litserve", "0.2.19")
BENTOML = _with_models("bentoml", "1.4.39")
# Writes the model; no server has it.
ONNX = ModelEnvironment("onnx", "1.23.2", (_ours("numpy"),))
