"""The work of batching.py and onnx_mlp.py as a mosec server."""

from __future__ import annotations

from typing import Any

import model_work
from mosec import Server, Worker


class Work(Worker):
    """With `max_batch_size` above 1 mosec hands over lists."""

    def __init__(self) -> None:
        self.model = model_work.Model()

    def forward(self, data: Any) -> Any:
        """The work."""
        if model_work.BATCH_SIZE == 1:
            return {"output": self.model.predict([data["INPUT"]])[0]}
        outputs = self.model.predict([fields["INPUT"] for fields in data])
        return [{"output": output} for output in outputs]


if __name__ == "__main__":
    server = Server()
    batching = {}
    if model_work.BATCH_SIZE > 1:
        wait_ms = max(1, round(model_work.WAIT_MS))
        batching = {"max_batch_size": model_work.BATCH_SIZE, "max_wait_time": wait_ms}
    server.append_worker(Work, num=2, route="/run", **batching)
    server.run()
