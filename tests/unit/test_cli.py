"""The command line's defaults."""

from __future__ import annotations

import argparse

from basic_inference_server.cli import add_run_arguments, make_parser


def test_command_of_the_package_listens_on_this_machine_only() -> None:
    """Whoever types it is at the machine; a server for others says so."""
    assert "127.0.0.1" == make_parser().parse_args(["run"]).host


def test_file_that_run_sh_starts_listens_on_every_address() -> None:
    """As specified: `run_gateway.py` adds these arguments."""
    parser = argparse.ArgumentParser()
    add_run_arguments(parser)
    assert "0.0.0.0" == parser.parse_args([]).host
