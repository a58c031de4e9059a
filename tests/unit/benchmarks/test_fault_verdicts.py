"""The scoreboard's verdicts follow from what was seen, by rule."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import pytest

ledger: Any = import_module("faults.ledger")
verdict: Any = import_module("faults.verdict")
exchange: Any = import_module("faults.exchange")
load_failure: Any = import_module("faults.load_failure")
malformed_json: Any = import_module("faults.malformed_json")
overload: Any = import_module("faults.overload")
parent_killed: Any = import_module("faults.parent_killed")
reload_under_load: Any = import_module("faults.reload_under_load")
slow_clients: Any = import_module("faults.slow_clients")
worker_hung: Any = import_module("faults.worker_hung")
worker_killed: Any = import_module("faults.worker_killed")
Outcome = ledger.Outcome


def row(label: str, waited_s: float = 0.01, **fields: Any) -> Any:
    """Return one row, due at 0: a status, or the name of another outcome."""
    if label.isdigit():
        return ledger.Row(0, 0.0, Outcome.ANSWERED, waited_s, int(label), **fields)
    return ledger.Row(0, 0.0, Outcome(label), waited_s, **fields)


def answer(label: str) -> Any:
    """Return what one exchange brought."""
    if label.isdigit():
        return exchange.Answer(Outcome.ANSWERED, int(label))
    return exchange.Answer(Outcome(label))


@pytest.mark.parametrize(
    ("met", "expected"),
    [([True, True], "holds"), ([True, False], "partly"), ([False], "fails"), ([], "not run")],
)
def test_verdict_is_all_some_or_none(met: list[bool], expected: str) -> None:
    """All checks met is holds, some is partly, none is fails, no check is not run."""
    checks = [verdict.Check(f"check {index}", value) for index, value in enumerate(met)]
    assert expected == verdict.Finding("", "", checks).verdict.value


def test_killed_worker_may_cost_one_answered_request() -> None:
    """One 502 for each kill holds; two, a cut or a hang do not."""
    fine = [row("200")] * 5
    judge = worker_killed.judge
    assert [] == judge([*fine, row("502"), row("502")], 2, 0.4, is_up=True).missed
    assert ["at most one request fails for each kill"] == (
        judge([*fine, row("502"), row("502")], 1, 0.4, is_up=True).missed
    )
    assert ["no connection ends without an HTTP answer"] == (
        judge([*fine, row("cut")], 1, 0.4, is_up=True).missed
    )
    assert ["nobody waits 5 s"] == judge([*fine, row("hung", 5.0)], 1, 0.4, is_up=True).missed


def test_killed_worker_has_to_come_back() -> None:
    """Late, never, or with the whole server gone is not full capacity."""
    missed = ["full capacity within 3 s"]
    assert missed == worker_killed.judge([row("200")], 1, 3.5, is_up=True).missed
    assert missed == worker_killed.judge([row("200")], 1, math.nan, is_up=True).missed
    assert missed == worker_killed.judge([row("200")], 1, 0.1, is_up=False).missed


def test_only_living_workers_that_answer_are_killed() -> None:
    """A worker that was killed, or has not answered for a while, is not chosen."""
    rows = [row("200", 1.0, worker_pid=1), row("200", 3.0, worker_pid=2)]
    rows += [row("200", 3.1, worker_pid=3), row("502", 3.2)]
    assert [3] == worker_killed.answering(rows, since_s=2.0, killed=[2])


def test_deadline_answers_the_caller_and_frees_the_worker() -> None:
    """An answer at the deadline, a new worker and calm neighbours hold."""
    calm = [row("200")] * 10
    judge = worker_hung.judge
    assert [] == judge(answer("504"), 3.1, "replaced", calm, calm).missed
    assert [] == judge(answer("408"), 3.1, "freed", calm, calm).missed
    assert ["the caller is answered at the deadline"] == (
        judge(answer("hung"), 8.0, "replaced", calm, calm).missed
    )
    assert ["the worker is freed or replaced"] == (
        judge(answer("504"), 3.0, "still hanging", calm, calm).missed
    )


def test_neighbours_of_a_hung_worker_are_watched() -> None:
    """One failure misses one check, and one long wait in ten the other."""
    calm = [row("200")] * 10
    slow = [*calm[1:], row("200", 0.5)]
    judge = worker_hung.judge
    assert ["no neighbour fails"] == (
        judge(answer("504"), 3.0, "freed", calm, [*calm, row("503")]).missed
    )
    assert ["neighbours' p99 at most 100 ms above before"] == (
        judge(answer("504"), 3.0, "freed", calm, slow).missed
    )


def test_load_failure_has_to_show() -> None:
    """Exit code 0, a loop, health as if nothing were, or a model beside it that is down miss."""
    judge = load_failure.judge
    assert [] == judge(8, None, {"/live": "200", "/ready": "503"}, "503", "200").missed
    assert [] == judge(2, 3, {"/health": "refused"}, "refused", None).missed
    assert ["it does not exit with 0"] == judge(2, 0, {"/": "refused"}, "refused", None).missed
    assert ["a request for it is answered or refused, not left waiting"] == (
        judge(2, None, {"/": "503"}, "hung", None).missed
    )
    assert ["at most 20 loads"] == judge(2476, None, {"/": "503"}, "503", None).missed
    assert ["a health route says that it is not ready"] == (
        judge(2, None, {"/": "200"}, "500", None).missed
    )
    assert ["the model beside it serves"] == judge(2, None, {"/": "503"}, "503", "503").missed


def test_reload_loses_nobody_and_keeps_nobody_waiting() -> None:
    """Slow is half of it; a quick refusal or a new version that never serves is nothing."""
    judge = reload_under_load.judge
    both = ["no request is lost", "every request is served within 1 s"]
    assert [] == judge([row("200")], 5.0, "", is_new=True).missed
    assert both == judge([row("200")], 25.0, "", is_new=False).missed
    assert both == judge([row("200"), row("refused")], 5.0, "", is_new=True).missed
    assert both[1:] == judge([row("200", 4.0)], 5.0, "", is_new=True).missed


def test_overload_is_served_at_capacity_and_refused_at_once() -> None:
    """Goodput counts what was answered within the load; the rest is told soon, or not at all."""
    served = [row("200", 1.0)] * 400
    told = [row("503", 0.02, retry_after="1")]
    found = overload.judge([*served, *told], answer("200"), 0.1)
    assert [] == found.missed
    assert (1.0, ["1"]) == (found.figures["goodput"], found.figures["retry_after"])
    late = overload.judge([*served, row("503", 2.0)], answer("200"), 0.1)
    assert ["who is refused learns it within 500 ms (p99)"] == late.missed
    silent = overload.judge([row("200", 10.5), row("hung", 10.0)], answer("hung"), 15.0)
    assert "fails" == silent.verdict.value
    assert 0.0 == silent.figures["goodput"]


def test_slow_clients_are_not_noticed_by_a_healthy_one() -> None:
    """Up to 100 ms more at the 99th percentile holds."""
    before = [row("200", 0.02)] * 10
    assert [] == slow_clients.judge(before, [row("200", 0.11)] * 10, 0).missed
    assert ["p99 at most 100 ms above before"] == (
        slow_clients.judge(before, [row("200", 0.13)] * 10, 0).missed
    )
    assert "fails" == slow_clients.judge(before, [row("hung", 5.0)], 0).verdict.value


@pytest.mark.parametrize("label", ["200", "500", "cut", "hung", "refused"])
def test_malformed_json_is_the_clients_fault(label: str) -> None:
    """Only a 4xx says so."""
    found = malformed_json.judge({"NaN": answer(label), "deep": answer("400")}, answer("200"))
    assert ["NaN is a 4xx"] == found.missed


def test_remains_of_a_killed_parent() -> None:
    """Processes that stay for a while, for good, and a port that stays taken each miss."""
    none, some = (
        parent_killed.Remains([], True, "refused"),
        parent_killed.Remains(["worker", "worker"], False, "200"),
    )
    assert [] == parent_killed.judge(5, none, none).missed
    assert ["nothing is left after 2 s"] == parent_killed.judge(5, some, none).missed
    assert "fails" == parent_killed.judge(5, some, some).verdict.value
    assert "2 left (2 x worker), the port taken, a request: 200" == some.text()


def test_truncated_request_announces_more_than_it_sends() -> None:
    """The lie is in the header, the body is whole."""
    request = malformed_json.Case("truncated", b"{}", 50).request("/run")
    head, _, body = request.partition(b"\r\n\r\n")
    assert b"{}" == body
    assert b"Content-Length: 52" in head.split(b"\r\n")


def test_worker_is_read_out_of_any_answer() -> None:
    """The pid is found in every system's form; no pid is 0."""
    for body in (b'{"result":11.0,"pid":42}', b'{"parameters": {"pid": 42}}'):
        assert 42 == exchange.Answer(Outcome.ANSWERED, 200, body=body).worker_pid
    assert 0 == exchange.Answer(Outcome.ANSWERED, 502, body=b'{"ERROR": "x"}').worker_pid
