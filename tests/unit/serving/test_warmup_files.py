"""Unit tests of the files that inputs of `WARMUP` may name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from basic_inference_server import Binary, FlaskWorker
from basic_inference_server.serving.warmup import warm_up
from basic_inference_server.worker.flask_worker import WorkerContext
from basic_inference_server.worker.load_error import EndpointLoadError


class KeepWorker(FlaskWorker):
    def _pre_process(self, inputs: dict[str, Any]) -> Any:
        self.kept = inputs
        return inputs

    def _predict(self, prepared: Any) -> Any:
        return {}


def test_file_reaches_the_endpoint_as_a_request_would_bring_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its type and name, several of one field too; every other input stays as it is."""
    (tmp_path / "one.png").write_bytes(b"\x89PNG")
    monkeypatch.chdir(tmp_path)
    worker = KeepWorker(WorkerContext(signature="keep"))
    one = {"$file": "one.png"}
    typed = {**one, "$type": "a/b"}
    written = {"BODY": one, "MORE": [typed, one], "TEXT": "x", "BOX": {"file": "one.png"}}
    warm_up(worker, [written], lambda loaded: loaded)
    body, more = worker.kept.pop("BODY"), worker.kept.pop("MORE")
    assert {"SIGNATURE": "keep", "TEXT": "x", "BOX": {"file": "one.png"}} == worker.kept
    assert [("image/png", "one.png"), ("a/b", "one.png"), ("image/png", "one.png")] == [
        (file.content_type, file.file_name) for file in (body, *more)
    ]
    assert isinstance(body, Binary)
    assert b"\x89PNG" == bytes(body)


@pytest.mark.parametrize(
    ("value", "reason", "is_permanent"),
    [
        ({"$file": "gone.png"}, "gone.png cannot be read: No such file or directory", False),
        ({"$file": 5}, 'a file is written as {"$file": "a path"}', True),
        ({"$file": "x", "$typ": "a/b"}, 'a file is written as {"$file": "a path"}', True),
    ],
)
def test_file_that_is_not_there_is_a_load_failure(
    value: Any, reason: str, is_permanent: bool
) -> None:
    """Which says where in `WARMUP` it is named."""
    worker = KeepWorker(WorkerContext())
    with pytest.raises(EndpointLoadError) as caught:
        warm_up(worker, [{}, {"BODY": value}], lambda loaded: loaded)
    assert str(caught.value).startswith(f"WARMUP[1].BODY: {reason}")
    assert is_permanent is caught.value.is_permanent
