"""Reads `config_gateway.txt`: one JSON object, strictly, with positions in its errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

MAX_CONFIG_BYTES: Final = 4 * 1024 * 1024
EXIT_CONFIG: Final = 78  # EX_CONFIG of sysexits.h


class ConfigError(Exception):
    """The configuration is wrong; `problems` lists every reason, one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"the key {', '.join(map(repr, twice))} occurs more than once")
    return dict(pairs)


def parse_config(text: str, name: str) -> dict[str, Any]:
    """Return the JSON object in `text`; `name` says in errors which file it is.

    Raises:
        ConfigError: not JSON (with line and column), a duplicate key, or not an object.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        place = f"{name}:{error.lineno}:{error.colno}"
        raise ConfigError([f"{place}: {error.msg}"]) from error
    except ValueError as error:
        raise ConfigError([f"{name}: {error}"]) from error
    except RecursionError as error:
        raise ConfigError([f"{name}: nested too deeply"]) from error
    if not isinstance(value, dict):
        raise ConfigError([f"{name}: expected one JSON object, got {type(value).__name__}"])
    return value


def read_config_file(path: Path) -> dict[str, Any]:
    """Return the JSON object in the file.

    Raises:
        ConfigError: the file cannot be read, is not UTF-8, is too large, or `parse_config` says.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror or error}"]) from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError([f"{path}: larger than {MAX_CONFIG_BYTES} bytes"])
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 at byte {error.start}"]) from error
    return parse_config(text, str(path))
