"""Keys of a configuration that nothing reads: near misses of real ones, misplaced ones, others."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

LIKENESS: Final = 0.86
# Words with which other programs begin or end the names of their numbers.
COUNTING_WORDS: Final = frozenset({"NR", "N", "NUM", "NUMBER", "OF", "COUNT", "MAX"})
ARGUMENTS: Final = {
    "APP_FOLDER": "--app_folder",
    "BASE_FOLDER": "--base_folder",
    "FIRST_SERVER_PORT": "--first_server_port",
}
# Variables with the prefix of our settings that are none: those of the client, and those that the
# gateway hands to its own processes.
OTHER_VARIABLES: Final = frozenset(
    {
        "ADDRESS", "ADMIN_TOKEN_FILE", "CHILD_SPEC", "LOG_MARK", "RUN", "SUPERVISED", "TOKEN",
    }
)  # fmt: skip


def near_miss(key: str, known: Iterable[str]) -> str | None:
    """Return the known key that `key` must have been meant to be."""
    written = key.upper().replace("-", "_")
    by_core = {_core(name): name for name in known}
    for candidate, names in (
        (written, {name: name for name in by_core.values()}),
        (_core(written), by_core),
    ):
        close = difflib.get_close_matches(candidate, names, n=1, cutoff=LIKENESS)
        if close:
            return names[close[0]]
    return None


def _core(name: str) -> str:
    """Return a name without its counting words: WORKERS of NR_WORKERS."""
    return "_".join(word for word in name.split("_") if word not in COUNTING_WORDS) or name


def key_problems(
    config: Mapping[str, Any], top: Iterable[str], section: Iterable[str]
) -> Iterator[str]:
    """Yield what is wrong with the names of a configuration's keys.

    Args:
        config: the configuration.
        top: the keys that the top level has.
        section: the keys that an endpoint's section has.
    """
    for key in config:
        yield from _top_level_problem(key, key, top, section)
    endpoints = config.get("CONFIG_ENDPOINTS")
    for signature, own in endpoints.items() if isinstance(endpoints, dict) else ():
        for key in own if isinstance(own, dict) else ():
            meant = None if key in section else near_miss(key, section)
            if meant:
                yield (
                    f"CONFIG_ENDPOINTS.{signature}.{key}: there is no such key; "
                    f"did you mean {meant}?"
                )


def variable_problems(
    names: Iterable[str], prefix: str, top: Iterable[str], section: Iterable[str]
) -> Iterator[str]:
    """Yield what is wrong with the names of environment variables that begin with `prefix`."""
    for name in names:
        key = name.removeprefix(prefix)
        if key == name or key in OTHER_VARIABLES:
            continue
        yield from _top_level_problem(name, key, top, section, prefix)


def unused_variables(names: Iterable[str], prefix: str, top: Iterable[str]) -> list[str]:
    """Return the environment variables that begin with `prefix` and that nothing reads."""
    read = {prefix + key for key in (*top, *OTHER_VARIABLES)} - {prefix + "CONFIG_ENDPOINTS"}
    return sorted(name for name in names if name.startswith(prefix) and name not in read)


def _top_level_problem(
    shown: str, key: str, top: Iterable[str], section: Iterable[str], prefix: str = ""
) -> Iterator[str]:
    if key in top:
        return
    if key in section:
        yield (
            f"{shown}: belongs to an endpoint's section: write CONFIG_ENDPOINTS.<signature>.{key}"
        )
        return
    if key in ARGUMENTS:
        yield f"{shown}: is no setting; write {ARGUMENTS[key]} on the command line"
        return
    meant = near_miss(key, top)
    if meant:
        yield f"{shown}: there is no such key; did you mean {prefix}{meant}?"
        return
    meant = near_miss(key, section)
    if meant:
        yield (f"{shown}: there is no such key; did you mean CONFIG_ENDPOINTS.<signature>.{meant}?")
