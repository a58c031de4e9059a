"""The command line: `python -m basic_inference_server run`, and `tokens`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
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
from basic_inference_server.main import (
    DEFAULT_PORT,
    FlaskGateway,
    report_config_error,
    settings_for,
)


def add_run_arguments(
    parser: argparse.ArgumentParser,
    host: str = "0.0.0.0",  # noqa: S104 - what `run_gateway.py` and `run.sh` are specified to do
) -> None:
    """Add the arguments of a gateway; the first four are the seeds' own.

    `host` is where it listens when nothing is said.
    """
    add_folder_arguments(parser)
    parser.add_argument("--host", default=host, help=f"address to listen on ({host})")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port; 0 takes a free one")
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
            settings, _ = settings_for(arguments.port, log.config_data, overrides)
            print(f"The configuration is valid: {len(settings.CONFIG_ENDPOINTS)} endpoints.")
            return
    except ConfigError as error:
        report_config_error(error)
    FlaskGateway(
        log,
        host=arguments.host,
        port=arguments.port,
        first_server_port=arguments.first_server_port,
        settings=overrides,
    )


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
    arguments = make_parser().parse_args(argv)
    arguments.action(arguments)
