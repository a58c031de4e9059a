"""What an author reads after a mistake, over HTTP: one sentence that says what to change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.gateways import shared_gateway
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway

WORKER = """
from basic_inference_server import FlaskWorker


class {name}Worker(FlaskWorker):
{body}
"""
PREDICT = "    def _predict(self, inputs):\n        return inputs\n"


def source(name: str, body: str) -> str:
    return WORKER.format(name=name, body=body)


BROKEN = {
    "renamed": source("Other", PREDICT),
    "plain": "class PlainWorker:\n    pass\n",
    "empty": source("Empty", "    pass\n"),
    "few": source("Few", PREDICT.replace("self, inputs", "self")),
    "shared": source("Shared", f"    def _load_shared(self, config):\n        pass\n\n{PREDICT}"),
    "config": "_CONFIG = [1]\n" + source("Config", PREDICT),
    "syntax": source("Syntax", PREDICT.replace("return", "retrun")),
    "top": "import not_there_at_all\n" + source("Top", PREDICT),
    "aside": "from helper import VALUE\n" + source("Aside", PREDICT),
    "later": source("Later", f"    def _load_model(self):\n        import helper\n\n{PREDICT}"),
    "lazy": source(
        "Lazy", f"    def _load_model(self):\n        import cv2_not_there\n\n{PREDICT}"
    ),
    "alone": source("Alone", f"    def __init__(self, **kwargs):\n        pass\n\n{PREDICT}"),
}
RUNNING = {
    "__init__": "",
    "helper": "VALUE = 5\n" + source("Helper", PREDICT),
    "itself": "import endpoints\nfrom endpoints.helper import VALUE\n" + source("Itself",
        PREDICT.replace("return inputs", "return {'is': endpoints.itself.VALUE}")),
    "object": source("Object", PREDICT.replace("return inputs", "return {'x': object()}")),
    "forgets": source("Forgets", "    def _pre_process(self, inputs):\n        inputs['X'] = 1\n\n"
                      + PREDICT.replace("return inputs", "return inputs['X']")),
    "stops": source("Stops", PREDICT.replace("return inputs", "breakpoint()")),
    "status": source("Status", PREDICT.replace("return inputs", "return {'why': 'none'}, 404")),
}  # fmt: skip
SENTENCES = {
    "renamd": "there is no renamd.py in endpoints; did you mean renamed? it holds ",
    "renamed": "has no class RenamedWorker(FlaskWorker); it has OtherWorker: rename it",
    "plain": "PlainWorker must be a subclass of basic_inference_server.FlaskWorker",
    "empty": "EmptyWorker needs a method _predict(self, prep_inputs), or _predict_batch(self, pre",
    "few": "FewWorker._predict(self) does not take what the engine gives it: write def _predict(",
    "shared": "SharedWorker._load_shared has to be a class method, it runs before there is a work",
    "config": "_CONFIG must be a dict, not list",
    "syntax": "endpoints/syntax.py:6: syntax error: invalid syntax",
    "top": "No module named 'not_there_at_all'; pip install not_there_at_all",
    "aside": "No module named 'helper'; helper is beside it: write from endpoints import helper",
    "later": "No module named 'helper'; helper is beside it: write from endpoints import helper",
    "lazy": "No module named 'cv2_not_there'; pip install cv2_not_there",
    "alone": "AloneWorker.__init__ has to begin with super().__init__(**kwargs)",
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("mistakes")
    endpoints: dict[str, Any] = {name: {} for name in (*SENTENCES, *RUNNING) if name != "__init__"}
    with shared_gateway(folder, endpoints, {**BROKEN, **RUNNING}) as gateway:
        yield gateway


@pytest.mark.parametrize("signature", SENTENCES)
def test_endpoint_that_cannot_be_loaded_says_what_to_change(
    gateway: RunningGateway, signature: str
) -> None:
    """It has failed for good, and nobody else has."""
    eventually(lambda: gateway.servers()[signature]["state"] == "FAILED")
    error = check_error("not_ready", gateway.run(signature))["ERROR"]
    assert SENTENCES[signature] in error
    assert str(gateway.base_folder) not in error


@pytest.mark.parametrize(
    ("signature", "sentence"),
    [
        ("object", "object returned something that cannot be written as JSON: object"),
        ("stops", "BdbQuit: a worker has no terminal for a debugger such as breakpoint(); run the"),
        ("status", "returned a dict and the status 404, but an endpoint cannot give a status. Rai"),
        ("forgets", "not subscriptable; ForgetsWorker._pre_process returned None"),
    ],
)
def test_request_that_fails_says_what_to_change(
    gateway: RunningGateway, signature: str, sentence: str
) -> None:
    """Where it shows only then; the worker goes on."""
    for _ in range(2):
        assert sentence in check_error("endpoint_error", gateway.run(signature))["ERROR"]


def test_endpoint_is_an_attribute_of_its_package(gateway: RunningGateway) -> None:
    """`import endpoints` and then `endpoints.<name>` works, as after any import."""
    eventually(lambda: gateway.servers()["itself"]["state"] in {"READY", "FAILED"})
    assert 5 == gateway.run("itself").json()["is"]
