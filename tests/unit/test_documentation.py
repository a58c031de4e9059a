"""The documentation agrees with the code: links, versions, generated and listed things."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest
from flask import Flask

from basic_inference_server import LIB_VER
from basic_inference_server.cli import add_run_arguments
from basic_inference_server.cli_tokens import add_tokens_commands
from basic_inference_server.gateway import http_limits
from basic_inference_server.gateway.control_plane.flask_app import BLUEPRINTS
from basic_inference_server.gateway.control_plane.status import DATA_PATHS
from basic_inference_server.worker.validation_rules import _CHECKS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")]
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
LOG_METHODS = frozenset({"debug", "info", "warning", "error", "critical"})


def prose_of(page: Path) -> str:
    """Return a page without its code blocks."""
    return CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text).strip().lower().replace(" ", "-") for text in headings}


def broken_links(page: Path) -> Iterator[str]:
    """Yield the relative links of a page that lead nowhere."""
    for link in LINK.findall(prose_of(page)):
        name, _, anchor = link.partition("#")
        if "://" in link or name.startswith("mailto:"):
            continue
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            yield f"{link}: no such file"
        elif anchor and target.suffix == ".md" and anchor not in anchors_of(target):
            yield f"{link}: no such heading"


def first_column(page: Path) -> list[str]:
    """Return what is in backticks in the first column of a page's tables."""
    rows = re.findall(r"^\| (`[^|]*`[^|]*) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def load_script(name: str) -> ModuleType:
    """Import a program of the scripts folder, which is no package."""
    spec = util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link leads to an existing file, and to an existing heading in it."""
    assert [] == list(broken_links(page))


def test_every_page_is_in_the_index() -> None:
    """The index links every page of the documentation."""
    index = DOCS / "README.md"
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in LINK.findall(prose_of(index))}
    assert set() == set(DOCS.rglob("*.md")) - linked - {index}


def test_changelog_is_of_this_version() -> None:
    """The top version of the changelog is the library's."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\] - \d{4}-\d{2}-\d{2}$", text, re.MULTILINE)
    assert LIB_VER == versions[0]


def test_generated_pages_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python scripts/build_reference.py` would change nothing."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    pages = load_script("build_reference").pages()
    for path, text in pages.items():
        assert text == path.read_text(encoding="utf-8"), "run python scripts/build_reference.py"


def test_every_key_needs_a_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new setting without a meaning fails the build of its page."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    script = load_script("build_reference")
    meanings = dict(script.ENDPOINT_MEANINGS)
    del meanings["TIMEOUT"]
    with pytest.raises(ValueError, match="TIMEOUT"):
        list(script.settings_table(script.EndpointSettings, meanings))


def test_every_route_is_documented() -> None:
    """The page on HTTP lists exactly the routes that there are."""
    application = Flask("routes", static_folder=None)
    for blueprint in BLUEPRINTS:
        application.register_blueprint(blueprint)
    routes = {rule.rule for rule in application.url_map.iter_rules()} | set(DATA_PATHS)
    table = (DOCS / "reference" / "http.md").read_text(encoding="utf-8").partition("## Requests")[0]
    assert routes == set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE))


def said_events() -> Iterator[str]:
    """Yield the name of every log event in the code."""
    for path in (ROOT / "basic_inference_server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = ast.unparse(node.func.value)
            if node.func.attr in LOG_METHODS and owner.endswith(("log", "events")):
                name = node.args[0]
            elif node.func.attr == "say" and len(node.args) > 1:
                name = node.args[1]
            else:
                continue
            if isinstance(name, ast.Constant):
                yield str(name.value)


def test_every_log_event_is_documented() -> None:
    """The page on logs lists exactly the events that the code says."""
    assert set(said_events()) == set(first_column(DOCS / "reference" / "logs.md"))


def test_every_argument_is_documented() -> None:
    """The page on the command line has every argument, under every name."""
    parser = argparse.ArgumentParser(add_help=False)
    add_run_arguments(parser)
    names = {name for action in parser._actions for name in action.option_strings}
    tokens = argparse.ArgumentParser(add_help=False)
    commands = add_tokens_commands(tokens)
    for command in commands.choices.values():
        names |= {name for action in command._actions for name in action.option_strings}
    names -= {"-h", "--help"}
    page = DOCS / "reference" / "command_line.md"
    documented = {word.partition(" ")[0] for word in first_column(page)}
    assert set() == names - documented


@pytest.mark.parametrize("name", ["MAX_TARGET_BYTES", "MAX_HEAD_BYTES"])
def test_limits_of_connections_are_documented(name: str) -> None:
    """The page on behaviour has the values that the code has."""
    value = f"{getattr(http_limits, name):,.0f}"
    page = (DOCS / "reference" / "behaviour.md").read_text(encoding="utf-8")
    assert re.search(rf"\| {value}\b", page)


def test_every_validation_rule_is_documented() -> None:
    """The page on the worker API has every rule."""
    page = DOCS / "reference" / "worker_api.md"
    assert set(_CHECKS) <= set(first_column(page))
