"""A wrong configuration: every problem at once, exit 78 within 3 s, nothing started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.functional.endpoint_sources import MIRROR
from tests.functional.gateways import run_to_end
from tests.support.projects import write_project

EXIT_CONFIG = 78
MIRROR_ONLY: dict[str, Any] = {"mirror": {}}


def problems_of(folder: Path, *arguments: str, **environment: str) -> list[str]:
    """Start a gateway that must refuse its configuration; return the problems it names."""
    code, lines = run_to_end(folder, arguments, environment)
    assert EXIT_CONFIG == code, lines
    assert "The configuration is wrong:" == lines[0], lines
    assert not (folder / "_cache").exists()
    return [line.strip() for line in lines[1:]]


def test_every_problem_is_named_with_path_value_and_what_is_allowed(tmp_path: Path) -> None:
    """One start is enough to learn of all mistakes, at every level."""
    endpoints: dict[str, Any] = {
        "mirror": {"NR_WORKERS": "two", "TIMEOUT": 0, "ENV": {"A": 1}},
        "bad name": {"SERVER_CLASS": "mirror"},
        "with-dash": {},
        "third": {"SERVER_CLASS": "../mirror", "PORT": 70000, "QUEUE_SIZE": 0},
        "fourth": 5,
    }
    write_project(
        tmp_path,
        endpoints,
        {},
        MAX_BODY_BYTES=1,
        LOG_LEVEL="loud",
        CORS_ORIGINS="*",
        GATEWAY_WORKERS=1.5,
        NO_STARTUP_WAIT="yes",
    )
    problems = problems_of(tmp_path)
    for expected in [
        'CONFIG_ENDPOINTS.mirror.NR_WORKERS: expected an integer from 1 to 256, got "two"',
        "CONFIG_ENDPOINTS.mirror.TIMEOUT: expected a number of seconds above 0, up to 86400, got 0",
        "CONFIG_ENDPOINTS.mirror.ENV.A: expected an object whose values are texts, got 1",
        "CONFIG_ENDPOINTS.third.PORT: expected an integer from 1 to 65535, got 70000",
        "CONFIG_ENDPOINTS.third.QUEUE_SIZE: expected an integer from 1 to 4096, got 0",
        "CONFIG_ENDPOINTS.fourth: expected an object, got 5",
        "MAX_BODY_BYTES: expected an integer from 1024 to 2147483648, got 1",
        'LOG_LEVEL: expected "debug", "info", "warning" or "error", got "loud"',
        'CORS_ORIGINS: expected a list of origins (texts), got "*"',
        "GATEWAY_WORKERS: expected an integer from 1 to 16, got 1.5",
        'NO_STARTUP_WAIT: expected true or false, got "yes"',
    ]:
        assert expected in problems
    assert any(problem.startswith("CONFIG_ENDPOINTS.third.SERVER_CLASS: ") for problem in problems)


def test_problems_of_both_kinds_are_named_together(tmp_path: Path) -> None:
    """A wrong value does not hide a wrong name or a default server that does not exist."""
    endpoints: dict[str, Any] = {
        "mirror": {"NR_WORKERS": 0},
        "bad name": {"SERVER_CLASS": "mirror"},
    }
    write_project(tmp_path, endpoints, {}, DEFAULT_SERVER="nobody")
    problems = problems_of(tmp_path)
    assert any(problem.startswith("CONFIG_ENDPOINTS.mirror.NR_WORKERS: ") for problem in problems)
    assert any(problem.startswith("CONFIG_ENDPOINTS.bad name: ") for problem in problems)
    assert any(problem.startswith("DEFAULT_SERVER: 'nobody' ") for problem in problems)


def test_relations_between_keys_are_checked(tmp_path: Path) -> None:
    """Names, ports and the default server have to fit each other."""
    endpoints: dict[str, Any] = {
        "mirror": {"PORT": 20001},
        "bad name": {"SERVER_CLASS": "mirror"},
        "with-dash": {},
        "SYSTEM_STATUS": {"SERVER_CLASS": "mirror"},
        "twin": {"SERVER_CLASS": "mirror", "PORT": 20001},
    }
    write_project(tmp_path, endpoints, {}, DEFAULT_SERVER="nobody")
    problems = problems_of(tmp_path)
    starts = ["CONFIG_ENDPOINTS.bad name: ", "CONFIG_ENDPOINTS.with-dash: set SERVER_CLASS",
              "CONFIG_ENDPOINTS.SYSTEM_STATUS: ", "CONFIG_ENDPOINTS.twin.PORT: 20001 is taken",
              "DEFAULT_SERVER: 'nobody' is not in CONFIG_ENDPOINTS"]  # fmt: skip
    assert starts == [
        start for start in starts if any(problem.startswith(start) for problem in problems)
    ]


@pytest.mark.parametrize(
    ("section", "settings", "expected"),
    [
        pytest.param(
            {"NR_WORKER": 2},
            {},
            "CONFIG_ENDPOINTS.mirror.NR_WORKER: there is no such key; did you mean NR_WORKERS?",
            id="endpoint",
        ),
        pytest.param(
            {"nr_workers": 2},
            {},
            "CONFIG_ENDPOINTS.mirror.nr_workers: there is no such key; did you mean NR_WORKERS?",
            id="lower case",
        ),
        pytest.param(
            {},
            {"CORS_ORIGIN": ["*"]},
            "CORS_ORIGIN: there is no such key; did you mean CORS_ORIGINS?",
            id="top level",
        ),
    ],
)
def test_near_miss_of_a_key_is_not_ignored(
    tmp_path: Path, section: dict[str, Any], settings: dict[str, Any], expected: str
) -> None:
    """A misspelt key is told, with the right one."""
    write_project(tmp_path, {"mirror": section}, {"mirror": MIRROR}, **settings)
    assert [expected] == problems_of(tmp_path)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("", "config_gateway.txt:1:1: ", id="empty"),
        pytest.param('{\n  "A": 1,\n}', "config_gateway.txt:3:1: ", id="trailing comma"),
        pytest.param('{"A": 1, "A": 2}', "the key 'A' occurs more than once", id="duplicate key"),
        pytest.param("[]", "expected one JSON object, got list", id="array"),
        pytest.param('{"A": NaN}', "NaN is not JSON", id="NaN"),
        pytest.param('{"A": ' + "[" * 100_000, "nested too deeply", id="deep"),
        pytest.param("{}", "CONFIG_ENDPOINTS: required, but missing", id="nothing in it"),
        pytest.param('{"CONFIG_ENDPOINTS": []}', "CONFIG_ENDPOINTS: expected an object", id="list"),
    ],
)
def test_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str, shown: str) -> None:
    """What is wrong with the file itself is said with its place."""
    (tmp_path / "config_gateway.txt").write_text(text)
    (problem,) = problems_of(tmp_path)
    assert shown in problem


def test_file_that_is_not_utf8_or_not_there_is_refused(tmp_path: Path) -> None:
    """A file that cannot be read is named."""
    assert "cannot be read: No such file" in problems_of(tmp_path)[0]
    (tmp_path / "config_gateway.txt").write_bytes(b'{"A": "\xff"}')
    assert "not UTF-8 at byte 7" in problems_of(tmp_path)[0]


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        pytest.param(
            ["--set", "GRACEFUL_TIMEOUT=soon"], {}, "GRACEFUL_TIMEOUT: expected a number",
            id="argument",
        ),
        pytest.param(["--set", "LOG_LEVEL"], {}, "--set LOG_LEVEL: expected KEY=VALUE", id="no ="),
        pytest.param(["--set", "LOG_LEVELL=no"], {}, "LOG_LEVELL: there is no such key", id="key"),
        pytest.param([], {"BIS_LOG_LEVLE": "x"}, "BIS_LOG_LEVLE: there is no such key", id="near"),
        pytest.param(["--port", "65536"], {}, "PORT: expected an integer", id="port"),
        pytest.param([], {"BIS_ADMIN_OPEN": "maybe"}, "ADMIN_OPEN: expected true", id="variable"),
    ],
)  # fmt: skip
def test_overrides_are_checked_like_the_file(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], expected: str
) -> None:
    """A wrong value on the command line or in the environment is a wrong configuration."""
    write_project(tmp_path, MIRROR_ONLY, {"mirror": MIRROR})
    assert problems_of(tmp_path, *arguments, **environment)[0].startswith(expected)


def test_check_of_a_right_configuration_starts_nothing(tmp_path: Path) -> None:
    """`--check-config` says that all is well, what has no effect, and ends with 0."""
    off = {"DISABLED": True}
    write_project(tmp_path, {"mirror": {}, "off": off}, {"mirror": MIRROR}, STORE=1)
    code, lines = run_to_end(tmp_path, ["--check-config", "--set", "NOPE=1"], {"BIS_NOTHING": "1"})
    assert [
        "Warning: STORE (file): there is no such setting",
        "Warning: NOPE (command line): there is no such setting",
        "Warning: BIS_NOTHING: no setting is read from this variable",
        "Warning: CONFIG_ENDPOINTS.off: there is no off.py in endpoints; it holds mirror. "
        "Add the file, or name another with SERVER_CLASS",
        "The configuration is valid: 2 endpoints.",
    ] == lines
    assert 0 == code
    assert not (tmp_path / "_cache").exists()


def test_check_finds_an_endpoint_without_a_file(tmp_path: Path) -> None:
    """A start would have it FAILED, while the others serve."""
    endpoints = {"miror": {}, "mirror": {}, "helper": {"HOST": "NO_HOST"}}
    write_project(tmp_path, endpoints, {"mirror": MIRROR})
    assert [
        "CONFIG_ENDPOINTS.miror: there is no miror.py in endpoints; did you mean mirror? "
        "it holds mirror. Add the file, or name another with SERVER_CLASS",
        "CONFIG_ENDPOINTS.helper: there is no helper.py in endpoints; it holds mirror. "
        "Add the file, or name another with SERVER_CLASS",
    ] == problems_of(tmp_path, "--check-config")


def test_check_of_a_wrong_configuration_names_the_problems(tmp_path: Path) -> None:
    """`--check-config` finds what a start would find, overrides included."""
    write_project(tmp_path, {"mirror": {"NR_WORKERS": 0}}, {})
    (problem,) = problems_of(tmp_path, "--check-config", BIS_LOG_LEVEL="info")
    assert problem.startswith("CONFIG_ENDPOINTS.mirror.NR_WORKERS: ")
    assert problems_of(tmp_path, "--check-config", "--set", "LOG_LEVEL=no")[0].startswith("CONFIG")


def test_seeds_example_is_right(tmp_path: Path) -> None:
    """The first specification's configuration loads unchanged."""
    demo = {"HOST": "127.0.0.1", "NR_WORKERS": 5, "DESCRIPTION": "a demonstration"}
    write_project(
        tmp_path,
        {
            "dummy_model_a": demo,
            "dummy_model_a-bis": {**demo, "SERVER_CLASS": "dummy_model_a", "DISABLED": True},
            "support_process": {"HOST": "NO_HOST", "PING_INTERVAL": 10},
        },
        {"dummy_model_a": MIRROR, "support_process": ""},
        DEFAULT_SERVER="dummy_model_a",
        NO_STARTUP_WAIT=True,
        SERVER_NAME="base_server",
    )
    assert 0 == run_to_end(tmp_path, ["--check-config"])[0]
    configuration = json.loads((tmp_path / "config_gateway.txt").read_text())
    assert 3 == len(configuration["CONFIG_ENDPOINTS"])
