"""The scoreboard's work as an MLServer runtime. Runs in MLServer's own virtual environment."""

from __future__ import annotations

import fault_work
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, ResponseOutput


class Work(MLModel):
    """The model that is hit by the faults; the one beside it is called "other"."""

    async def load(self) -> bool:
        """Called in each worker."""
        fault_work.load(self.name)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The work; the pid travels as a parameter of the answer."""
        fields = {tensor.name: next(iter(tensor.data)) for tensor in payload.inputs}
        answer = fault_work.run(fields)
        output = ResponseOutput(name="result", shape=[1], datatype="FP64", data=[answer["result"]])
        return InferenceResponse(
            model_name=self.name, outputs=[output], parameters=Parameters(pid=answer["pid"])
        )
