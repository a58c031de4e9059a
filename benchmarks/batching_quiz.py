"""The batched ONNX quiz model next to the same unbatched, and where its time goes."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load import run_wrk
from loaded import WARM_SECONDS, Run, measure
from server_process import Request, ServerProcess
from systems import gateway
from systems.bundled import load_bundled
from tables import Table, spread
from targets import Bound, Target

CALLERS = 32
BATCH_SIZE = 32
MIN_GAIN = 3.0
PROFILE_RUNS = 200
QUESTION = {"QUESTION": "What is the capital of France?", "CHOICES": ["Berlin", "Paris", "Madrid"]}
SIGNATURE = "basic_quiz_model"
REQUEST = Request("/run", json.dumps({"SIGNATURE": SIGNATURE, **QUESTION}).encode())
UNBATCHED = "unbatched"
SETUPS: dict[str, dict[str, Any]] = {
    UNBATCHED: {},
    "batches of 32, wait 0": {"BATCH_SIZE": BATCH_SIZE},
    "batches of 32, wait 2 ms": {"BATCH_SIZE": BATCH_SIZE, "BATCH_WAIT_MS": 2},
}


@dataclass
class QuizFound:
    """What was measured; times of the profile are microseconds for each request."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    profile: dict[str, float] = field(default_factory=dict)

    @property
    def gains(self) -> list[float]:
        """Per round, the best batched throughput over the unbatched one."""
        batched = [runs for name, runs in self.runs.items() if name != UNBATCHED]
        best = max(batched, key=lambda runs: statistics.median(run.requests_per_s for run in runs))
        pairs = zip(best, self.runs[UNBATCHED], strict=True)
        return [with_.requests_per_s / without.requests_per_s for with_, without in pairs]

    @property
    def most_possible(self) -> float:
        """The gain in CPU if nothing but the model changed: its cost alone for that in a batch."""
        whole = statistics.median(run.cpu_us for run in self.runs[UNBATCHED])
        saved = self.profile["model alone"] - self.profile["model in a batch"]
        return whole / max(1.0, whole - saved)

    def targets(self) -> list[Target]:
        """The one target."""
        gains = self.gains
        name = f"quiz model at {CALLERS} callers, batched / unbatched"
        bounds = (min(gains), max(gains))
        return [Target(name, statistics.median(gains), Bound.AT_LEAST, MIN_GAIN, "", bounds)]

    def tables(self) -> list[Table]:
        """The load, and where a request's time goes."""
        heads = ("requests/s", "CPU us/request", "p50 ms", "client's core")
        rows = {
            name: [
                spread([run.requests_per_s for run in runs], 0),
                spread([run.cpu_us for run in runs], 0),
                spread([run.load.p50_ms for run in runs], 2),
                spread([run.client_share for run in runs], 2),
            ]
            for name, runs in self.runs.items()
        }
        profile = {name: [f"{value:.0f}"] for name, value in self.profile.items()}
        profile["whole request, unbatched, all processes"] = [
            f"{statistics.median(run.cpu_us for run in self.runs[UNBATCHED]):.0f}"
        ]
        profile["most that batching the model can give"] = [f"x {self.most_possible:.2f}"]
        return [
            Table(f"Quiz model, one worker, {CALLERS} callers", heads, rows),
            Table("Where a quiz request's CPU goes", ("us",), profile),
        ]

    def record(self) -> dict[str, object]:
        """For a JSON file."""
        runs = {name: [run.record() for run in runs] for name, runs in self.runs.items()}
        return {"runs": runs, "profile_us": self.profile, "most_possible": self.most_possible}


def measure_quiz(seconds: int, rounds: int) -> QuizFound:
    """Each configuration in turn, with the bundled endpoint."""
    found = QuizFound(profile=profile())
    for _ in range(rounds):
        for name, section in SETUPS.items():
            with tempfile.TemporaryDirectory(prefix="bench-quiz-") as folder:
                run = _measure_one(Path(folder), section, seconds)
            found.runs.setdefault(name, []).append(run)
    return found


def _measure_one(folder: Path, section: dict[str, Any], seconds: int) -> Run:
    with start(folder, SIGNATURE, section) as server:
        server.wait_for_200(REQUEST)
        run_wrk(server.url, REQUEST, CALLERS, WARM_SECONDS)
        return measure(server, REQUEST, CALLERS, seconds)


def start(folder: Path, signature: str, section: dict[str, Any]) -> ServerProcess:
    """The gateway with one bundled endpoint of one worker, its data beside it."""
    (folder / "endpoints").symlink_to(gateway.PROJECT_ROOT / "endpoints")
    whole = {"NR_WORKERS": 1, "HOST": "127.0.0.1", **section}
    gateway.write_config(folder, {signature: whole})
    return gateway.start(folder)


def profile() -> dict[str, float]:
    """What the hooks cost in this process, by request: no gateway, no JSON, no sockets."""
    worker = load_bundled(SIGNATURE, "BasicQuizModelWorker")
    read, answer = worker._pre_process, worker._post_process  # noqa: SLF001 - an author's hooks
    predict, predict_batch = worker._predict, worker._predict_batch  # noqa: SLF001 - the same
    prepared = read(QUESTION)
    predicted = predict(prepared)
    return {
        "reading the question": _median_us(lambda: read(QUESTION)),
        "model alone": _median_us(lambda: predict(prepared)),
        "model in a batch": _median_us(lambda: predict_batch([prepared] * BATCH_SIZE)) / BATCH_SIZE,
        "writing the answer": _median_us(lambda: answer(predicted)),
    }


def _median_us(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(PROFILE_RUNS):
        began_ns = time.perf_counter_ns()
        call()
        taken.append(time.perf_counter_ns() - began_ns)
    return statistics.median(taken) / 1000
