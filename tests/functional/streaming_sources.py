"""Endpoints that stream or take raw bytes, for the functional tests."""

from __future__ import annotations

# Yields N items, and does something else AT one of them. Says when its generator has ended.
STREAMING = """
import fcntl
import os
import threading
from pathlib import Path

from basic_inference_server import FlaskWorker


class StreamingWorker(FlaskWorker):
    def _predict(self, inputs):
        return self._items(inputs)

    def _items(self, inputs):
        try:
            for number in range(int(inputs.get("N", 3))):
                if str(inputs.get("AT")) in (str(number), "each"):
                    yield from self._act(inputs["DO"])
                yield {"n": number, "pid": os.getpid()}
        finally:
            self.P("closed " + str(inputs.get("ID")))

    def _act(self, deed):
        if deed == "wait":
            with open("gate") as gate:
                fcntl.flock(gate, fcntl.LOCK_SH)
        if deed == "raise":
            raise RuntimeError("the model broke")
        if deed == "object":
            yield object()
        if deed == "kill" or (deed == "die once" and not Path("died").exists()):
            if deed == "die once":
                Path("died").touch()
            os.kill(os.getpid(), 9)
        if deed == "exit":
            os._exit(7)
        if deed == "hang":
            threading.Event().wait(60)
        if deed == "pause":
            threading.Event().wait(1)
        if deed == "much":
            for _ in range(400):
                yield "x" * 100_000
        if deed == "flood":
            while True:
                yield "x" * 100_000
"""

# Streams the answers of a batch, which cannot be.
BATCHED = """
from basic_inference_server import FlaskWorker


class BatchedWorker(FlaskWorker):
    def _predict_batch(self, prepared):
        return [(item for item in range(3)) for _ in prepared]
"""

# Says what raw bytes it was sent, or sends some.
RAW = """
import hashlib
import os
from pathlib import Path

from basic_inference_server import Binary, FlaskWorker


def shown(value):
    if isinstance(value, list):
        return [shown(one) for one in value]
    if not isinstance(value, Binary):
        return value
    digest = hashlib.sha256(value.content).hexdigest()
    return [len(value), digest, value.content_type, value.file_name]


class RawWorker(FlaskWorker):
    def _predict(self, inputs):
        deed = inputs.get("DO")
        count = Path("count." + str(inputs.get("ID")))
        if deed in ("exit", "once"):
            with count.open("a") as file:
                file.write("x")
        if deed == "exit" or deed == "once" and count.read_text() == "x":
            os._exit(9)
        if deed == "echo":
            body = inputs["BODY"]
            return Binary(body.content, body.content_type, inputs.get("NAME"))
        if deed == "make":
            return Binary(b"y" * int(inputs["SIZE"]), "application/x-made", inputs.get("NAME"))
        if deed == "nested":
            return {"made": Binary(b"\\0\\xff")}
        if deed == "wrong":
            return Binary(b"", "no\\r\\ntype")
        return {"pid": os.getpid(), "got": {name: shown(value) for name, value in inputs.items()}}
"""

# Checks what it is sent.
UPLOADS = """
from pydantic import BaseModel, Field

from basic_inference_server import Binary, FlaskWorker


class Upload(BaseModel):
    FILE: Binary | None = None
    BODY: Binary | None = None
    TOP: int = Field(1, le=10)


class UploadsWorker(FlaskWorker):
    INPUT = Upload

    def _predict(self, inputs):
        file = inputs.FILE or inputs.BODY
        return {"size": len(file), "top": inputs.TOP}
"""

# Asks another endpoint.
ASKING = """
from basic_inference_server import Binary, CallError, FlaskWorker


class AskingWorker(FlaskWorker):
    def _predict(self, inputs):
        ask = dict(inputs.get("ASK", {}))
        if "SEND" in inputs:
            ask["BODY"] = Binary(inputs["SEND"].encode(), inputs.get("TYPE", "text/plain"))
        try:
            answer = self.call(inputs["TO"], ask)
        except CallError as error:
            return {"failed": [error.status, error.code, str(error)]}
        if isinstance(answer, Binary):
            return {"binary": [bytes(answer).decode(), answer.content_type, answer.file_name]}
        return {"answer": answer}
"""
