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


# --- what forks

def terminates(inputs):
    process = FORK.Process(target=signal.pause)
    process.start()
    process.terminate()
    process.join()
    return process.exitcode

def pools(inputs):
    with FORK.Pool(2) as pool:
        return pool.map(abs, [-1, -2, -3])

def spawns(inputs):
    with SPAWN.Pool(1) as pool:
        return pool.map(abs, [-4])

def executes(inputs):
    with ProcessPoolExecutor(1, mp_context=FORK) as pool:
        return pool.submit(abs, -5).result()

def runs(inputs):
    process = subprocess.Popen(["sleep", "300"], preexec_fn=os.getpid)
    process.terminate()
    return process.wait()

def leaves_a_pool(inputs):
    global kept
    kept = FORK.Pool(1)
    FORK.Process(target=signal.pause).start()
    return [one.pid for one in multiprocessing.active_children()]

def says(inputs):
    print("from the child")
    inputs["WORKER"]._create_notification("log", "from the child")
    os._exit(0)

def status_of(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def forked(inputs, deed):
    if child := os.fork():
        return status_of(child)
    return deed(inputs)

def comes_back(inputs):
    return forked(inputs, pid)

def raises(inputs):
    return forked(inputs, lambda inputs: 1 / 0)

def exits(inputs):
    return forked(inputs, lambda inputs: sys.exit(3))

def talks(inputs):
    return forked(inputs, says)

def yields(inputs):
    yield "first"
    if child := os.fork():
        yield status_of(child)
    else:
        yield "from the child"

def ends_its_stream(inputs):
    yield "first"
    if child := os.fork():
        yield status_of(child)
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

async def awaits(inputs):
    if child := os.fork():
        return status_of(child)
    await asyncio.sleep(0)
    return pid(inputs)

async def yields(inputs):
    yield "first"
    if child := os.fork():
        yield status_of(child)
    else:
        yield "from the child"

async def ends_its_stream(inputs):
    yield "first"
    if child := os.fork():
        yield status_of(child)
"""
)

BATCH = (
    DEEDS
    + """

class BatchWorker(FlaskWorker):
    def _predict_batch(self, prepared):
        return [
            {"did": globals()[one["DO"]]({**one, "WORKER": self}), "pid": os.getpid()}
            for one in prepared
        ]
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
        self.fail()

    @staticmethod
    def fail():
        Path("broken-pid").write_text(str(os.getpid()))
        raise NameError("no such model")

    def _predict(self, inputs):
        return {}
"""

FILES = {
    "broken": DEAF_AND_BROKEN,
    "shared": DEAF_AND_BROKEN.replace("Broken", "Shared")
    .replace("broken", "shared")
    .replace("_load_model(self)", "_load_shared(self, config)")
    .replace("    def _load_shared", "    @classmethod\n    def _load_shared"),
    "alone": ALONE,
    "threads": ALONE.replace("AloneWorker", "ThreadsWorker"),
    "tasks": TASKS,
    "batch": BATCH,
}
KINDS: dict[str, dict[str, int]] = {"alone": {}, "threads": {"THREADS": 4}, "tasks": {"THREADS": 4}}
