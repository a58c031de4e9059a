"""Raw bodies, files and `Binary` answers over HTTP: not a byte changed, and hardly one copied."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from basic_inference_server.testing import RunningGateway
from tests.functional.answers import check_error
from tests.functional.gateways import shared_gateway
from tests.functional.streaming_sources import ASKING, RAW, UPLOADS
from tests.support.eventually import eventually
from tests.support.processes import role

pytestmark = pytest.mark.shares_gateway
ENDPOINTS: dict[str, dict[str, Any]] = {
    "raw": {}, "twice": {"SERVER_CLASS": "raw", "IDEMPOTENT": True},
    "large": {"SERVER_CLASS": "raw"}, "uploads": {}, "asking": {},
}  # fmt: skip
FILES = {"raw": RAW, "uploads": UPLOADS, "asking": ASKING}
ANY = bytes(range(256))
PNG = {"Content-Type": "image/png"}
SIZE = 64_000_000
COPY_KB, LEAST_KB = SIZE * 1.3 / 1024, SIZE * 0.9 / 1024


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with shared_gateway(tmp_path_factory.mktemp("raw"), ENDPOINTS, FILES) as gateway:
        yield gateway


@pytest.fixture
def post(gateway: RunningGateway) -> Callable[..., requests.Response]:
    def _post(path: str, data: Any = None, **more: Any) -> requests.Response:
        return requests.post(gateway.url + path, data, timeout=30, **more)

    return _post


Post = Callable[..., requests.Response]


def seen(content: bytes, content_type: str, name: str | None = None) -> list[Any]:
    return [len(content), hashlib.sha256(content).hexdigest(), content_type, name]


@pytest.mark.parametrize("content", [b"", b'{"A":1}', b"A=1", ANY * 1000],
                         ids=["empty", "JSON", "form", "any bytes"])  # fmt: skip
def test_body_of_any_other_type_arrives_as_it_is(post: Post, content: bytes) -> None:
    """Beside the fields of the query, which are texts."""
    got = post("/run/raw?TOP=3&BODY=no", content, headers=PNG).json()["got"]
    assert {"SIGNATURE": "raw", "TOP": "3", "BODY": seen(content, "image/png")} == got


def test_body_in_chunks_arrives_whole(post: Post) -> None:
    """A client that reads from a pipe knows no length."""
    parts = [ANY[place : place + 7] for place in range(0, 256, 7)]
    assert (
        seen(ANY, "image/png") == post("/run/raw", iter(parts), headers=PNG).json()["got"]["BODY"]
    )


def test_body_names_its_endpoint_in_the_path_the_query_or_by_the_port(
    gateway: RunningGateway, post: Post
) -> None:
    """Whatever the case is; nowhere is an answer that says what to do."""
    expected = seen(ANY, "image/png")
    assert expected == post("/run?SIGNATURE=raw", ANY, headers=PNG).json()["got"]["BODY"]
    own = f"http://127.0.0.1:{gateway.server_ports['raw']}/run"
    answer = requests.post(own, ANY, headers=PNG, timeout=60).json()
    assert ({"SIGNATURE", "BODY"}, expected) == (answer["got"].keys(), answer["got"]["BODY"])
    nowhere = check_error("unsupported_media_type", post("/run", ANY, headers=PNG))
    assert "send it to /run/<signature>" in nowhere["ERROR"]
    check_error("unknown_signature", post("/run?SIGNATURE=none", ANY, headers=PNG))
    check_error("unknown_signature", post("/run/none", ANY, headers=PNG))


@pytest.mark.parametrize("content_type", ["png", "image/", "a/" + "b" * 2000, "a b/c"])
def test_type_that_is_none_is_refused(post: Post, content_type: str) -> None:
    """Before anything is executed."""
    answer = post("/run/raw", ANY, headers={"Content-Type": content_type})
    check_error("unsupported_media_type", answer)


def test_files_and_fields_of_a_form_arrive(post: Post) -> None:
    """As `requests` and browsers send them."""
    answer = post(
        "/run/raw?MORE=query", {"WORDS": "été", "TAGS": ["a", "b"]},
        files=[("FILE", ("../naïve name.png", ANY * 300, "image/png")), ("FILE", ("b", b"", None))],
    )  # fmt: skip
    assert {
        "SIGNATURE": "raw", "MORE": "query", "WORDS": "été", "TAGS": ["a", "b"],
        "FILE": [seen(ANY * 300, "image/png", "naïve name.png"),
                 seen(b"", "application/octet-stream", "b")],
    } == answer.json()["got"]  # fmt: skip


@pytest.mark.parametrize(
    ("content_type", "content"),
    [("multipart/form-data", b""), ("multipart/form-data; boundary=b", b"--b\r\nhalf"),
     ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="A"\r\n'
      b"\r\n\xff\r\n--b--\r\n")],
    ids=["no boundary", "half of it", "field no text"],
)  # fmt: skip
def test_form_that_cannot_be_read_is_bad_input(
    post: Post, content_type: str, content: bytes
) -> None:
    """And the worker goes on."""
    before = post("/run/raw", {}).json()["pid"]
    check_error("bad_input", post("/run/raw", content, headers={"Content-Type": content_type}))
    assert before == post("/run/raw", {}).json()["pid"]


def test_input_model_checks_files_and_raw_bodies(post: Post) -> None:
    """Fields of type `Binary`; texts of the form become numbers, as the model says."""
    answer = post("/run/uploads", {"TOP": "3"}, files={"FILE": ("a", ANY)}).json()
    assert (256, 3) == (answer["size"], answer["top"])
    answer = post("/run/uploads?TOP=4", ANY, headers=PNG).json()
    assert (256, 4) == (answer["size"], answer["top"])
    check_error("bad_input", post("/run/uploads", {"TOP": "11"}, files={"FILE": ("a", ANY)}))
    check_error("bad_input", post("/run/uploads", {"FILE": "text"}))


def test_binary_is_answered_as_it_is(post: Post) -> None:
    """With its type, its length and the name under which it shall be saved."""
    answer = post("/run/raw?DO=echo&NAME=na%C3%AFve%0D%0A%22.png", ANY, headers=PNG)
    assert (200, ANY) == (answer.status_code, answer.content)
    assert ("image/png", "256") == (
        answer.headers["Content-Type"], answer.headers["Content-Length"],
    )  # fmt: skip
    assert (
        "attachment; filename=\"na__ve___.png\"; filename*=UTF-8''na%C3%AFve%0D%0A%22.png"
        == answer.headers["Content-Disposition"]
    )
    assert {"X-Request-Id", "Server-Timing"} <= answer.headers.keys()
    nameless = post("/run/raw?DO=echo", b"", headers=PNG)
    assert (b"", "0") == (nameless.content, nameless.headers["Content-Length"])
    assert "Content-Disposition" not in nameless.headers


def test_binary_in_an_answer_is_base64_and_a_wrong_one_an_error(post: Post) -> None:
    """JSON has no bytes; what cannot stand in a header never gets there."""
    nested = post("/run/raw?DO=nested", ANY, headers=PNG).json()
    assert b"\0\xff" == base64.b64decode(nested["made"])
    error = check_error("endpoint_error", post("/run/raw?DO=wrong", ANY, headers=PNG))
    assert "returned a Binary that cannot be sent" in error["ERROR"]


def test_endpoints_send_each_other_bytes(gateway: RunningGateway) -> None:
    """Also under the type of JSON, and back."""

    def asked(**fields: Any) -> Any:
        return gateway.run("asking", TO="raw", **fields).json()

    for content_type in ("text/plain", "application/json"):
        answer = asked(SEND="[1", TYPE=content_type, ASK={"A": 1})["answer"]["got"]
        assert {"SIGNATURE": "raw", "A": 1, "BODY": seen(b"[1", content_type)} == answer
        echoed = asked(SEND="[1", TYPE=content_type, ASK={"DO": "echo", "NAME": "né"})
        assert ["[1", content_type, "né"] == echoed["binary"]
    assert [422, "bad_input"] == asked(SEND="x", TYPE="a\r\nb")["failed"][:2]
    long_name = asked(SEND="x", ASK={"DO": "echo", "NAME": "x" + "é" * 2000})["binary"][2]
    assert "x" + "é" * 511 == long_name


def test_raw_body_that_kills_its_worker_twice_is_quarantined(
    gateway: RunningGateway, post: Post
) -> None:
    """As any request; the count shows what was executed. With other fields it is another one."""
    target = "/run/raw?DO=exit&ID=deadly"
    for _ in range(2):
        assert "exit code 9" in check_error("worker_died", post(target, ANY, headers=PNG))["cause"]
    refused = post(target, ANY, headers=PNG)
    assert (422, "quarantined") == (refused.status_code, refused.json()["code"])
    assert "xx" == (gateway.base_folder / "count.deadly").read_text()
    assert 200 == post("/run/raw?ID=deadly", ANY, headers=PNG).status_code


def test_raw_body_of_an_idempotent_endpoint_is_sent_once_more(
    gateway: RunningGateway, post: Post
) -> None:
    """All of it, with its type and fields."""
    content = ANY * 1000
    got = post("/run/twice?DO=once&ID=idem", content, headers=PNG).json()["got"]
    assert seen(content, "image/png") == got["BODY"]
    assert "xx" == (gateway.base_folder / "count.idem").read_text()


def reset_peak(pid: int) -> int:
    """Forget a process's highest resident size; return the present one in kB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_kb(pid)


def peak_kb(pid: int) -> int:
    """Return a process's highest resident size."""
    (line,) = [
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("VmHWM:")
    ]
    return int(line.split()[1])


def gateway_pids(gateway: RunningGateway) -> list[int]:
    return [process.pid for process in role(gateway, "gateway")[1:]]


def _is_small_again(pid: int, before_kb: int) -> bool:
    return psutil.Process(pid).memory_info().rss < before_kb * 1024 + SIZE / 2


@pytest.mark.parametrize("kind", ["raw", "multipart", "reply"])
def test_large_bytes_are_hardly_copied(gateway: RunningGateway, post: Post, kind: str) -> None:
    """64 MB cost each process 64 MB; a file of a form costs the worker twice that."""
    worker = post("/run/large", {}).json()["pid"]
    watched = [worker, *gateway_pids(gateway)]
    before = {pid: reset_peak(pid) for pid in watched}
    if kind == "reply":
        answer = post(f"/run/large?DO=make&SIZE={SIZE}", b"", headers=PNG)
        assert b"y" * SIZE == answer.content
    else:
        content = ANY * (SIZE // 256)
        answer = (
            post("/run/large", content, headers=PNG)
            if kind == "raw"
            else post("/run/large", files={"BODY": ("f", content, "image/png")})
        )
        assert SIZE == answer.json()["got"]["BODY"][0]
    grown = {pid: peak_kb(pid) - before[pid] for pid in watched}
    of_worker, of_gateway = grown.pop(worker), max(grown.values())
    shown = f"worker {of_worker} kB, gateway {of_gateway} kB"
    assert LEAST_KB < of_worker < COPY_KB * (2 if kind == "multipart" else 1), shown
    assert LEAST_KB < of_gateway < COPY_KB, shown
    for pid in watched:
        eventually(partial(_is_small_again, pid, before[pid]), what=f"{pid} gives memory back")
