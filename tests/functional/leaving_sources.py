"""Endpoints that do what keeps a process from ending, in one that runs alone, threads and tasks."""

from __future__ import annotations

DEEDS = """
import asyncio
import atexit
import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import AsyncGeneratorType, GeneratorType

from basic_inference_server import FlaskWorker

FORK = multiprocessing.get_context("fork")
SPAWN = multiprocessing.get_context("spawn")
never = threading.Event()


def pid(inputs):
    return None


# --- what keeps a worker

def timer(inputs):
    threading.Timer(300, print).start()

def child(inputs):
    FORK.Process(target=signal.pause).start()

def at_exit(inputs):
    atexit.register(never.wait)

def interpreter(inputs):
    atexit.register(lambda: ctypes.PyDLL(None).sleep(300))

def fails(inputs):
    timer(inputs)
    os.closerange(3, 4096)


# --- what takes its signals

def ignores(inputs):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)

def takes(inputs):
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print, "not now")

def gives_back(inputs):
    takes(inputs)
    asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
"""

ALONE = (
    DEEDS
    + """

class AloneWorker(FlaskWorker):
    def _load_model(self):
        signal.set_wakeup_fd(-1)

    def _predict(self, inputs):
        did = globals()[inputs["DO"]]({**inputs, "WORKER": self})
        return did if isinstance(did, GeneratorType) else {"did": did, "pid": os.getpid()}


def hold(inputs):
    Path(inputs["ID"]).touch()
    while not Path(inputs["UNTIL"]).exists():
        never.wait(0.005)
    return pid(inputs)
"""
)

TASKS = (
    DEEDS
    + """

class TasksWorker(FlaskWorker):
    async def _predict(self, inputs):
        did = globals()[inputs["DO"]]({**inputs, "WORKER": self})
        if isinstance(did, AsyncGeneratorType):
            return did
        return {"did": await did if asyncio.iscoroutine(did) else did, "pid": os.getpid()}


async def hold(inputs):
    Path(inputs["ID"]).touch()
    while not Path(inputs["UNTIL"]).exists():
        await asyncio.sleep(0.005)
    return pid(inputs)

async def to_thread(inputs):
    asyncio.ensure_future(asyncio.to_thread(never.wait))
    await asyncio.sleep(0)
"""
)

DEAF_AND_BROKEN = """
import os
import signal
from pathlib import Path

from basic_inference_server import FlaskWorker

signal.signal(signal.SIGTERM, signal.SIG_IGN)


class BrokenWorker(FlaskWorker):
    def _load_model(self):
        Path("broken-pid").write_text(str(os.getpid()))
        raise NameError("no such model")

    def _predict(self, inputs):
        return {}
"""

FILES = {
    "broken": DEAF_AND_BROKEN,
    "alone": ALONE,
    "threads": ALONE.replace("AloneWorker", "ThreadsWorker"),
    "tasks": TASKS,
}
KINDS: dict[str, dict[str, int]] = {"alone": {}, "threads": {"THREADS": 4}, "tasks": {"THREADS": 4}}
