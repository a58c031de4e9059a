"""`analyze` asks the other bundled endpoints; what is missing is told and takes nothing along."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from basic_inference_server.testing import RunningGateway, running_gateway
from tests.support.eventually import eventually

pytestmark = pytest.mark.shares_gateway

ROOT = Path(__file__).resolve().parents[2]
ASKED = ("langid", "keywords", "entity_fishing", "sentiment", "summarization")
PARTS = ["keywords", "entities", "sentiment", "summary"]
ENGLISH = "Siemens builds an excellent solar plant in Romania. Solar panels are cheap and reliable."
ROMANIAN = "Guvernul României a aprobat bugetul pentru spitalele publice din județe."
PART_TIMEOUT_S = 2
# VADER's time grows with the square of such a text's length: minutes, with the limit raised.
ENDLESS = "The panels are good but bad. " * 1_500


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("analyze")
    for name in ("run_gateway.py", "app_ver.py", "endpoints"):
        (folder / name).symlink_to(ROOT / name)
    sections: dict[str, Any] = {name: {"TIMEOUT": PART_TIMEOUT_S} for name in ASKED}
    sections["sentiment"]["MAX_CHARS"] = 50_000
    sections["analyze"] = {"TIMEOUT": 20}
    (folder / "config_gateway.txt").write_text(json.dumps({"CONFIG_ENDPOINTS": sections}))
    command = [sys.executable, "run_gateway.py", "--host", "127.0.0.1", "--port", "0"]
    with running_gateway(folder, command=command) as running:
        yield running


def analyze(gateway: RunningGateway, text: str = ENGLISH, **fields: Any) -> Any:
    response = gateway.run("analyze", TEXT=text, **fields)
    assert 200 == response.status_code, response.text
    return response.json()


@contextmanager
def killed(gateway: RunningGateway, signature: str) -> Iterator[None]:
    """Have an endpoint stopped for the length of a `with` block."""
    assert 200 == gateway.post("/kill_server", {"SIGNATURE": signature}).status_code
    try:
        yield
    finally:
        assert 200 == gateway.post("/start_server", {"SIGNATURE": signature}).status_code


@contextmanager
def replaced(gateway: RunningGateway, signature: str) -> Iterator[None]:
    """Expect an endpoint's worker to end in a `with` block; wait for the next one."""
    (pid,) = gateway.servers()[signature]["worker_pids"]
    yield

    def is_replaced() -> bool:
        server = gateway.servers()[signature]
        return server["state"] == "READY" and pid not in server["worker_pids"]

    eventually(is_replaced, what=f"{signature} has another worker")


def analyze_soon(gateway: RunningGateway, timeout_s: float, **fields: Any) -> requests.Response:
    return requests.post(
        f"{gateway.url}/run", json={"SIGNATURE": "analyze", **fields},
        headers={"X-Request-Timeout": str(timeout_s)}, timeout=60,
    )  # fmt: skip


def test_parts_are_what_the_endpoints_answer(gateway: RunningGateway) -> None:
    """All of them in one answer, and none of them changed."""
    answer = analyze(gateway)
    assert ("en", PARTS, {}, {}) == (
        answer["language"], list(answer["parts"]), answer["errors"], answer["left_out"],
    )  # fmt: skip
    langid = gateway.run("langid", TEXT=ENGLISH).json()
    assert langid["score"] == answer["language_score"]
    for part, signature in [
        ("keywords", "keywords"), ("entities", "entity_fishing"), ("summary", "summarization")
    ]:  # fmt: skip
        alone = gateway.run(signature, TEXT=ENGLISH, LANGUAGE="en").json()
        assert alone[part] == answer["parts"][part]
    sentiment = gateway.run("sentiment", TEXT=ENGLISH).json()
    assert answer["parts"]["sentiment"].items() <= sentiment.items()
    assert "positive" == answer["parts"]["sentiment"]["label"]


def test_romanian_text_has_no_sentiment(gateway: RunningGateway) -> None:
    """What does not read the language is left out with the reason, and is no error."""
    answer = analyze(gateway, ROMANIAN)
    assert ("ro", ["keywords", "entities", "summary"], {}) == (
        answer["language"], list(answer["parts"]), answer["errors"],
    )  # fmt: skip
    assert {"sentiment": "it reads en only; the text is in ro"} == answer["left_out"]
    assert ["Romania"] == [entity["label"] for entity in answer["parts"]["entities"]]


def test_only_the_parts_asked_for_are_made(gateway: RunningGateway) -> None:
    """The others' endpoints are not called."""
    before = gateway.run("keywords", TEXT=ENGLISH).json()["call_id"]
    answer = analyze(gateway, PARTS=["summary"])
    assert ["summary"] == list(answer["parts"])
    assert before + 1 == gateway.run("keywords", TEXT=ENGLISH).json()["call_id"]


def test_refused_part_is_told_with_its_sentence(gateway: RunningGateway) -> None:
    """A text too long for one part is analyzed by the others."""
    answer = analyze(gateway, "The solar panels of the town work well. " * 1_500)
    assert ["keywords", "entities", "summary"] == list(answer["parts"])
    assert ["sentiment"] == list(answer["errors"])
    error = answer["errors"]["sentiment"]
    assert ("sentiment", 422, "bad_input") == (error["signature"], error["status"], error["code"])
    assert "TEXT has 60000 characters; at most 50000 are taken" in error["message"]


@pytest.mark.parametrize(
    ("signature", "part"), [("summarization", "summary"), ("langid", "language")]
)
def test_endpoint_that_is_down_costs_its_part(
    gateway: RunningGateway, signature: str, part: str
) -> None:
    """The others come; without a language those that recognise it themselves do.

    For a second after the stop the caller believes that the endpoint serves, and then asks again.
    """
    assert {} == analyze(gateway)["errors"]
    with killed(gateway, signature):
        answer = analyze_soon(gateway, 8.0, TEXT=ENGLISH).json()
        assert [part] == list(answer["errors"])
        error = answer["errors"][part]
        assert (signature, 503, "not_ready") == (error["signature"], error["status"], error["code"])
        left_out = ["sentiment"] if part == "language" else []
        assert left_out == list(answer["left_out"])
        assert [name for name in PARTS if name not in {part, *left_out}] == list(answer["parts"])
    eventually(lambda: analyze(gateway)["errors"] == {})


def test_death_costs_its_part(gateway: RunningGateway) -> None:
    """A worker that is killed while it works on one part takes nothing else along."""
    (pid,) = gateway.servers()["sentiment"]["worker_pids"]
    with replaced(gateway, "sentiment"), ThreadPoolExecutor(1) as pool:
        running = pool.submit(analyze, gateway, ENDLESS)
        eventually(lambda: gateway.servers()["sentiment"]["busy_workers"] == 1)
        os.kill(pid, signal.SIGKILL)
        answer = running.result(20)
    assert ["keywords", "entities", "summary"] == list(answer["parts"])
    error = answer["errors"]["sentiment"]
    assert (502, "worker_died") == (error["status"], error["code"])


def test_hanging_part_is_told_when_its_own_time_is_over(gateway: RunningGateway) -> None:
    """The TIMEOUT is that of the part's endpoint; the others wait for it and come."""
    with replaced(gateway, "sentiment"):
        answer = analyze(gateway, ENDLESS)
    assert ["keywords", "entities", "summary"] == list(answer["parts"])
    # Its worker is ended when its time is over; the caller may see either.
    assert answer["errors"]["sentiment"]["code"] == "deadline_exceeded", answer["errors"]


def test_short_deadline_is_kept(gateway: RunningGateway) -> None:
    """A caller that cannot wait for a hanging part is told so, and the worker is free again."""
    with replaced(gateway, "sentiment"):
        response = analyze_soon(gateway, 0.4, TEXT=ENDLESS)
    body = response.json()
    # The gateway's own answer, or the analysis with that part missing, whichever was quicker.
    codes = {body.get("code"), *(one["code"] for one in body.get("errors", {}).values())}
    assert "deadline_exceeded" in codes, body
    assert "sentiment" not in body.get("parts", {})
    eventually(lambda: gateway.servers()["analyze"]["busy_workers"] == 0)
    assert {} == analyze(gateway)["errors"]
