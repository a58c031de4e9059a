"""An endpoint that does what a request asks for: sleep, spin, die, count, wait for a file."""

from __future__ import annotations

MISBEHAVING = """
import ctypes
import faulthandler
import os
import pathlib
import signal
import sys
import threading

from basic_inference_server import FlaskWorker


class MisbehavingWorker(FlaskWorker):
    def _predict(self, inputs):
        if "COUNT_FILE" in inputs:
            with open(inputs["COUNT_FILE"], "a") as file:
                file.write(inputs.get("ID", "") + "\\n")
        return {"did": getattr(self, inputs["DO"])(inputs), "pid": os.getpid()}

    def answer(self, inputs):
        return inputs.get("VALUE")

    def sleep(self, inputs):
        threading.Event().wait(inputs["SECONDS"])

    def spin(self, inputs):
        while True:
            pass

    def hold_gil(self, inputs):
        ctypes.PyDLL(None).sleep(int(inputs["SECONDS"]))

    def wait_for_file(self, inputs):
        pause = threading.Event()
        while not pathlib.Path(inputs["FILE"]).exists():
            pause.wait(0.005)
        return "released"

    def exit(self, inputs):
        sys.exit(inputs["CODE"])

    def exit_now(self, inputs):
        os._exit(inputs["CODE"])

    def exit_after(self, inputs):
        pathlib.Path(inputs["STARTED"]).touch()
        self.wait_for_file(inputs)
        os._exit(9)

    def kill(self, inputs):
        os.kill(os.getpid(), inputs["SIGNAL"])
        threading.Event().wait(5)

    def segfault(self, inputs):
        faulthandler._sigsegv()

    def fork_sleeper(self, inputs):
        import subprocess
        return subprocess.Popen(["sleep", "600"]).pid
"""
