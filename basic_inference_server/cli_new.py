"""The command line's part for authors: `python -m basic_inference_server new my_model`.

Writes an endpoint, its test and its section of the configuration; nothing that is there is changed
but the configuration, into which the section is put as text, so that its layout stays.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from basic_inference_server.core.config_file import ConfigError, read_config_file

EXIT_FAILED = 1
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

ENDPOINT = '''"""{title}: say here what it answers."""

from __future__ import annotations

from typing import Any

from basic_inference_server import FlaskWorker

_CONFIG: dict[str, Any] = {{"FACTOR": 2}}

__WORKER_VER__ = "0.1.0"


class {class_name}(FlaskWorker):
    """Answers VALUE times FACTOR."""

    def _load_model(self) -> None:
        self.factor = float(self.cfg_factor)

    def _pre_process(self, inputs: dict[str, Any]) -> float:
        if not isinstance(inputs.get("VALUE"), (int, float)):
            raise ValueError("VALUE must be a number")
        return float(inputs["VALUE"])

    def _predict(self, value: float) -> dict[str, Any]:
        return {{"result": value * self.factor}}
'''
TEST = '''"""The endpoint {name}."""

import pytest

from basic_inference_server.testing import run_worker
from endpoints.{name} import {class_name}


def test_value_is_multiplied() -> None:
    assert {{"result": 6.0}} == run_worker({class_name}, {{"VALUE": 3}})
    assert {{"result": 30.0}} == run_worker({class_name}, {{"VALUE": 3}}, {{"FACTOR": 10}})


def test_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="VALUE must be a number"):
        run_worker({class_name}, {{"VALUE": "three"}})
'''
SECTION = '"{name}": {{\n            "NR_WORKERS"    : 1\n        }}'
EMPTY_CONFIG = '{\n    "CONFIG_ENDPOINTS": {}\n}\n'


def add_new_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `new`."""
    parser.add_argument("name", help="lower case, such as my_model: its file and its signature")
    parser.add_argument("-b", "--base_folder", "--base-folder", default=".",
                        help="folder with configuration and endpoints")  # fmt: skip
    parser.add_argument("--config", default="config_gateway.txt", help="configuration file")
    parser.set_defaults(action=create)


def create(arguments: argparse.Namespace) -> None:
    """Write the files of a new endpoint, or say why not."""
    name, folder = arguments.name, Path(arguments.base_folder)
    if not NAME.fullmatch(name):
        _fail(
            f"{name!r} cannot be its name: use lower-case letters, digits and _, such as my_model"
        )
    config = folder / arguments.config
    try:
        config_text = with_section(_config_text(config), name)
    except ConfigError as error:
        _fail("; ".join(error.problems))
    class_name = "".join(part[:1].upper() + part[1:] for part in name.split("_")) + "Worker"
    fields = {"name": name, "class_name": class_name, "title": name.replace("_", " ").capitalize()}
    files = {
        folder / "endpoints" / f"{name}.py": ENDPOINT.format(**fields),
        folder / "tests" / f"test_{name}.py": TEST.format(**fields),
    }
    present = [path for path in files if path.exists()]
    if present:
        _fail(f"{present[0]} is there already; nothing was written")
    package = folder / "endpoints" / "__init__.py"
    if not package.exists():
        files[package] = '"""Endpoints: one file and one class each."""\n'
    for path, text in {**files, config: config_text}.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"wrote {path}")
    _say_what_next(folder, arguments.config, name)


def _say_what_next(folder: Path, config: str, name: str) -> None:
    where = "" if folder == Path() else f", in {folder}"
    option = "" if config == "config_gateway.txt" else f" --config {config}"
    request = json.dumps({"SIGNATURE": name, "VALUE": 3})
    print(f"Next{where}:")
    print(f"  python -m pytest tests/test_{name}.py")
    print(f"  python -m basic_inference_server run --host 127.0.0.1{option}")
    print(f"  curl -s http://127.0.0.1:5002/run -d '{request}'")
    print("A gateway that runs takes it with POST /reload.")


def _config_text(path: Path) -> str:
    if not path.exists():
        return EMPTY_CONFIG
    read_config_file(path)  # says where it is wrong
    return path.read_text(encoding="utf-8")


def with_section(text: str, name: str) -> str:
    """Return a configuration's text with a section for a new endpoint at the end of the others.

    Raises:
        ConfigError: there is no object `CONFIG_ENDPOINTS` in it, or it has that endpoint.
    """
    found = re.search(r'"CONFIG_ENDPOINTS"\s*:\s*', text)
    if found is None:
        raise ConfigError(["the configuration has no CONFIG_ENDPOINTS"])
    endpoints, end = json.JSONDecoder().raw_decode(text, found.end())
    if not isinstance(endpoints, dict):
        raise ConfigError(["CONFIG_ENDPOINTS is no object"])
    if name in endpoints:
        raise ConfigError([f"CONFIG_ENDPOINTS has {name} already"])
    before = text[: end - 1].rstrip()
    comma = "," if endpoints else ""
    section = SECTION.format(name=name)
    changed = f"{before}{comma}\n\n        {section}\n    {text[end - 1 :]}"
    if not endpoints:
        changed = changed.replace("{\n\n        ", "{\n        ", 1)
    _check(changed, name)
    return changed


def _check(text: str, name: str) -> None:
    config: dict[str, Any] = json.loads(text)
    assert name in config["CONFIG_ENDPOINTS"], "the section went elsewhere"


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise SystemExit(EXIT_FAILED)
