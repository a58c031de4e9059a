"""What the documentation shows is what happens: its files, commands and answers, page by page.

A page is played in order. `<!-- file: NAME -->` before a block writes that file;
`<!-- section -->` adds the block to `CONFIG_ENDPOINTS` of the bundled project. The gateway starts
before the first `curl`, with the arguments that the page shows, and the JSON block after a `curl`
has to be in the answer. Test files that a page shows are run.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from basic_inference_server.core.settings import process_environment
from basic_inference_server.testing import RunningGateway, running_gateway
from tests.functional.pages import matches
from tests.support.eventually import eventually

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BUNDLED = ("config_gateway.txt", "app_ver.py", "endpoints")
FIRST_SERVER_PORT = 5003
STARTS = ("./run.sh", "python run_gateway.py", "python -m basic_inference_server run")
TOKENS_COMMAND = re.compile(
    r"(?:(?P<variable>[A-Z_]+)=\$\()?python -m basic_inference_server tokens (?P<arguments>.*?)\)?"
)
TOKEN_ID = re.compile(r"\b[0-9a-f]{8}\b")
TOKEN_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^\n]*?) -->\n\n?)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block and the comment just before it."""

    language: str
    text: str
    mark: str


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    return [
        Block(found["language"], found["text"], found["mark"] or "")
        for found in BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def shell_commands(block: Block) -> list[str]:
    """Return the commands of a bash block, each on one line."""
    if block.language not in {"bash", "sh"}:
        return []
    lines = re.sub(r"\\\n\s*", "", block.text).splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def has_curl(page: Path) -> bool:
    """Say whether a page has a command to play."""
    return any(
        command.startswith("curl ")
        for block in blocks_of(page)
        for command in shell_commands(block)
    )


PAGES = [
    page
    for page in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
    if has_curl(page)
    and page.name != "deploy.md"  # that one installs services and containers
    and page.name != "tutorial.md"  # test_tutorial.py types what it says into a real shell
    and page.parent.name != "endpoints"  # test_bundled.py asks what these pages show
]


class Player:
    """Plays one page in a folder of its own."""

    def __init__(self, page: Path, folder: Path, stack: ExitStack) -> None:
        self.blocks = blocks_of(page)
        self.folder = folder
        self.stack = stack
        self.gateway: RunningGateway | None = None
        self.arguments: list[str] = []
        self.variables: dict[str, str] = {}
        self.real_ids: dict[str, str] = {}  # of tokens, by the ids that the page shows
        if "file: config_gateway.txt" not in {block.mark for block in self.blocks}:
            for name in BUNDLED:
                source = ROOT / name
                copy = shutil.copytree if source.is_dir() else shutil.copy
                copy(source, folder / name)
            self._disable_what_is_not_shown()

    def _disable_what_is_not_shown(self) -> None:
        """Spare the start of the bundled endpoints that the page does not name."""
        shown = " ".join(block.text for block in self.blocks)
        if re.search(r":50(?!02)\d\d/", shown):
            return  # it shows servers' own ports, which depend on who is enabled
        path = self.folder / "config_gateway.txt"
        configuration = json.loads(path.read_text(encoding="utf-8"))
        for name, section in configuration["CONFIG_ENDPOINTS"].items():
            # The first two are also shown by the ports that they have.
            if not name.startswith("dummy_model") and not re.search(rf"\b{name}\b", shown):
                section["DISABLED"] = True
        path.write_text(json.dumps(configuration), encoding="utf-8")

    def play(self) -> None:
        """Play every block."""
        for index, block in enumerate(self.blocks):
            if block.mark.startswith("file: "):
                self._write_file(block.mark.removeprefix("file: "), block.text)
            elif block.mark.startswith("under way: "):
                self._started()
                name = block.mark.removeprefix("under way: ")
                (self.folder / name).write_text(block.text, encoding="utf-8")
            elif block.mark == "section":
                self._add_section(block.text)
            following = self.blocks[index + 1] if index + 1 < len(self.blocks) else None
            self._run(shell_commands(block), following)

    def _write_file(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.name == "config_gateway.txt":
            self._stop()
        elif path.name.startswith("test_"):
            self._run_pytest(name)

    def _run_pytest(self, name: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name],
            cwd=self.folder,
            env={**process_environment(), "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert 0 == done.returncode, done.stdout + done.stderr

    def _add_section(self, text: str) -> None:
        path = self.folder / "config_gateway.txt"
        configuration = json.loads(path.read_text(encoding="utf-8"))
        configuration["CONFIG_ENDPOINTS"].update(json.loads("{" + text.strip().rstrip(",") + "}"))
        path.write_text(json.dumps(configuration), encoding="utf-8")
        self._stop()

    def _stop(self) -> None:
        """Stop a running gateway: it reads its configuration at the next start."""
        if self.gateway is not None:
            assert 0 == self.gateway.stop()
            self.gateway = None

    def _run(self, commands: list[str], following: Block | None) -> None:
        for command in commands:
            start = next((start for start in STARTS if command.startswith(start)), None)
            if start is not None:
                self.arguments = start_arguments(command.removeprefix(start))
            tokens = TOKENS_COMMAND.fullmatch(command)
            if tokens is not None:
                self._tokens(tokens["variable"], tokens["arguments"], following)
            if not command.startswith("curl "):
                continue
            if following is not None and following.language == "json" and command is commands[-1]:
                self._expect(json.loads(following.text), command)
            else:
                self._answer(command)

    def _tokens(self, variable: str | None, arguments: str, following: Block | None) -> None:
        """Run a command about tokens: it prints what the page shows, but for ids and times."""
        done = subprocess.run(
            [sys.executable, "-m", "basic_inference_server", "tokens",
             *shlex.split(self._with_real_ids(arguments))],
            cwd=self.folder,
            env={**process_environment(), "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert 0 == done.returncode, done.stderr
        printed = done.stderr
        if variable is not None:
            self.variables[variable] = done.stdout.strip()
        else:
            printed += done.stdout
        if following is not None and following.language == "text":
            for shown, real in zip(
                TOKEN_ID.findall(following.text), TOKEN_ID.findall(printed), strict=True
            ):
                self.real_ids.setdefault(shown, real)
            shown_text = self._with_real_ids(following.text)
            assert TOKEN_TIME.sub("", shown_text) == TOKEN_TIME.sub("", printed)

    def _with_real_ids(self, text: str) -> str:
        return TOKEN_ID.sub(lambda found: self.real_ids.get(found[0], found[0]), text)

    def _expect(self, expected: Any, command: str) -> None:
        """Send a command until its answer is the page's: some pages say "after a moment"."""
        answers: list[Any] = []

        def is_shown() -> bool:
            answers[:] = [self._answer(command)]
            return matches(expected, answers[0])

        try:
            eventually(is_shown)
        except AssertionError:
            shown = json.dumps(answers, indent=1)
            pytest.fail(f"{command}\nis not answered as the page says, but with\n{shown}")

    def _started(self) -> RunningGateway:
        if self.gateway is None:
            self.gateway = self.stack.enter_context(running_gateway(self.folder, self.arguments))
        return self.gateway

    def _answer(self, command: str) -> Any:
        gateway = self._started()
        token = (self.folder / "_cache" / "admin_token").read_text().strip()
        variables = {"TOKEN": token, "ADMIN": token, **self.variables}
        command = re.sub(r"\$([A-Z_]+)", lambda name: variables[name[1]], command)
        method, url, headers, body = parse_curl(self._with_real_ids(command))
        response = requests.request(
            method, self._real_url(gateway, url), headers=headers, data=body, timeout=40
        )
        assert response.text, f"{command}: an empty answer"
        return response.json()

    def _real_url(self, gateway: RunningGateway, url: str) -> str:
        parts = urlsplit(url)
        number = (parts.port or 5002) - FIRST_SERVER_PORT
        port = gateway.port if number < 0 else self._server_ports(gateway)[number]
        return parts._replace(scheme="http", netloc=f"127.0.0.1:{port}").geturl()

    def _server_ports(self, gateway: RunningGateway) -> list[int]:
        """Return the servers' own ports in the order in which the gateway gives them out."""
        sections = json.loads((self.folder / "config_gateway.txt").read_text())["CONFIG_ENDPOINTS"]
        names = sorted(gateway.server_ports, key=lambda name: sections[name].get("DISABLED", False))
        return [gateway.server_ports[name] for name in names]


def start_arguments(text: str) -> list[str]:
    """Return the arguments of a start command, without those that choose address and port."""
    words = [word for word in shlex.split(text, comments=True) if word != "&"]
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word in {"--host", "--port"}:
            next(rest)
        else:
            kept.append(word)
    return kept


def parse_curl(command: str) -> tuple[str, str, dict[str, str], bytes | None]:
    """Return method, URL, headers and body of a curl command as the pages write them."""
    method, url, body = "", "", None
    headers: dict[str, str] = {}
    words = iter(shlex.split(command)[1:])
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(":")
            headers[name] = value.strip()
        elif word == "-d":
            body = next(words).encode()
            headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        elif word == "--data-binary":
            body = Path(next(words).removeprefix("@")).read_bytes()
        elif word == "-F":
            name, _, path = next(words).partition("=@")
            form = requests.Request("POST", "http://x", files={name: Path(path).read_bytes()})
            prepared = form.prepare()
            assert isinstance(prepared.body, bytes)
            headers["Content-Type"], body = prepared.headers["Content-Type"], prepared.body
        elif not word.startswith("-"):
            url = word
    return method or ("GET" if body is None else "POST"), url, headers, body


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Stop at the end what a test started."""
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES]
)
def test_page_shows_what_happens(page: Path, tmp_path: Path, stack: ExitStack) -> None:
    """The files, commands and answers of a page work as shown, in its order."""
    player = Player(page, tmp_path, stack)
    player.play()
    assert player.gateway is not None
    problems = [event for event in player.gateway.events if event["event"] == "gateway_fault"]
    assert [] == problems


def test_pages_are_found() -> None:
    """The pages that promise to be played are among those that are."""
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "docs/howto/change.md", "docs/howto/debug.md"} <= names
