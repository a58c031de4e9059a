"""The command line: `python -m basic_inference_server run`, and `tokens`."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basic_inference_server._version import LIB_VER
from basic_inference_server.cli_new import add_new_arguments
from basic_inference_server.cli_tokens import (
    add_config_argument,
    add_folder_arguments,
    add_tokens_commands,
)
from basic_inference_server.core.config_file import ConfigError
from basic_inference_server.core.logger import Logger
from basic_inference_server.core.settings import DEFAULT_HOST, DEFAULT_PORT, unused_settings
from basic_inference_server.main import (
    FlaskGateway,
    report_config_error,
    settings_for,
    with_address,
)
from basic_inference_server.supervision.endpoint_files import missing_files


def add_run_arguments(
    parser: argparse.ArgumentParser,
    host: str = DEFAULT_HOST,
) -> None:
    """Add the arguments of a gateway; the first four are the seeds' own.

    `host` is where it listens when neither the command line nor the configuration says.
    """
    add_folder_arguments(parser)
    parser.set_defaults(default_host=host)
    parser.add_argument("--host", help=f"address to listen on (HOST, or {host})")
    parser.add_argument("--port", type=int,
                        help=f"port; 0 takes a free one (PORT, or {DEFAULT_PORT})")  # fmt: skip
    add_config_argument(parser)
    parser.add_argument("--first_server_port", "--first-server-port", type=int, default=None,
                        help="where the servers' own ports begin; 0 takes free ones")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
                        help="override a top-level setting; VALUE is JSON or text")  # fmt: skip
    parser.add_argument("--check-config", "--check_config", action="store_true",
                        help="check the configuration and exit")  # fmt: skip


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """Return `KEY=VALUE` pairs as settings.

    Raises:
        ConfigError: one of them has no `=`.
    """
    overrides = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator:
            raise ConfigError([f"--set {pair}: expected KEY=VALUE"])
        try:
            overrides[key] = json.loads(text)
        except ValueError:
            overrides[key] = text
    return overrides


def check(log: Logger, overrides: Mapping[str, Any], default_host: str) -> None:
    """Print that the configuration is valid, and what in it has no effect.

    Raises:
        ConfigError: it is not; a start would refuse it, or have an endpoint that has failed.
    """
    settings, sources = settings_for(log.config_data, overrides, default_host)
    missing = missing_files(Path(log.base_folder) / "endpoints", settings.CONFIG_ENDPOINTS)
    enabled = {name for name, one in settings.CONFIG_ENDPOINTS.items() if not one.DISABLED}
    if enabled & missing.keys():
        raise ConfigError(list(missing.values()))
    for sentence in (*unused_settings(settings, sources), *missing.values()):
        print(f"Warning: {sentence}")
    print(f"The configuration is valid: {len(settings.CONFIG_ENDPOINTS)} endpoints.")


def run(arguments: argparse.Namespace) -> None:
    """Run a gateway, or only check its configuration."""
    try:
        log = Logger(
            lib_name="gateway",
            base_folder=arguments.base_folder,
            app_folder=arguments.app_folder,
            config_file=arguments.config,
        )
        overrides = parse_overrides(arguments.overrides)
        if arguments.check_config:
            given = with_address(overrides, arguments.host, arguments.port)
            check(log, given, arguments.default_host)
            return
    except ConfigError as error:
        report_config_error(error)
    FlaskGateway(
        log,
        host=arguments.host,
        port=arguments.port,
        default_host=arguments.default_host,
        first_server_port=arguments.first_server_port,
        settings=overrides,
    )


def print_any_text() -> None:
    """Print what the terminal's character set does not have as escapes, instead of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def make_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(prog="python -m basic_inference_server", description=__doc__)
    parser.add_argument("--version", action="version", version=LIB_VER)
    commands = parser.add_subparsers(dest="command", required=True)
    run_parser = commands.add_parser("run", help="run the gateway of a folder")
    # As other development servers do: whoever types this is at the machine.
    add_run_arguments(run_parser, host="127.0.0.1")
    run_parser.set_defaults(action=run)
    add_tokens_commands(
        commands.add_parser("tokens", help="create, list and revoke tokens of a gateway's folder")
    )
    add_new_arguments(commands.add_parser("new", help="write a new endpoint with its test"))
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    print_any_text()
    arguments = make_parser().parse_args(argv)
    arguments.action(arguments)
