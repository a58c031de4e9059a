"""The configuration contract: every key, its default, its limits, and where a value came from.

Each field's description is the expectation that an error message quotes, and the source of the
settings reference in the documentation. Only this module reads the environment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from basic_inference_server.core.config_file import ConfigError
from basic_inference_server.core.key_names import (
    key_problems,
    unused_variables,
    variable_problems,
)
from basic_inference_server.core.topology import (
    NO_HOST,
    SHUTDOWN_SIGNATURE,
    SYSTEM_STATUS_SIGNATURE,
    is_signature,
)

ENVIRONMENT_PREFIX = "BIS_"
DEFAULT_HOST = "0.0.0.0"  # noqa: S104 - the seeds' default
DEFAULT_PORT = 5002
MAX_ENDPOINTS = 512
SECRET_WORDS = ("TOKEN", "PASSWORD", "SECRET", "CREDENTIAL", "API_KEY")

Port = Annotated[int, Field(ge=1, le=65535)]


class EndpointSettings(BaseModel):
    """One section of `CONFIG_ENDPOINTS`; keys that are not listed are the endpoint's own."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    SERVER_CLASS: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$",
        description="the name of a file in the endpoints folder, without .py (letters, digits, _)",
    )
    NR_WORKERS: int = Field(1, ge=1, le=256, description="an integer from 1 to 256")
    HOST: str = Field("127.0.0.1", min_length=1, description='a host name, or "NO_HOST"')
    PORT: Port | None = Field(None, description="an integer from 1 to 65535")
    DISABLED: bool = Field(False, description="true or false")
    DESCRIPTION: str = Field("", description="a text")
    PING_INTERVAL: float = Field(
        10, gt=0, le=86400, description="a number of seconds above 0, up to 86400"
    )
    TIMEOUT: float = Field(
        30, gt=0, le=86400, description="a number of seconds above 0, up to 86400"
    )
    LOAD_TIMEOUT: float = Field(
        120, gt=0, le=86400, description="a number of seconds above 0, up to 86400"
    )
    QUEUE_SIZE: int = Field(128, ge=1, le=4096, description="an integer from 1 to 4096")
    IDEMPOTENT: bool | None = Field(None, description="true or false")
    BATCH_SIZE: int = Field(1, ge=1, le=256, description="an integer from 1 to 256")
    BATCH_WAIT_MS: float = Field(
        0, ge=0, le=10000, description="a number of milliseconds from 0 to 10000"
    )
    THREADS: int = Field(1, ge=1, le=256, description="an integer from 1 to 256")
    MAX_REQUESTS: int | None = Field(None, ge=1, description="an integer of at least 1")
    MAX_MEMORY_MB: int | None = Field(None, ge=16, description="an integer of at least 16")
    MAX_MEMORY_HARD_MB: int | None = Field(None, ge=16, description="an integer of at least 16")
    QUARANTINE_WINDOW: float = Field(
        600, ge=0, le=86400, description="a number of seconds from 0 to 86400"
    )
    QUARANTINE_KEEP_BODY: bool = Field(False, description="true or false")
    WARMUP: list[dict[str, Any]] = Field(
        default_factory=list, description="a list of inputs (objects)"
    )
    OPEN_TO_PUBLIC: bool = Field(True, description="true or false")
    ENV: dict[str, str] = Field(
        default_factory=dict, description="an object whose values are texts"
    )

    @property
    def is_support_process(self) -> bool:
        """Whether this is a program without an HTTP address."""
        return self.HOST == NO_HOST

    def own_config(self) -> dict[str, Any]:
        """Return what is laid over the endpoint's `_CONFIG`: every key that was written."""
        return self.model_dump(exclude_unset=True)


class GatewaySettings(BaseModel):
    """The top level of `config_gateway.txt`."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    SERVER_NAME: str = Field("base_server", min_length=1, description="a text")
    HOST: str = Field(DEFAULT_HOST, min_length=1, description="a host name or an address")
    PORT: int = Field(DEFAULT_PORT, ge=0, le=65535, description="an integer from 0 to 65535")
    DEFAULT_SERVER: str | None = Field(None, description="a signature of CONFIG_ENDPOINTS")
    NO_STARTUP_WAIT: bool = Field(False, description="true or false")
    CONFIG_ENDPOINTS: dict[str, EndpointSettings] = Field(
        description="an object: signature -> endpoint section"
    )
    GATEWAY_WORKERS: int = Field(1, ge=1, le=16, description="an integer from 1 to 16")
    MAX_BODY_BYTES: int = Field(
        64 * 1024 * 1024, ge=1024, le=2**31, description="an integer from 1024 to 2147483648"
    )
    GRACEFUL_TIMEOUT: float = Field(
        30, ge=0, le=3600, description="a number of seconds from 0 to 3600"
    )
    CORS_ORIGINS: list[str] = Field(
        default_factory=lambda: ["*"], description="a list of origins (texts)"
    )
    ADMIN_OPEN: bool = Field(False, description="true or false")
    ADMIN_TRUST_LOOPBACK: bool = Field(True, description="true or false")
    STATUS_OPEN: bool = Field(True, description="true or false")
    ERROR_DETAIL: Literal["full", "class", "none"] = Field(
        "class", description='"full", "class" or "none"'
    )
    RELOAD_ON_CHANGE: bool = Field(False, description="true or false")
    MAX_CONNECTIONS: int = Field(8192, ge=16, le=65536, description="an integer from 16 to 65536")
    HEAD_TIMEOUT: float = Field(
        10, gt=0, le=3600, description="a number of seconds above 0, up to 3600"
    )
    BODY_TIMEOUT: float = Field(
        30, gt=0, le=3600, description="a number of seconds above 0, up to 3600"
    )
    IDLE_TIMEOUT: float = Field(
        75, gt=0, le=86400, description="a number of seconds above 0, up to 86400"
    )
    MAX_BUFFERED_MB: int = Field(512, ge=1, le=2**20, description="an integer from 1 to 1048576")
    LOG_FORMAT: Literal["auto", "console", "json"] = Field(
        "auto", description='"auto", "console" or "json"'
    )
    LOG_LEVEL: Literal["debug", "info", "warning", "error"] = Field(
        "info", description='"debug", "info", "warning" or "error"'
    )

    def own_ports(self) -> dict[str, int]:
        """Return the ports that endpoints name for themselves."""
        return {
            name: section.PORT
            for name, section in self.CONFIG_ENDPOINTS.items()
            if section.PORT is not None and not section.is_support_process
        }

    def check_port(self, port: int) -> None:
        """Check that no endpoint names the gateway's port.

        Raises:
            ConfigError: one does.
        """
        problems = [
            f"CONFIG_ENDPOINTS.{name}.PORT: {port} is the gateway's own port; "
            "choose another one, or start the gateway with another --port"
            for name, own in self.own_ports().items()
            if port == own
        ]
        if problems:
            raise ConfigError(problems)


TOP_LEVEL = GatewaySettings.model_fields.keys()
IN_A_SECTION = EndpointSettings.model_fields.keys()


def _relation_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Check what needs more than one value; looks at the raw configuration.

    So a wrong value elsewhere does not hide these problems.
    """
    endpoints = config.get("CONFIG_ENDPOINTS")
    if not isinstance(endpoints, dict):
        return
    if len(endpoints) > MAX_ENDPOINTS:
        yield f"CONFIG_ENDPOINTS: {len(endpoints)} endpoints, but {MAX_ENDPOINTS} at most"
    owner_of: dict[int, str] = {}
    for signature, section in endpoints.items():
        if not isinstance(section, dict):
            continue
        where = f"CONFIG_ENDPOINTS.{signature}"
        if not is_signature(signature) or signature.upper() in {
            SYSTEM_STATUS_SIGNATURE,
            SHUTDOWN_SIGNATURE,
        }:
            yield (
                f"{where}: a signature is 1 to 128 letters, digits, '_', '-', '.', "
                f"and neither {SYSTEM_STATUS_SIGNATURE} nor {SHUTDOWN_SIGNATURE}"
            )
        if section.get("SERVER_CLASS") is None and not signature.isidentifier():
            yield (
                f"{where}: set SERVER_CLASS to the endpoint's file name, "
                f"because {signature!r} cannot be the name of a Python file"
            )
        port = section.get("PORT")
        if isinstance(port, int) and owner_of.setdefault(port, signature) != signature:
            yield f"{where}.PORT: {port} is taken by {owner_of[port]}"
        threads, batch_size = section.get("THREADS"), section.get("BATCH_SIZE")
        if (
            isinstance(threads, int)
            and isinstance(batch_size, int)
            and min(threads, batch_size) > 1
        ):
            yield (
                f"{where}: THREADS is {threads} and BATCH_SIZE is {batch_size}; "
                "a worker executes requests side by side or in batches, so set one of them to 1"
            )
        yield from _environment_problems(where, section.get("ENV"))
    default = config.get("DEFAULT_SERVER")
    if isinstance(default, str) and default not in endpoints:
        yield (
            f"DEFAULT_SERVER: {default!r} is not in CONFIG_ENDPOINTS "
            f"({', '.join(endpoints) or 'which is empty'})"
        )


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _environment_problems(where: str, environment: Any) -> Iterator[str]:
    if not isinstance(environment, dict):
        return
    for name, value in environment.items():
        text = f"{name}{value}"
        if not name or "=" in name or "\0" in text or not _is_encodable(text):
            yield f"{where}.ENV: {name!r} cannot be an environment variable with that value"


def _expectation(location: tuple[int | str, ...]) -> str:
    fields = GatewaySettings.model_fields
    if len(location) >= 3 and location[0] == "CONFIG_ENDPOINTS":
        fields = EndpointSettings.model_fields
        name = str(location[2])
    elif len(location) == 2 and location[0] == "CONFIG_ENDPOINTS":
        return "an object"
    else:
        name = str(location[0]) if location else ""
    field = fields.get(name)
    return (field.description or "another value") if field else "another value"


def _explain(error: ValidationError) -> list[str]:
    problems = []
    for item in error.errors(include_url=False):
        location = item["loc"]
        path = ".".join(str(part) for part in location)
        if item["type"] == "missing":
            problems.append(f"{path}: required, but missing; expected {_expectation(location)}")
            continue
        got = json.dumps(item["input"], default=str, ensure_ascii=False)
        shown = got if len(got) <= 80 else got[:77] + "..."
        problems.append(f"{path}: expected {_expectation(location)}, got {shown}")
    return list(dict.fromkeys(problems))


def validate(config: Mapping[str, Any]) -> GatewaySettings:
    """Return the checked settings.

    Raises:
        ConfigError: with every problem found, each with its path, the value and what is allowed.
    """
    problems = list(key_problems(config, TOP_LEVEL, IN_A_SECTION))
    problems += _relation_problems(config)
    try:
        settings = GatewaySettings.model_validate(config)
    except ValidationError as error:
        raise ConfigError(problems + _explain(error)) from error
    if problems:
        raise ConfigError(problems)
    return settings


def environment_overrides(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the top-level keys that `BIS_<KEY>` variables set; values are JSON or plain text."""
    found = {}
    for key, field in GatewaySettings.model_fields.items():
        raw = environment.get(ENVIRONMENT_PREFIX + key)
        if raw is None or key == "CONFIG_ENDPOINTS":
            continue
        try:
            found[key] = json.loads(raw)
        except ValueError:
            found[key] = raw
        if field.annotation in {str, str | None} and not isinstance(found[key], str):
            found[key] = raw  # a name of digits is a name
    return found


def resolve(
    config: Mapping[str, Any],
    overrides: Mapping[str, Any] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> tuple[GatewaySettings, dict[str, str]]:
    """Lay environment and command line over the file; return settings and each key's source.

    `defaults` are laid under the file, where they are not those of the settings.

    Raises:
        ConfigError: see `validate`.
    """
    from_environment = environment_overrides(os.environ)
    from_command_line = dict(overrides or {})
    merged = {**(defaults or {}), **config, **from_environment, **from_command_line}
    misspelt = [*variable_problems(os.environ, ENVIRONMENT_PREFIX, TOP_LEVEL, IN_A_SECTION)]
    try:
        settings = validate(merged)
    except ConfigError as error:
        raise ConfigError(misspelt + error.problems) from error
    if misspelt:
        raise ConfigError(misspelt)
    sources = {}
    for key in dict.fromkeys([*GatewaySettings.model_fields, *merged]):
        if key in from_command_line:
            sources[key] = "command line"
        elif key in from_environment:
            sources[key] = f"environment {ENVIRONMENT_PREFIX}{key}"
        else:
            sources[key] = "file" if key in config else "default"
            continue
        if key in config and config[key] != merged[key]:
            sources[key] += f"; the file has {masked(key, config[key])}"
    return settings, sources


def unused_settings(
    settings: GatewaySettings, sources: Mapping[str, str] | None = None
) -> list[str]:
    """Return, for each thing that was set and that nothing reads, a sentence that says so."""
    unused = [
        f"{key}{f' ({sources[key]})' if sources else ''}: there is no such setting"
        for key in settings.model_extra or {}
    ]
    for signature, section in settings.CONFIG_ENDPOINTS.items():
        unused += [
            f"CONFIG_ENDPOINTS.{signature}.{key}: a setting of the top level; "
            "here it is only the endpoint's own"
            for key in section.model_extra or {}
            if key in TOP_LEVEL
        ]
        if section.BATCH_WAIT_MS and section.BATCH_SIZE == 1:
            unused.append(
                f"CONFIG_ENDPOINTS.{signature}.BATCH_WAIT_MS: has no effect without BATCH_SIZE"
            )
    variables = unused_variables(os.environ, ENVIRONMENT_PREFIX, TOP_LEVEL)
    return unused + [f"{name}: no setting is read from this variable" for name in variables]


def process_environment() -> dict[str, str]:
    """Return a copy of this process's environment, to be handed to children."""
    return dict(os.environ)


def masked(key: str, value: Any) -> Any:
    """Return `value`, or stars where the key's name says that it is a secret."""
    if isinstance(value, dict):
        return {name: masked(str(name), item) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(key, item) for item in value]
    return "***" if any(word in key.upper() for word in SECRET_WORDS) else value


def application_version(base_folder: Path) -> str:
    """Return `__VER__` of `app_ver.py` in the base folder, or `0.0.0` when there is none."""
    namespace: dict[str, Any] = {}
    try:
        source = (base_folder / "app_ver.py").read_text(encoding="utf-8")
        exec(compile(source, "app_ver.py", "exec"), namespace)  # noqa: S102 - the operator's file
    except (OSError, SyntaxError, NameError):
        return "0.0.0"
    return str(namespace.get("__VER__", "0.0.0"))
