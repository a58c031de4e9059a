"""One request through every process."""

from __future__ import annotations

from collections.abc import Callable

from basic_inference_server.testing import RunningGateway


def test_run_reaches_the_endpoint_and_answers(launch: Callable[..., RunningGateway]) -> None:
    """`POST /run` is answered by the endpoint that SIGNATURE names, with metadata beside."""
    gateway = launch()
    response = gateway.run("echo", INPUT_VALUE="5")
    answer = response.json()
    assert (200, 11) == (response.status_code, answer["result"])
    assert {"time", "ver", "ver_lib", "signature", "worker_id", "call_id"} <= answer.keys()
    assert 0 == gateway.stop()
