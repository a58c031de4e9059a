"""What the programs about speed conclude from their figures, and which options they refuse."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import pytest

batching: Any = import_module("batching")
batching_quiz: Any = import_module("batching_quiz")
digits_overhead: Any = import_module("digits_overhead")
load: Any = import_module("load")
load_log: Any = import_module("load_log")
loaded: Any = import_module("loaded")
loading: Any = import_module("loading")
onnx_mlp: Any = import_module("onnx_mlp")
streaming: Any = import_module("streaming")


def run(requests_per_s: float, cpu_us: float = 100, p50_ms: float = 1) -> Any:
    """Return a run of one second with these figures."""
    requests = round(requests_per_s)
    result = load.LoadResult(64, requests, 1.0, p50_ms, 2, 3, 4, {})
    return loaded.Run(result, requests * cpu_us / 1e6, 0.05)


def verdicts(targets: list[Any]) -> dict[str, bool]:
    """Return which target is met."""
    return {target.name: target.is_met for target in targets}


def test_run_divides_the_trees_cpu_by_its_requests() -> None:
    """And the client's by the time."""
    assert (100, 0.05) == (round(run(1000).cpu_us), run(1000).client_share)


def test_best_wait_is_held_to_the_ideal_and_to_the_peers() -> None:
    """The ideal is 3,200 requests a second."""
    found = batching.Found(
        ideal={
            "this gateway, wait 0 ms": [run(1600)],
            "this gateway, wait 4 ms": [run(3104)],
            "mosec 0.9.8, wait 10 ms": [run(3136)],
            "LitServe 0.2.19, wait 10 ms": [run(1600)],
        }
    )
    assert {
        "of the ideal, this gateway, wait 4 ms": True,
        "throughput, ratio to mosec 0.9.8, wait 10 ms": False,
        "throughput, ratio to LitServe 0.2.19, wait 10 ms": True,
    } == verdicts(batching.judge(found))


@pytest.mark.parametrize(("batched_ms", "is_met"), [(20.9, True), (21.5, False)])
def test_lone_caller_may_lose_a_millisecond(batched_ms: float, is_met: bool) -> None:
    """By the median of the rounds' differences."""
    alone, batched = batching.LONE
    found = batching.Found(
        lone={alone: [run(50, p50_ms=20.3)], batched: [run(50, p50_ms=batched_ms)]}
    )
    assert [is_met] == [target.is_met for target in batching.judge(found)]


def test_gain_of_the_quiz_is_that_of_its_best_batches() -> None:
    """What the model saves bounds what batching can give by itself."""
    one_by_one, first, second = batching_quiz.SETUPS
    found = batching_quiz.QuizFound(
        runs={one_by_one: [run(1000)], first: [run(3500)], second: [run(2000)]},
        profile={"model alone": 60, "model in a batch": 10},
    )
    assert [3.5] == found.gains
    assert 2.0 == found.most_possible
    assert [True] == [target.is_met for target in found.targets()]


def test_digits_cost_is_what_comes_on_top_of_the_model() -> None:
    """Round by round."""
    found = digits_overhead.Found([10, 20], {8: [run(1000, 125), run(1000, 145)]})
    assert [115, 125] == [round(value) for value in found.on_top_us(8)]
    assert [True] == [target.is_met for target in digits_overhead.judge(found)]


def test_each_system_is_compared_as_it_is_fastest() -> None:
    """In throughput, and in what that costs."""
    one, batches = (onnx_mlp.Case("ours", is_batched) for is_batched in (False, True))
    theirs = onnx_mlp.Case("mosec", is_batched=True)
    found = {
        one: {64: [run(9000, 120)]},
        batches: {64: [run(12_000, 90)]},
        theirs: {64: [run(10_000, 80)]},
    }
    assert {
        "throughput at 64 callers, ratio to mosec": True,
        "CPU per request at 64 callers, ratio to mosec": False,
    } == verdicts(onnx_mlp.judge(found))


def test_gateway_that_streamed_nothing_has_missed() -> None:
    """Unless it was left out."""
    assert [False] == [target.is_met for target in streaming.judge({})]
    assert [] == streaming.judge({}, is_ours_wanted=False)


def test_streams_are_held_to_their_rate_and_their_first_item() -> None:
    """At each number of callers."""
    found = {"ours": streaming.Streams({1: [25_000], 4: [15_000]}, [4.0])}
    assert [True, False, True] == [target.is_met for target in streaming.judge(found)]


def test_load_seconds_end_with_the_first_ready() -> None:
    """Other events, a later READY and lines that are no JSON do not count."""

    def event(second: str, server: str, state: str) -> str:
        at = f"2026-11-21T05:36:{second}Z"
        return f'{{"time":"{at}","event":"state_changed","server":"{server}","state":"{state}"}}'

    lines = [
        "a banner",
        '{"event": "gateway_open"}',
        event("10.000", "ner", "STARTING"),
        event("11.000", "ner", "LOADING"),
        event("12.500", "ner", "READY"),
        event("40.000", "ner", "READY"),
        event("13.000", "lsh", "STARTING"),
    ]
    assert {"ner": 2.5} == load_log.load_seconds(lines)


def test_start_is_held_to_five_seconds() -> None:
    """By the median of the launches."""
    launches = [loading.Launch(seconds, {}, {}, {}) for seconds in (4.0, 9.0, 4.5)]
    assert [(4.5, True)] == [(one.value, one.is_met) for one in loading.judge(launches)]


@pytest.mark.parametrize(
    ("program", "arguments", "complaint"),
    [
        (batching, ["--only", "ideal", "--markdown"], "leave out --only"),
        (batching, ["--only", "ideals"], "unknown: ideals"),
        (onnx_mlp, ["--only", "ours", "--markdown"], "leave out --only"),
        (onnx_mlp, ["--only", "triton"], "no such system: triton"),
        (streaming, ["--only", "ours", "--markdown"], "leave out --only"),
        (streaming, ["--only", "triton"], "no such system: triton"),
    ],
)
def test_wrong_options_are_explained(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: Any,
    arguments: list[str],
    complaint: str,
) -> None:
    """A part of a table cannot replace the whole, and a misspelt name is named."""
    monkeypatch.setattr(sys, "argv", ["program.py", *arguments])
    with pytest.raises(SystemExit):
        program._parse_arguments()
    assert complaint in capsys.readouterr().err
