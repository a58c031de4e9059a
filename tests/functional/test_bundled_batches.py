"""Bundled models that answer several requests together."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from basic_inference_server.testing import RunningGateway, running_gateway

ROOT = Path(__file__).resolve().parents[2]
OF_THE_CALL = {"time", "call_id", "worker_id", "request_id"}
QUESTION = "What is the capital of France?"
CHOICES = ["Berlin", "Paris", "Madrid", "Rome"]
WORDS = ["cat", "pisică", "king", "rege", "nosuchword"]


def requests() -> list[tuple[str, dict[str, Any]]]:
    mixed: list[tuple[str, dict[str, Any]]] = []
    for n in range(12):
        mixed.append(("digits", {"PIXELS": [n * pixel % 17 for pixel in range(64)]}))
        mixed.append(("get_sim", {"WORD": WORDS[n % 5], "TOPN": 1 + n % 7}))
        quiz = {"QUESTION": QUESTION, "CHOICES": CHOICES[: 2 + n % 3]}
        mixed.append(("basic_quiz_model", quiz))
    return mixed


def answer(gateway: RunningGateway, request: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    signature, fields = request
    body = gateway.run(signature, **fields).json()
    return {name: value for name, value in body.items() if name not in OF_THE_CALL}


def test_batched_answers_equal_single_ones(tmp_path: Path) -> None:
    """Many callers at once get, from batches, exactly what each gets alone, refusals included."""
    for name in ("run_gateway.py", "app_ver.py", "endpoints"):
        (tmp_path / name).symlink_to(ROOT / name)
    batching = {"NR_WORKERS": 1, "BATCH_SIZE": 16, "BATCH_WAIT_MS": 5}
    endpoints = dict.fromkeys(("digits", "get_sim", "basic_quiz_model"), batching)
    (tmp_path / "config_gateway.txt").write_text(json.dumps({"CONFIG_ENDPOINTS": endpoints}))
    command = [sys.executable, "run_gateway.py", "--host", "127.0.0.1", "--port", "0"]
    with running_gateway(tmp_path, command=command) as gateway:
        alone = [answer(gateway, request) for request in requests()]
        with ThreadPoolExecutor(18) as callers:
            together = list(callers.map(lambda request: answer(gateway, request), requests()))
    assert alone == together
    assert {"bad_input"} == {body["code"] for body in alone if "ERROR" in body}
