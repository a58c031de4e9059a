"""Endpoints with several requests at a time: the same one with threads and as a coroutine."""

from __future__ import annotations

from typing import Any

THREADED = """
import os
import threading
from pathlib import Path

from basic_inference_server import FlaskWorker


class ThreadedWorker(FlaskWorker):
    def _load_model(self):
        self.meeting = threading.Barrier(8)
        self.never = threading.Event()

    def _predict(self, inputs):
        return getattr(self, inputs["DO"])(inputs)

    def warm(self, inputs):
        Path("warm").touch()
        return {}

    def meet(self, inputs):
        self.meeting.wait(10)
        return {"x": inputs["X"]}

    def echo(self, inputs):
        self.never.wait(inputs.get("MS", 0) / 1000)
        return {"x": inputs["X"], "id": self.request_id, "pid": os.getpid()}

    def hold(self, inputs):
        self.say(inputs["X"])
        while not Path(inputs["UNTIL"]).exists():
            self.never.wait(0.005)
        return self.echo(inputs)

    def die(self, inputs):
        self.hold(inputs)
        os._exit(7)

    def hang(self, inputs):
        self.say(inputs["X"])
        self.never.wait()

    def tell(self, inputs):
        print(f"first {inputs['X']}", end="")
        self.meeting.wait(10)
        self._create_notification("told", inputs["X"])
        self.meeting.wait(10)
        print(f" second {inputs['X']}", end="")
        self.meeting.wait(10)
        return {"id": self.request_id}

    def items(self, inputs):
        return self.made(inputs)

    def made(self, inputs):
        try:
            for number in range(inputs["COUNT"]):
                if number == inputs.get("FAIL_AT"):
                    raise RuntimeError("no more")
                yield {"n": number, "id": self.request_id, "fill": "x" * inputs.get("FILL", 0)}
        finally:
            self.say("closed-" + self.request_id)

    def ask(self, inputs):
        answers = self.call_many([("other", {"DO": "echo", "X": inputs["X"]})] * 2)
        return {"x": [answer["x"] for answer in answers]}

    def say(self, text):
        with open("said", "a") as file:
            file.write(f"{text} ")
"""

TASKS = """
import asyncio
import os
from pathlib import Path

from basic_inference_server import FlaskWorker


class Meeting:
    def __init__(self, size):
        self.size, self.inside, self.all_here = size, 0, asyncio.Event()

    async def wait(self):
        self.inside += 1
        here = self.all_here
        if self.inside == self.size:
            self.inside, self.all_here = 0, asyncio.Event()
            here.set()
        await asyncio.wait_for(here.wait(), 10)


class TasksWorker(FlaskWorker):
    async def _load_model(self):
        self.loop = asyncio.get_running_loop()
        self.meeting = Meeting(8)

    async def _pre_process(self, inputs):
        if inputs.get("X") == "refused":
            raise ValueError("not that one")
        return inputs

    async def _predict(self, inputs):
        if asyncio.get_running_loop() is not self.loop:
            raise RuntimeError("another loop than that of _load_model")
        if inputs["DO"] == "items":
            return self.made(inputs)
        return await getattr(self, inputs["DO"])(inputs)

    async def warm(self, inputs):
        Path("warm").touch()
        return {}

    async def meet(self, inputs):
        await self.meeting.wait()
        return {"x": inputs["X"]}

    async def echo(self, inputs):
        await asyncio.sleep(inputs.get("MS", 0) / 1000)
        return {"x": inputs["X"], "id": self.request_id, "pid": os.getpid()}

    async def hold(self, inputs):
        self.say(inputs["X"])
        while not Path(inputs["UNTIL"]).exists():
            await asyncio.sleep(0.005)
        return await self.echo(inputs)

    async def die(self, inputs):
        await self.hold(inputs)
        os._exit(7)

    async def hang(self, inputs):
        self.say(inputs["X"])
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.say("ignored")

    async def wait(self, inputs):
        self.say(inputs["X"])
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            self.say("cleaned-" + inputs["X"])

    async def tell(self, inputs):
        print(f"first {inputs['X']}", end="")
        await self.meeting.wait()
        self._create_notification("told", inputs["X"])
        await self.meeting.wait()
        print(f" second {inputs['X']}", end="")
        await self.meeting.wait()
        return {"id": self.request_id}

    async def made(self, inputs):
        try:
            for number in range(inputs["COUNT"]):
                await asyncio.sleep(0)
                if number == inputs.get("FAIL_AT"):
                    raise RuntimeError("no more")
                yield {"n": number, "id": self.request_id, "fill": "x" * inputs.get("FILL", 0)}
        finally:
            await asyncio.sleep(0)
            self.say("closed-" + self.request_id)

    async def ask(self, inputs):
        answers = await self.acall_many([("other", {"DO": "echo", "X": inputs["X"]})] * 2)
        return {"x": [answer["x"] for answer in answers]}

    async def raises(self, inputs):
        raise {"exit": SystemExit(3), "cancelled": asyncio.CancelledError()}[inputs["X"]]

    async def spoils_the_loop(self, inputs):
        async def leaves():
            raise SystemExit(3)

        self.left = asyncio.ensure_future(leaves())
        await asyncio.sleep(0.01)
        self.loop.stop()
        await asyncio.sleep(0.01)
        return {"x": inputs["X"]}

    def say(self, text):
        with open("said", "a") as file:
            file.write(f"{text} ")
"""

FILES = {"threaded": THREADED, "tasks": TASKS}
KINDS = tuple(FILES)


def sections(threads: int = 8, **keys: Any) -> dict[str, dict[str, Any]]:
    """Return a section of each kind."""
    return {kind: {"THREADS": threads, **keys} for kind in KINDS}
