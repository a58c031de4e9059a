"""Unit tests of the configuration contract: each key, its limits, the words of its complaint."""

from __future__ import annotations

from typing import Any

import pytest

from basic_inference_server.core.config_file import ConfigError
from basic_inference_server.core.settings import EndpointSettings, GatewaySettings, validate

SECONDS = "a number of seconds above 0, up to 86400"
TRUE_OR_FALSE = "true or false"
NO_INTEGER = ["two", "2", 2.5, None, [2], {}, True]


def with_section(**section: Any) -> dict[str, Any]:
    return {"CONFIG_ENDPOINTS": {"demo": section}}


def section_of(**section: Any) -> EndpointSettings:
    return validate(with_section(**section)).CONFIG_ENDPOINTS["demo"]


def problems_of(config: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(config)
    return caught.value.problems


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("SERVER_CLASS", ["", "a-b", "../x", "a/b", "a.py", "9a", "a" * 129, 5, "a\n"],
         "the name of a file in the endpoints folder, without .py (letters, digits, _)"),
        ("NR_WORKERS", [0, -1, 257, *NO_INTEGER], "an integer from 1 to 256"),
        ("HOST", ["", 5, None, []], 'a host name, or "NO_HOST"'),
        ("PORT", [0, -1, 65536, "5003", 1.5, True], "an integer from 1 to 65535"),
        ("DISABLED", ["yes", "true", 1, 0, None], TRUE_OR_FALSE),
        ("DESCRIPTION", [5, None, ["x"]], "a text"),
        ("PING_INTERVAL", [0, -1, 86401, "10", None, True, float("nan")], SECONDS),
        ("TIMEOUT", [0, -0.5, 86400.5, "30", None, float("inf")], SECONDS),
        ("LOAD_TIMEOUT", [0, 1e9, "120", None], SECONDS),
        ("QUEUE_SIZE", [0, 4097, *NO_INTEGER], "an integer from 1 to 4096"),
        ("IDEMPOTENT", ["no", 0, 1], TRUE_OR_FALSE),
        ("MAX_REQUESTS", [0, -5, "many", 1.5], "an integer of at least 1"),
        ("MAX_MEMORY_MB", [15, 0, "1 GB", 99.5], "an integer of at least 16"),
        ("MAX_MEMORY_HARD_MB", [15, 0, "1 GB", 99.5], "an integer of at least 16"),
        ("BATCH_SIZE", [0, 257, 1.5, "8"], "an integer from 1 to 256"),
        ("THREADS", [0, 257, 1.5, "8"], "an integer from 1 to 256"),
        ("BATCH_WAIT_MS", [-1, 10001, "5"], "a number of milliseconds from 0 to 10000"),
        ("QUARANTINE_WINDOW", [-1, 86401, "1 h"], "a number of seconds from 0 to 86400"),
        ("WARMUP", [{}, "x", 5], "a list of inputs (objects)"),
        ("ENV", ["A=1", ["A"], None, 5], "an object whose values are texts"),
    ],
)  # fmt: skip
def test_endpoint_key_outside_its_limits_is_refused_in_full_words(
    key: str, values: list[Any], expected: str
) -> None:
    """Each wrong value is answered with the path, what is allowed and what was there."""
    for value in values:
        (problem,) = problems_of(with_section(**{key: value}))
        path, _, explanation = problem.partition(": ")
        wanted, _, _ = explanation.partition(", got ")
        assert (f"CONFIG_ENDPOINTS.demo.{key}", f"expected {expected}") == (path, wanted), value


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("SERVER_CLASS", ["demo", "Demo_2", "_x", "a" * 128]),
        ("NR_WORKERS", [1, 256]),
        ("HOST", ["127.0.0.1", "localhost", "::1"]),
        ("PORT", [1, 65535]),
        ("DISABLED", [True, False]),
        ("DESCRIPTION", ["", "x" * 10_000]),
        ("PING_INTERVAL", [0.001, 1, 86400]),
        ("TIMEOUT", [0.001, 30, 86400]),
        ("LOAD_TIMEOUT", [0.5, 86400]),
        ("QUEUE_SIZE", [1, 4096]),
        ("IDEMPOTENT", [True, False]),
        ("MAX_REQUESTS", [1, 10**9]),
        ("MAX_MEMORY_MB", [16, 10**6]),
        ("MAX_MEMORY_HARD_MB", [16, 10**6]),
        ("BATCH_SIZE", [1, 256]),
        ("THREADS", [1, 256]),
        ("BATCH_WAIT_MS", [0, 0.5, 10000]),
        ("QUARANTINE_WINDOW", [0, 86400]),
        ("WARMUP", [[], [{"TEXT": "x"}]]),
        ("ENV", [{}, {"OMP_NUM_THREADS": "2"}]),
    ],
)
def test_endpoint_key_within_its_limits_is_kept(key: str, values: list[Any]) -> None:
    """The limits themselves are allowed, and a value is never converted."""
    assert values == [getattr(section_of(**{key: value}), key) for value in values]


@pytest.mark.parametrize(
    ("key", "values", "expected"),
    [
        ("SERVER_NAME", ["", 5, None], "a text"),
        ("DEFAULT_SERVER", [5, ["demo"]], "a signature of CONFIG_ENDPOINTS"),
        ("NO_STARTUP_WAIT", ["True", 1, None], TRUE_OR_FALSE),
        ("GATEWAY_WORKERS", [0, 17, *NO_INTEGER], "an integer from 1 to 16"),
        ("MAX_BODY_BYTES", [1023, 2**31 + 1, "10MB", 1e6],
         "an integer from 1024 to 2147483648"),
        ("GRACEFUL_TIMEOUT", [-1, 3601, "30", float("nan")],
         "a number of seconds from 0 to 3600"),
        ("CORS_ORIGINS", ["*", {}, None], "a list of origins (texts)"),
        ("ADMIN_OPEN", ["no"], TRUE_OR_FALSE),
        ("ADMIN_TRUST_LOOPBACK", [0], TRUE_OR_FALSE),
        ("STATUS_OPEN", ["false"], TRUE_OR_FALSE),
        ("LOG_FORMAT", ["text", "JSON", 1], '"auto", "console" or "json"'),
        ("LOG_LEVEL", ["INFO", "trace", 10], '"debug", "info", "warning" or "error"'),
        ("CONFIG_ENDPOINTS", [[], "x", None], "an object: signature -> endpoint section"),
    ],
)  # fmt: skip
def test_top_level_key_outside_its_limits_is_refused_in_full_words(
    key: str, values: list[Any], expected: str
) -> None:
    """The same words as for endpoints, with the key alone as the path."""
    for value in values:
        (problem,) = problems_of({**with_section(), key: value})
        start = f"{key}: expected {expected}, got "
        assert start == problem[: len(start)], value


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("GATEWAY_WORKERS", [1, 16]),
        ("MAX_BODY_BYTES", [1024, 2**31]),
        ("GRACEFUL_TIMEOUT", [0, 3600]),
        ("CORS_ORIGINS", [[], ["*"], ["https://example.org"]]),
        ("LOG_FORMAT", ["auto", "console", "json"]),
        ("LOG_LEVEL", ["debug", "info", "warning", "error"]),
    ],
)
def test_top_level_key_within_its_limits_is_kept(key: str, values: list[Any]) -> None:
    """The limits themselves are allowed."""
    kept = [getattr(validate({**with_section(), key: value}), key) for value in values]
    assert values == kept


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(with_section(NR_WORKERS="two"),
                     'CONFIG_ENDPOINTS.demo.NR_WORKERS: expected an integer from 1 to 256, '
                     'got "two"', id="text for a number"),
        pytest.param(with_section(PORT=70000),
                     "CONFIG_ENDPOINTS.demo.PORT: expected an integer from 1 to 65535, got 70000",
                     id="number out of range"),
        pytest.param(with_section(DISABLED=None),
                     "CONFIG_ENDPOINTS.demo.DISABLED: expected true or false, got null",
                     id="null"),
        pytest.param(with_section(ENV={"A": 1}),
                     "CONFIG_ENDPOINTS.demo.ENV.A: expected an object whose values are texts, "
                     "got 1", id="inside an object"),
        pytest.param({**with_section(), "CORS_ORIGINS": ["*", 5]},
                     "CORS_ORIGINS.1: expected a list of origins (texts), got 5",
                     id="inside a list"),
        pytest.param({"CONFIG_ENDPOINTS": {"demo": "two workers"}},
                     'CONFIG_ENDPOINTS.demo: expected an object, got "two workers"',
                     id="a section that is no object"),
        pytest.param({}, "CONFIG_ENDPOINTS: required, but missing; "
                     "expected an object: signature -> endpoint section", id="nothing at all"),
    ],
)  # fmt: skip
def test_problem_has_exactly_these_words(config: dict[str, Any], expected: str) -> None:
    """The sentence that an operator reads, whole."""
    assert [expected] == problems_of(config)


def test_long_value_is_shortened_in_its_complaint() -> None:
    """A megabyte in the wrong place does not flood the terminal."""
    (problem,) = problems_of(with_section(NR_WORKERS="x" * 1_000_000))
    shown = '"' + "x" * 76 + "..."
    assert f"CONFIG_ENDPOINTS.demo.NR_WORKERS: expected an integer from 1 to 256, got {shown}" == (
        problem
    )


def test_defaults_are_those_of_the_contract() -> None:
    """A section that says nothing gets what the reference promises."""
    settings = validate(with_section())
    section = settings.CONFIG_ENDPOINTS["demo"]
    assert {
        "SERVER_CLASS": None, "NR_WORKERS": 1, "HOST": "127.0.0.1", "PORT": None,
        "DISABLED": False, "DESCRIPTION": "", "PING_INTERVAL": 10, "TIMEOUT": 30,
        "LOAD_TIMEOUT": 120, "QUEUE_SIZE": 128, "MAX_REQUESTS": None, "MAX_MEMORY_MB": None,
        "ENV": {},
    }.items() <= section.model_dump().items()  # fmt: skip
    assert {
        "SERVER_NAME": "base_server", "DEFAULT_SERVER": None, "NO_STARTUP_WAIT": False,
        "GATEWAY_WORKERS": 1, "MAX_BODY_BYTES": 67108864, "GRACEFUL_TIMEOUT": 30,
        "CORS_ORIGINS": ["*"], "ADMIN_OPEN": False, "ADMIN_TRUST_LOOPBACK": True,
        "STATUS_OPEN": True, "LOG_FORMAT": "auto", "LOG_LEVEL": "info",
    }.items() <= settings.model_dump().items()  # fmt: skip


def test_every_key_says_what_it_expects() -> None:
    """No key can fail with 'another value', which would help nobody."""
    fields = {**GatewaySettings.model_fields, **EndpointSettings.model_fields}
    assert [] == [name for name, field in fields.items() if not field.description]


def test_own_keys_of_an_endpoint_reach_it_unchanged() -> None:
    """What the engine does not know belongs to the endpoint; defaults are not mixed in."""
    own = {"WEIGHT": 0.5, "LAYERS": [1, 2], "NR_WORKERS": 2}
    assert own == section_of(**own).own_config()


def test_settings_cannot_be_changed() -> None:
    """Checked settings stay as they were checked."""
    with pytest.raises(ValueError, match="frozen"):
        validate(with_section()).SERVER_NAME = "other"


def test_section_without_a_host_is_a_support_process() -> None:
    """`NO_HOST` makes a program of the section, any address a server."""
    assert section_of(HOST="NO_HOST").is_support_process
    assert not section_of(HOST="127.0.0.1").is_support_process
