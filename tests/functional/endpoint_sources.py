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

# Returns one result of each kind that has to be encoded.
KINDS = """
import base64
import dataclasses
import datetime
import enum
import uuid
from collections import OrderedDict, namedtuple
from decimal import Decimal
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from basic_inference_server import FlaskWorker

UTC = datetime.timezone.utc


class Model(BaseModel):
    name: str = "m"
    size: int = 2


@dataclasses.dataclass
class Box:
    width: int = 3
    model: Model = dataclasses.field(default_factory=Model)


class Colour(enum.Enum):
    RED = "red"


KINDS = {
    "none": None,
    "zero": 0,
    "text": "word",
    "empty list": [],
    "list": [1, "two", None],
    "tuple": (1, 2),
    "true": True,
    "nan": {"value": float("nan"), "more": [float("inf"), -float("inf")]},
    "bytes": {"value": b"\\x00\\xffab"},
    "bytearray": {"value": bytearray(b"ab")},
    "set": {"value": {7}},
    "datetime": {"value": datetime.datetime(2024, 2, 29, 12, 30, 1, tzinfo=UTC)},
    "date": {"value": datetime.date(2024, 2, 29)},
    "uuid": {"value": uuid.UUID(int=5)},
    "enum": {"value": Colour.RED},
    "decimal": {"value": Decimal("1.50")},
    "path": {"value": Path("a/b")},
    "model": {"value": Model()},
    "model itself": Model(),
    "dataclass": {"value": Box()},
    "ordered": OrderedDict([("b", 1), ("a", 2)]),
    "number keys": {1: "one", 2.5: "more"},
    "float32": {"value": np.float32(0.5)},
    "int64": {"value": np.int64(2) ** 40},
    "numpy bool": {"value": np.bool_(True)},
    "array": {"value": np.arange(6).reshape(2, 3)},
    "array of floats": {"value": np.array([1.5, np.nan, np.inf])},
    "array itself": np.arange(3),
    "strided array": {"value": np.arange(6)[::2]},
    "array of texts": {"value": np.array(["a", "b"])},
    "array of nothing": {"value": np.zeros((0, 3))},
    "half floats": {"value": np.array([0.5], dtype=np.float16)},
    "numpy datetime": {"value": np.datetime64("2024-02-29T12:00:00")},
    "array of objects": {"value": np.array([1, "b", None], dtype=object)},
    "unicode": {"value": "\\u0219\\U0001f600\\x00\\u2028"},
    "own time": {"time": "mine", "ver": 1, "ver_lib": None, "signature": "me", "worker_id": [],
                 "call_id": {}},
    "own error": {"ERROR": "a field of mine"},
    "named tuple": {"value": namedtuple("Pair", "a b")(1, 2)},
    "big number": {"value": 2**70},
}


class KindsWorker(FlaskWorker):
    def _predict(self, inputs):
        return KINDS[inputs["KIND"]]
"""

# Makes a large reply, or measures a large request.
BULK = """
from basic_inference_server import FlaskWorker


class BulkWorker(FlaskWorker):
    def _predict(self, inputs):
        return {"received": len(inputs.get("TEXT", "")), "text": "y" * inputs.get("SIZE", 0)}
"""

# Records notifications: one while it loads, one for each call.
NOTIFYING = """
from basic_inference_server import FlaskWorker


class NotifyingWorker(FlaskWorker):
    def _load_model(self):
        self._create_notification("info", "the model is loaded")

    def _predict(self, inputs):
        self._create_notification("log", f"asked for {inputs['WORD']}", length=len(inputs["WORD"]))
        return {}
"""

# A support process: posts one report, then waits to be ended.
SUPPORT = """
import argparse
import json
import threading

import requests

parser = argparse.ArgumentParser()
parser.add_argument("--config_endpoint", default="{}")
config = json.loads(parser.parse_args().config_endpoint)
url = "http://{SERVER}:{SERVER_PORT}{SERVER_PATH}".format(**config)
report = {"SIGNATURE": config["SUPPORT_NAME"], "msg": "all is well"}
answer = requests.post(url, json={**report, "interval": config["PING_INTERVAL"]}, timeout=60)
print("reported:", answer.status_code)
threading.Event().wait()
"""

# Writes to its standard output and log in every way there is.
TALKING = """
import logging
import os
import subprocess
import sys
import warnings

from basic_inference_server import FlaskWorker


class TalkingWorker(FlaskWorker):
    def __init__(self, **kwargs):
        super().__init__(prefix_log="[T]", **kwargs)

    def _predict(self, inputs):
        text = inputs.get("TEXT", "")
        for _ in range(inputs.get("TIMES", 1)):
            getattr(self, "_by_" + inputs["BY"])(text)
        if inputs.get("FAIL"):
            raise RuntimeError(text)
        return {}

    def _by_print(self, text):
        print(text)

    def _by_write(self, text):
        sys.stdout.write(text)
        sys.stdout.flush()

    def _by_stderr(self, text):
        print(text, file=sys.stderr)

    def _by_method(self, text):
        self.P(text)

    def _by_coloured(self, text):
        self.log.P(text, color="r")

    def _by_logging(self, text):
        logging.getLogger("some.library").error(text)

    def _by_informing(self, text):
        logging.getLogger(__name__).info("%s", text, extra={"order": 7})

    def _by_mistake(self, text):
        logging.warning("%d is no number", text)

    def _by_buffer(self, text):
        sys.stdout.reconfigure(line_buffering=True)
        sys.stdout.buffer.write(text.encode() + b"\\n")

    def _by_warning(self, text):
        warnings.warn(text)

    def _by_descriptor(self, text):
        os.write(1, text.encode("latin-1"))

    def _by_command(self, text):
        subprocess.run(["printf", "%s", text + "\\n"], check=True)
"""
