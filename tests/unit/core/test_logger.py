"""Unit tests of the seeds' `Logger`: `P`, `config_data` and where the configuration is."""

from __future__ import annotations

from pathlib import Path

import pytest

from basic_inference_server.core.config_file import ConfigError
from basic_inference_server.core.logger import Logger
from basic_inference_server.core.logs import Event, EventLog


def test_logger_takes_the_arguments_of_the_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every argument that published programs pass is accepted."""
    monkeypatch.chdir("/")
    (tmp_path / "config_gateway.txt").write_text('{"SERVER_NAME": "base_server"}')
    log = Logger(
        lib_name="AIAPP",
        base_folder=str(tmp_path),
        app_folder="_cache",
        config_file="config_gateway.txt",
        TF_KERAS=False,
        max_lines=3000,
        lib_ver="1.0",
    )
    assert {"SERVER_NAME": "base_server"} == log.config_data
    assert str(tmp_path) == log.get_base_folder()


def test_configuration_is_found_as_given_before_the_base_folder(tmp_path: Path) -> None:
    """A path that exists wins over one under the base folder."""
    given = tmp_path / "mine.txt"
    given.write_text('{"A": 1}')
    assert {"A": 1} == Logger(base_folder="/nowhere", config_file=str(given)).config_data


def test_wrong_configuration_is_a_config_error(tmp_path: Path) -> None:
    """The reasons are those of the strict reader."""
    (tmp_path / "wrong.txt").write_text("{")
    with pytest.raises(ConfigError, match=r"wrong.txt:1:2"):
        Logger(base_folder=str(tmp_path), config_file="wrong.txt")


@pytest.mark.parametrize(
    ("text", "color", "level", "message"),
    [
        pytest.param("hello", None, "info", "hello", id="plain"),
        pytest.param("hello", "g", "info", "hello", id="coloured"),
        pytest.param("Error while trying", "r", "error", "Error while trying", id="red error"),
        pytest.param("red but fine", "r", "info", "red but fine", id="red only"),
        pytest.param(5, None, "info", "5", id="number"),
        pytest.param(None, None, "info", "None", id="nothing"),
    ],
)
def test_p_says_a_message(text: object, color: str | None, level: str, message: str) -> None:
    """`P` takes anything, in any colour; a red error is an error."""
    said: list[Event] = []
    log = Logger(log=EventLog(said.append))
    log.P(text, color=color, boxed=True, show_time=True)
    log.p(text, color=color)
    assert [(level, "message", message)] * 2 == [
        (event["level"], event["event"], event["message"]) for event in said
    ]


def test_configuration_is_laid_over_what_is_there() -> None:
    """A support process adds its own settings to the logger's."""
    log = Logger(log=EventLog(lambda event: None))
    log.update_config_data({"A": 1, "B": 1})
    log.update_config_data({"B": 2})
    assert {"A": 1, "B": 2} == log.config_data
