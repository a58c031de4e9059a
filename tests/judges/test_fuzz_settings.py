"""Configuration: any text and any JSON value give settings, or a ConfigError that says where."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.core.config_file import ConfigError, parse_config
from basic_inference_server.core.settings import (
    EndpointSettings,
    GatewaySettings,
    masked,
    resolve,
    validate,
)
from tests.judges.mutated import JSON_VALUES, mutated

pytestmark = pytest.mark.quick

LIKELY = st.sampled_from(
    [True, False, None, 0, 1, 1.0, -1, 2, 5002, 65536, 1e300, 10**400, "", "a", "0.0.0.0",
     "NO_HOST", "auto", "info", "x" * 300, "\0", "\ud800", [], ["*"], {}, {"A": "b"},
     {"": "", "=": "\0"}]
)  # fmt: skip
VALUES = LIKELY | JSON_VALUES
SECTIONS = st.dictionaries(
    st.sampled_from([*EndpointSettings.model_fields, "BATCH_SIZE", "NR_WORKER", "own"])
    | st.text(max_size=10),
    VALUES,
    max_size=5,
)
NAMES = st.sampled_from(["echo", "echo-2", "SYSTEM_STATUS", "", "a.b", "é", "import", "x" * 200])
CONFIGS = st.dictionaries(
    st.sampled_from([*GatewaySettings.model_fields, "SERVER_NAMES", "own"]) | st.text(max_size=10),
    VALUES,
    max_size=5,
)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a configuration that is nearly right, with some endpoints."""
    config = draw(CONFIGS)
    if draw(st.booleans()):
        endpoints = draw(
            st.dictionaries(NAMES | st.text(max_size=8), SECTIONS | VALUES, max_size=3)
        )
        config["CONFIG_ENDPOINTS"] = endpoints
    return config


def check_problems(problems: list[str], keys: set[str]) -> None:
    """Each problem is one line of text, and begins with the key that is wrong."""
    assert problems
    for problem in problems:
        path, separator, explanation = problem.partition(": ")
        assert separator, problem
        assert explanation, problem
        assert any(path == key or path.startswith(f"{key}.") for key in keys), problem


@settings(deadline=None, database=None)
@given(configs())
def test_any_object_gives_settings_or_problems(config: dict[str, Any]) -> None:
    """Nothing but a ConfigError is raised, and every problem names the path of its key."""
    known = {*GatewaySettings.model_fields, *config}
    try:
        found = validate(config)
    except ConfigError as error:
        check_problems(error.problems, known)
    else:
        assert found.CONFIG_ENDPOINTS.keys() == config["CONFIG_ENDPOINTS"].keys()
        for section in found.CONFIG_ENDPOINTS.values():
            masked("", section.own_config())


@settings(deadline=None, database=None)
@given(configs(), CONFIGS)
def test_any_override_gives_settings_or_problems(
    config: dict[str, Any], overrides: dict[str, Any]
) -> None:
    """What the command line lays over the file is checked like the file."""
    known = {*GatewaySettings.model_fields, *config, *overrides}
    try:
        _, sources = resolve(config, overrides)
    except ConfigError as error:
        check_problems(error.problems, known)
    else:
        assert known == sources.keys()


TEXTS = st.text(max_size=60) | mutated(
    configs().map(lambda config: json.dumps(config).encode())
).map(lambda data: data.decode("utf-8", "surrogateescape"))


@settings(deadline=None, database=None)
@given(TEXTS)
def test_any_text_gives_an_object_or_problems(text: str) -> None:
    """Any text is a JSON object, or a ConfigError that begins with the file's name."""
    problems: list[str] = []
    try:
        assert isinstance(parse_config(text, "config.txt"), dict)
    except ConfigError as error:
        problems = error.problems
    assert [] == [problem for problem in problems if not problem.startswith("config.txt:")]
