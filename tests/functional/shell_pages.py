"""Does what a page of the documentation says, as a reader would, in a real shell.

The word after a fenced block's language says what the block is:

    ```bash               commands, typed one block after the other in one folder; all succeed
    ```bash server        a command in a terminal of its own, where it is left running
    ```bash network       not done: it would install packages, and the tests' own are there
    ```python title=NAME  a file to write, in any language; the page's prose names it
    ```python file=NAME   what such a file holds by now
    ```text output        all that the block before has printed; for a server, lines in order
    ```json answer        the JSON that the block before has printed; it may have more fields

A page writes port 5002, and a free one is taken.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basic_inference_server.core.settings import process_environment
from tests.functional.pages import matches
from tests.support.eventually import eventually

ROOT = Path(__file__).resolve().parents[2]
FENCED = re.compile(
    r"^```(?P<language>\w*)(?: (?P<what>[^\n]*))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
SHOWN_ADDRESS = "127.0.0.1:5002"
# What differs from run to run: times of day, durations, the port.
VARYING = re.compile(r"\d\d:\d\d:\d\d\.\d{3}|\b\d+\.\d+s\b|(?<=port=)\d+|(?<=127\.0\.0\.1:)\d+")
TIMEOUT_S = 50


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the word after it, its text."""

    language: str
    what: str
    text: str


def blocks_of(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [Block(b["language"], b["what"] or "", b["text"]) for b in FENCED.finditer(page)]


def prose_of(page: str) -> str:
    """Return a page without its fenced blocks."""
    return FENCED.sub("", page)


def environment() -> dict[str, str]:
    """Return the environment in which a page is done: as if this checkout were installed."""
    inherited = process_environment()
    return {
        **{name: value for name, value in inherited.items() if not name.startswith("BIS_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited['PATH']}",
        "PYTHONPATH": str(ROOT),
        "NO_COLOR": "1",
    }


def same(shown: str, actual: str) -> None:
    """Fail unless what a page shows is what there is."""
    assert shown == actual, f"the page shows\n{shown}\nand it is\n{actual}"


class Terminal:
    """A command that is left running in a terminal, with all that it prints."""

    def __init__(self, command: str, folder: Path) -> None:
        self.folder = folder
        self.printed = ""
        ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {command.strip()} --port 0"],
            cwd=folder, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    def _read(self, ours: int) -> None:
        with open(ours, "rb", buffering=0) as terminal:
            try:
                while chunk := terminal.read(65536):
                    self.printed += chunk.decode(errors="replace").replace("\r\n", "\n")
            except OSError:  # nobody has the other end open any more
                return

    def wait_for(self, shown: str) -> None:
        """Wait until these lines have been printed, in this order."""

        def is_shown() -> bool:
            lines = iter(VARYING.sub("~", self.printed).splitlines())
            return all(line in lines for line in VARYING.sub("~", shown).splitlines())

        try:
            eventually(is_shown)
        except AssertionError:
            raise AssertionError(
                f"the page shows\n{shown}\nand what was printed is\n{self.printed}"
            ) from None

    @property
    def address(self) -> str:
        """Where the gateway that runs here answers."""
        announcement = self.folder / "_cache" / "run" / "gateway.json"
        eventually(announcement.exists, what=f"a gateway is open:\n{self.printed}")
        return f"127.0.0.1:{json.loads(announcement.read_text())['port']}"

    def press_ctrl_c(self) -> int:
        """End the command as a reader does; return its exit code."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            return self._process.wait(60)
        finally:
            self._process.kill()
            self._process.wait(60)
            self._reader.join(5)


class Reader:
    """Does one page, block by block, from an empty folder on."""

    def __init__(self, page: str, folder: Path) -> None:
        self.page = page
        self.folder = folder
        self.printed = ""
        self.terminal: Terminal | None = None
        self.left_out: list[str] = []
        self._where = folder / ".where"
        self._is_server_last = False

    def do(self) -> None:
        """Do every block; what the page shows has to be what happens."""
        try:
            for block in blocks_of(self.page):
                self._do(block)
            if self.terminal is not None:
                assert 0 == self.terminal.press_ctrl_c()
        finally:
            if self.terminal is not None:
                self.terminal.press_ctrl_c()

    def _do(self, block: Block) -> None:
        kind, _, name = block.what.partition("=")
        if kind == "title":
            assert f"`{name}`" in prose_of(self.page), f"no reader is told to write {name}"
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif kind == "file":
            same(block.text, (self.folder / name).read_text(encoding="utf-8"))
        elif (block.language, kind) == ("bash", "server"):
            self.terminal, self._is_server_last = Terminal(block.text, self.folder), True
        elif (block.language, kind) == ("bash", "network"):
            self.left_out.append(block.text)
        elif (block.language, kind) == ("bash", ""):
            self._type(block.text)
        elif (block.language, kind) == ("text", "output"):
            self._compare(block.text)
        elif (block.language, kind) == ("json", "answer"):
            answer: Any = json.loads(self.printed)
            expected = json.loads(block.text)
            assert matches(expected, answer), f"the page shows {block.text}\nand it is {answer}"
        else:
            raise AssertionError(f"what is a block {block.language} {block.what}?")

    def _type(self, commands: str) -> None:
        if self.terminal is not None:
            commands = commands.replace(SHOWN_ADDRESS, self.terminal.address)
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", f"{commands}\npwd >'{self._where}'"],
            cwd=self.folder, env=environment(), timeout=TIMEOUT_S, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert 0 == done.returncode, f"{commands}\n{done.stdout}"
        self.printed = done.stdout
        self._is_server_last = False
        # A `cd` holds for the blocks that follow.
        self.folder = Path(self._where.read_text().strip())

    def _compare(self, shown: str) -> None:
        if self._is_server_last:
            assert self.terminal is not None
            self.terminal.wait_for(shown)
            return
        same(VARYING.sub("~", shown), VARYING.sub("~", self.printed))
