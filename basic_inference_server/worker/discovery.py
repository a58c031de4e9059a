"""Finds an endpoint: the file and the class that a configuration section means.

`some_name` is `endpoints/some_name.py` with a class `SomeNameWorker`; upper and lower case and
underscores do not matter. Names come from the checked configuration, never from a request.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from basic_inference_server.worker.execution import describe
from basic_inference_server.worker.flask_worker import FlaskWorker
from basic_inference_server.worker.hook_shapes import hook_problem, overrides
from basic_inference_server.worker.kept_code import KeptCode, import_from, keep
from basic_inference_server.worker.load_error import EndpointLoadError, import_hint

__all__ = ["FoundEndpoint", "find_endpoint", "find_file", "keep_code", "normalised", "overrides"]


@dataclass(frozen=True)
class FoundEndpoint:
    """An endpoint's class and the `_CONFIG` of its module."""

    worker_class: type[FlaskWorker]
    default_config: dict[str, Any]
    path: Path


def normalised(name: str) -> str:
    """Return the form in which two names of one endpoint are equal."""
    return name.replace("_", "").lower()


def find_file(folder: Path, server_class: str) -> Path:
    """Return the file in `folder` that defines `server_class`.

    Raises:
        EndpointLoadError: no such file, or several.
    """
    exact = folder / f"{server_class}.py"
    if exact.is_file():
        return exact
    names = sorted(path for path in folder.glob("*.py") if not path.stem.startswith("_"))
    found = [path for path in names if normalised(path.stem) == normalised(server_class)]
    if len(found) == 1:
        return found[0]
    if found:
        raise EndpointLoadError(
            f"{server_class!r} is ambiguous: {', '.join(path.name for path in found)} in {folder}; "
            "keep one of them"
        )
    there = ", ".join(path.stem for path in names) or "no endpoint at all"
    raise EndpointLoadError(
        f"there is no {server_class}.py in {folder}; {_did_you_mean(server_class, names)}it holds "
        f"{there}. Add the file, or name another with SERVER_CLASS"
    )


def _did_you_mean(server_class: str, files: Sequence[Path]) -> str:
    by_name = {normalised(path.stem): path.stem for path in files}
    near = get_close_matches(normalised(server_class), by_name, 1, cutoff=0.7)
    return f"did you mean {by_name[near[0]]}? " if near else ""


def keep_code(folder: Path, server_class: str) -> KeptCode | None:
    """Return an endpoint's files as they are now.

    `None` when there is none, or none that can be compiled: each worker finds out why by itself.
    """
    try:
        return keep(find_file(folder, server_class))
    except EndpointLoadError:
        return None


def import_file(path: Path, code: CodeType | None = None) -> ModuleType:
    """Import an endpoint file as `<folder>.<stem>`; from `code` when it is given.

    Raises:
        EndpointLoadError: a syntax error, or whatever the module raised while it was imported.
    """
    name = f"{path.parent.name}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise EndpointLoadError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        if code is None:
            spec.loader.exec_module(module)
        else:
            exec(code, vars(module))  # noqa: S102 - the endpoint's file, compiled before the fork
    except SyntaxError as error:
        del sys.modules[name]
        raise EndpointLoadError(f"{path}:{error.lineno}: syntax error: {error.msg}") from error
    except BaseException as error:  # an endpoint file may even raise SystemExit
        del sys.modules[name]
        raise EndpointLoadError(
            f"{path} could not be imported: {describe(error)}" + import_hint(error, path.parent)
        ) from error
    package = sys.modules.get(path.parent.name)
    if package is not None:  # as an import would: `endpoints.<stem>` works after import endpoints
        setattr(package, path.stem, module)
    return module


def find_class(module: ModuleType, path: Path, wanted: str) -> type[FlaskWorker]:
    """Return the `FlaskWorker` subclass of that name in the module.

    Raises:
        EndpointLoadError: no such class, not a `FlaskWorker`, or hooks that cannot be called.
    """
    classes = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and value is not FlaskWorker
    }
    matches = [value for name, value in classes.items() if normalised(name) == normalised(wanted)]
    if not matches:
        there = ", ".join(name for name, value in classes.items() if issubclass(value, FlaskWorker))
        raise EndpointLoadError(
            f"{path} has no class {wanted}(FlaskWorker); "
            + (f"it has {there}: rename it" if there else "add one")
        )
    found = matches[0]
    if not issubclass(found, FlaskWorker):
        raise EndpointLoadError(
            f"{path}: {found.__name__} must be a subclass of basic_inference_server.FlaskWorker"
        )
    problem = hook_problem(found)
    if problem:
        raise EndpointLoadError(f"{path}: {problem}")
    return found


def find_endpoint(
    folder: Path, server_class: str, suffix: str = "Worker", kept: KeptCode | None = None
) -> FoundEndpoint:
    """Return the endpoint that `server_class` names.

    Args:
        folder: the endpoints folder.
        server_class: file name without `.py`, from the configuration.
        suffix: what the class name ends in.
        kept: the file, where it was read before.

    Raises:
        EndpointLoadError: it cannot be found or imported; the message says what to change.
    """
    if kept is None:
        if not folder.is_dir():
            raise EndpointLoadError(f"there is no endpoints folder at {folder}")
        path = find_file(folder, server_class)
        module = import_file(path)
    else:
        path = kept.path
        import_from(kept)
        module = import_file(path, kept.code)
    wanted = "".join(part[:1].upper() + part[1:] for part in path.stem.split("_")) + suffix
    worker_class = find_class(module, path, wanted)
    config = getattr(module, "_CONFIG", {})
    if not isinstance(config, dict):
        raise EndpointLoadError(f"{path}: _CONFIG must be a dict, not {type(config).__name__}")
    return FoundEndpoint(worker_class, config, path)
