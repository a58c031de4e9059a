"""Endpoints for the functional tests, as text: each becomes a file of a project."""

from __future__ import annotations

# Says what it was asked, and which process answered.
MIRROR = """
import os

from basic_inference_server import FlaskWorker


class MirrorWorker(FlaskWorker):
    def _predict(self, inputs):
        return {"inputs": inputs, "pid": os.getpid()}
"""

# Refuses its inputs in each of the ways there are.
STRICT = """
from basic_inference_server import FlaskWorker


class StrictWorker(FlaskWorker):
    def _pre_process(self, inputs):
        refusal = inputs.get("REFUSE")
        if refusal == "value":
            raise ValueError("the value is wrong")
        if refusal == "type":
            raise TypeError("the type is wrong")
        if refusal == "key":
            return inputs["WANTED"]
        if refusal == "other":
            raise LookupError("pre-processing broke")
        return inputs

    def _predict(self, inputs):
        return {"accepted": True}
"""

# Fails, ends or kills its own process, as it is told.
FAULTY = """
import ctypes
import os
import signal
import sys

from basic_inference_server import FlaskWorker


class FaultyWorker(FlaskWorker):
    def _predict(self, inputs):
        return self._commit(inputs["DO"])

    def _commit(self, deed):
        if deed == "raise":
            print("about to fail")
            raise RuntimeError("the model broke")
        if deed == "sys.exit":
            sys.exit(3)
        if deed == "interrupt":
            raise KeyboardInterrupt
        if deed == "recurse":
            return self._commit(deed)
        if deed == "exit 7":
            os._exit(7)
        if deed == "exit 0":
            os._exit(0)
        if deed == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if deed == "segv":
            ctypes.string_at(0)
        if deed == "object":
            return {"result": object()}
        return {"pid": os.getpid(), "did": deed}

    def _post_process(self, pred):
        if pred.get("did") == "post":
            raise ValueError("post-processing broke")
        return pred
"""

# Waits while the test holds the gate closed, and notes first what it was asked.
GATED = """
import fcntl
import os

from basic_inference_server import FlaskWorker


class GatedWorker(FlaskWorker):
    def _predict(self, inputs):
        with open("executed", "a") as executed:
            executed.write(inputs["ID"] + "\\n")
        with open("gate") as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
        return {"id": inputs["ID"], "pid": os.getpid()}
"""

# Loads only when the gate is open; fails to load while there is a file `broken`.
GATED_LOAD = """
import fcntl
from pathlib import Path

from basic_inference_server import FlaskWorker


class GatedLoadWorker(FlaskWorker):
    def _load_model(self):
        with open("gate") as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
        if Path("broken").exists():
            raise ModuleNotFoundError("the model is broken")

    def _predict(self, inputs):
        return {"loaded": True}
"""

# Cannot load, each time in a way that may pass.
FLAKY = """
from basic_inference_server import FlaskWorker


class FlakyWorker(FlaskWorker):
    def _load_model(self):
        raise RuntimeError("the model server is away")

    def _predict(self, inputs):
        return {}
"""

NO_LIBRARY = """
import a_library_that_nobody_has

from basic_inference_server import FlaskWorker


class NoLibraryWorker(FlaskWorker):
    def _predict(self, inputs):
        return {}
"""
