"""The command line's defaults."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from basic_inference_server.cli import add_run_arguments, main, make_parser
from tests.support.projects import ECHO, write_project


def test_command_of_the_package_listens_on_this_machine_only() -> None:
    """Whoever types it is at the machine; a server for others says so."""
    assert "127.0.0.1" == make_parser().parse_args(["run"]).default_host


def test_file_that_run_sh_starts_listens_on_every_address() -> None:
    """As specified: `run_gateway.py` adds these arguments."""
    parser = argparse.ArgumentParser()
    add_run_arguments(parser)
    assert "0.0.0.0" == parser.parse_args([]).default_host


@pytest.mark.parametrize(("port", "code"), [("5002", 78), ("5003", None)])
def test_check_of_a_configuration_knows_the_gateways_port(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], port: str, code: int | None
) -> None:
    """An endpoint that names it could not listen."""
    write_project(tmp_path, {"echo": {"PORT": 5002}}, {"echo": ECHO})
    try:
        main(["run", "--check-config", "-b", str(tmp_path), "--port", port])
        ended = None
    except SystemExit as exit_:
        ended = exit_.code
    assert code == ended
    said = capsys.readouterr()
    assert ("CONFIG_ENDPOINTS.echo.PORT: 5002 is the gateway's own port" in said.err) == bool(code)
