"""The work of batching.py and onnx_mlp.py as a LitServe server."""

from __future__ import annotations

import os
from typing import Any

import litserve
import model_work


class Work(litserve.LitAPI):
    """With `max_batch_size` above 1 LitServe hands over what `batch` returns."""

    def setup(self, device: str) -> None:
        """Called in each worker."""
        self.model = model_work.Model()

    def batch(self, inputs: list[Any]) -> list[Any]:
        """Requests stay a list; the model makes one array of their rows."""
        return list(inputs)

    def predict(self, inputs: Any) -> Any:
        """The work."""
        if model_work.BATCH_SIZE == 1:
            return self.model.predict([inputs["INPUT"]])[0]
        return self.model.predict([fields["INPUT"] for fields in inputs])

    def unbatch(self, output: list[Any]) -> list[Any]:
        """One output for each row."""
        return output

    def encode_response(self, output: Any) -> dict[str, Any]:
        """The answer of one request."""
        return {"output": output}


def main() -> None:
    """Serve until stopped."""
    batching: dict[str, Any] = {}
    if model_work.BATCH_SIZE > 1:
        wait_s = model_work.WAIT_MS / 1000
        batching = {"max_batch_size": model_work.BATCH_SIZE, "batch_timeout": wait_s}
    server = litserve.LitServer(
        Work(api_path="/run", **batching),
        accelerator="cpu",
        workers_per_device=2,
        fast_queue=os.environ["LITSERVE_FAST_QUEUE"] == "1",
    )
    port = int(os.environ["MODEL_PORT"])
    server.run(host="127.0.0.1", port=port, generate_client_file=False)


if __name__ == "__main__":
    main()
