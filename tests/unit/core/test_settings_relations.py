"""Unit tests of what the settings check across keys, and of where a value may come from."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.core.config_file import ConfigError
from basic_inference_server.core.settings import (
    MAX_ENDPOINTS,
    EndpointSettings,
    GatewaySettings,
    application_version,
    environment_overrides,
    masked,
    resolve,
    validate,
)

MINIMAL: dict[str, Any] = {"CONFIG_ENDPOINTS": {"demo": {}}}
SEED_LIKE: dict[str, Any] = {
    "DEFAULT_SERVER": "dummy_model_demo1",
    "NO_STARTUP_WAIT": True,
    "SERVER_NAME": "base_server",
    "CONFIG_ENDPOINTS": {
        "dummy_model_demo1": {"NR_WORKERS": 5, "HOST": "127.0.0.1"},
        "dummy_model_demo1-bis": {
            "SERVER_CLASS": "dummy_model_demo1",
            "NR_WORKERS": 5,
            "HOST": "127.0.0.1",
            "DISABLED": True,
            "DESCRIPTION": "a second one of the same class",
        },
        "dummy_model_demo2": {"NR_WORKERS": 2, "HOST": "127.0.0.1", "PORT": 5010},
        "support_process": {"HOST": "NO_HOST", "PING_INTERVAL": 10},
    },
}


def problems_of(config: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(config)
    return caught.value.problems


@pytest.fixture(autouse=True)
def no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in GatewaySettings.model_fields:
        monkeypatch.delenv(f"BIS_{key}", raising=False)


def test_configuration_of_the_seeds_loads_unchanged() -> None:
    """A configuration in the published form is valid as it stands, in its order."""
    checked = validate(SEED_LIKE)
    assert list(SEED_LIKE["CONFIG_ENDPOINTS"]) == list(checked.CONFIG_ENDPOINTS)
    assert 5 == checked.CONFIG_ENDPOINTS["dummy_model_demo1"].NR_WORKERS


def test_all_problems_of_values_are_reported_at_once() -> None:
    """One run shows everything that is wrong, near misses first."""
    config = {
        "GATEWAY_WORKERS": 99,
        "LOG_LEVEL": "loud",
        "CONFIG_ENDPOINTS": {
            "one": {"NR_WORKERS": "two", "NR_WORKER": 3},
            "two": {"PORT": 0, "TIMEOUT": -1},
            "three": 5,
        },
    }
    assert [
        "CONFIG_ENDPOINTS.one.NR_WORKER: there is no such key; did you mean NR_WORKERS?",
        'CONFIG_ENDPOINTS.one.NR_WORKERS: expected an integer from 1 to 256, got "two"',
        "CONFIG_ENDPOINTS.two.PORT: expected an integer from 1 to 65535, got 0",
        "CONFIG_ENDPOINTS.two.TIMEOUT: expected a number of seconds above 0, up to 86400, got -1",
        "CONFIG_ENDPOINTS.three: expected an object, got 5",
        "GATEWAY_WORKERS: expected an integer from 1 to 16, got 99",
        'LOG_LEVEL: expected "debug", "info", "warning" or "error", got "loud"',
    ] == problems_of(config)


def test_problems_of_values_and_of_relations_are_reported_together() -> None:
    """A wrong value does not hide an unknown default server or a taken port."""
    config = {
        "DEFAULT_SERVER": "nobody",
        "CONFIG_ENDPOINTS": {
            "one": {"NR_WORKERS": "two", "PORT": 5010},
            "two": {"PORT": 5010},
        },
    }
    found = problems_of(config)
    assert ["CONFIG_ENDPOINTS.one.NR_WORKERS", "CONFIG_ENDPOINTS.two.PORT", "DEFAULT_SERVER"] == (
        sorted(problem.partition(":")[0] for problem in found)
    )


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param({"CONFIG_ENDPOINTS": {"demo": {"NR_WORKER": 2}}},
                     "CONFIG_ENDPOINTS.demo.NR_WORKER: there is no such key; "
                     "did you mean NR_WORKERS?", id="a letter too few"),
        pytest.param({"CONFIG_ENDPOINTS": {"demo": {"nr_workers": 2}}},
                     "CONFIG_ENDPOINTS.demo.nr_workers: there is no such key; "
                     "did you mean NR_WORKERS?", id="lower case"),
        pytest.param({"CONFIG_ENDPOINTS": {"demo": {"SERVER_CLAS": "x"}}},
                     "CONFIG_ENDPOINTS.demo.SERVER_CLAS: there is no such key; "
                     "did you mean SERVER_CLASS?", id="class"),
        pytest.param({**MINIMAL, "DEFAULT_SERVERS": "demo"},
                     "DEFAULT_SERVERS: there is no such key; did you mean DEFAULT_SERVER?",
                     id="top level"),
    ],
)  # fmt: skip
def test_near_miss_of_a_key_is_refused_with_the_right_name(
    config: dict[str, Any], expected: str
) -> None:
    """A misspelt key never becomes an endpoint's own key in silence."""
    assert [expected] == problems_of(config)


@pytest.mark.parametrize("key", ["WEIGHT", "MODEL_PATH", "MAX_LENGTH", "PORTFOLIO", "TOP_K"])
def test_key_that_is_like_no_other_is_the_endpoints_own(key: str) -> None:
    """Endpoints may call their settings what they like."""
    checked = validate({"CONFIG_ENDPOINTS": {"demo": {key: 1}}})
    assert {key: 1} == checked.CONFIG_ENDPOINTS["demo"].own_config()


def test_port_that_two_servers_want_is_refused() -> None:
    """The second one learns who has the port."""
    config = {"CONFIG_ENDPOINTS": {"one": {"PORT": 5010}, "two": {"PORT": 5010}, "three": {}}}
    assert ["CONFIG_ENDPOINTS.two.PORT: 5010 is taken by one"] == problems_of(config)


def test_port_of_the_gateway_is_no_servers() -> None:
    """Only one of the two could listen; a support process has no port."""
    settings = validate(
        {
            "CONFIG_ENDPOINTS": {
                "one": {"PORT": 5002},
                "two": {"PORT": 5003},
                "three": {},
                "support": {"HOST": "NO_HOST", "PORT": 5004},
            }
        }
    )
    settings.check_port(5004)
    with pytest.raises(ConfigError) as caught:
        settings.check_port(5002)
    assert [
        "CONFIG_ENDPOINTS.one.PORT: 5002 is the gateway's own port; "
        "choose another one, or start the gateway with another --port"
    ] == caught.value.problems


def test_default_server_that_does_not_exist_is_refused() -> None:
    """The names that exist are listed."""
    config = {"DEFAULT_SERVER": "nobody", "CONFIG_ENDPOINTS": {"one": {}, "two": {}}}
    assert ["DEFAULT_SERVER: 'nobody' is not in CONFIG_ENDPOINTS (one, two)"] == problems_of(config)
    config = {"DEFAULT_SERVER": "nobody", "CONFIG_ENDPOINTS": {}}
    assert ["DEFAULT_SERVER: 'nobody' is not in CONFIG_ENDPOINTS (which is empty)"] == (
        problems_of(config)
    )


@pytest.mark.parametrize(
    "signature", ["", "a b", "a/b", "é", "a" * 129, "SYSTEM_STATUS", "safe_kill_server_cmd", "a\n"]
)
def test_signature_that_no_request_could_carry_is_refused(signature: str) -> None:
    """Names outside the pattern, and the reserved ones in any case, are no endpoints."""
    (problem, *_) = problems_of({"CONFIG_ENDPOINTS": {signature: {"SERVER_CLASS": "demo"}}})
    assert problem.startswith(f"CONFIG_ENDPOINTS.{signature}: a signature is 1 to 128 letters")


def test_signature_that_is_no_file_name_needs_a_server_class() -> None:
    """A hyphen or a dot cannot be in the name of an importable file."""
    config = {"CONFIG_ENDPOINTS": {"demo-bis": {}, "demo-ter": {"SERVER_CLASS": "demo"}}}
    assert [
        "CONFIG_ENDPOINTS.demo-bis: set SERVER_CLASS to the endpoint's file name, "
        "because 'demo-bis' cannot be the name of a Python file"
    ] == problems_of(config)


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"A=B": "x"}, id="equals sign"),
        pytest.param({"A": "x\0y"}, id="nul"),
        pytest.param({"": "x"}, id="no name"),
        pytest.param(
            {"A": "\ud800"},
            id="half a character",
        ),
    ],
)
def test_environment_that_no_process_can_have_is_refused(environment: dict[str, str]) -> None:
    """The mistake is found while the configuration is checked, not when a server starts."""
    (problem,) = problems_of({"CONFIG_ENDPOINTS": {"demo": {"ENV": environment}}})
    assert problem.startswith("CONFIG_ENDPOINTS.demo.ENV")


def test_more_endpoints_than_there_is_room_for_are_refused() -> None:
    """Each has a place in shared memory; the last that fits is served."""
    endpoints: dict[str, Any] = {f"e{number}": {} for number in range(MAX_ENDPOINTS)}
    validate({"CONFIG_ENDPOINTS": endpoints})
    problems = problems_of({"CONFIG_ENDPOINTS": {**endpoints, "one_more": {}}})
    assert ["CONFIG_ENDPOINTS: 513 endpoints, but 512 at most"] == problems


@settings(deadline=None, max_examples=60, database=None)
@given(
    st.dictionaries(
        st.sampled_from([*EndpointSettings.model_fields, "WEIGHT"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
        | st.lists(st.integers(), max_size=2),
        max_size=6,
    )
)  # fmt: skip
def test_any_section_is_settings_or_a_config_error(section: dict[str, Any]) -> None:
    """Whatever an operator writes, nothing else comes out."""
    with contextlib.suppress(ConfigError):
        checked = validate({"CONFIG_ENDPOINTS": {"demo": section}})
        assert section.keys() == checked.CONFIG_ENDPOINTS["demo"].own_config().keys()


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        pytest.param("GATEWAY_WORKERS", "4", 4, id="number"),
        pytest.param("ADMIN_OPEN", "true", True, id="boolean"),
        pytest.param("ADMIN_OPEN", "yes", "yes", id="no JSON"),
        pytest.param("CORS_ORIGINS", '["a"]', ["a"], id="list"),
        pytest.param("LOG_LEVEL", "debug", "debug", id="word"),
        pytest.param("SERVER_NAME", "demo", "demo", id="text"),
        pytest.param("SERVER_NAME", '"demo"', "demo", id="quoted text"),
        pytest.param("DEFAULT_SERVER", "null", "null", id="text that is a word of JSON"),
        pytest.param("SERVER_NAME", "", "", id="empty"),
    ],
)
def test_environment_value_is_json_or_else_text(key: str, text: str, expected: Any) -> None:
    """`BIS_<KEY>` sets a top-level key."""
    assert {key: expected} == environment_overrides({f"BIS_{key}": text})


def test_environment_of_others_is_ignored() -> None:
    """Only known keys count, and the endpoints themselves come from the file alone."""
    environment = {"SERVER_NAME": "x", "BIS_NOTHING": "1", "BIS_CONFIG_ENDPOINTS": "{}"}
    assert {} == environment_overrides(environment)


def test_environment_text_of_digits_is_still_a_text() -> None:
    """`BIS_SERVER_NAME=2024` names the server 2024."""
    overrides = environment_overrides({"BIS_SERVER_NAME": "2024"})
    assert "2024" == validate({**MINIMAL, **overrides}).SERVER_NAME


def test_deeper_source_wins_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """File, then environment, then command line; each key says where its value came from."""
    monkeypatch.setenv("BIS_GATEWAY_WORKERS", "2")
    monkeypatch.setenv("BIS_LOG_LEVEL", "debug")
    config = {**MINIMAL, "SERVER_NAME": "file", "GATEWAY_WORKERS": 3, "LOG_LEVEL": "error",
              "HOST": "::1", "MY_TOKEN": "secret"}  # fmt: skip
    overrides = {"LOG_LEVEL": "warning", "HOST": "::1", "MY_TOKEN": "other"}
    checked, sources = resolve(config, overrides)
    assert ("file", 2, "warning", 30) == (
        checked.SERVER_NAME, checked.GATEWAY_WORKERS, checked.LOG_LEVEL, checked.GRACEFUL_TIMEOUT,
    )  # fmt: skip
    assert {
        "SERVER_NAME": "file",
        "GATEWAY_WORKERS": "environment BIS_GATEWAY_WORKERS; the file has 3",
        "LOG_LEVEL": "command line; the file has error",
        "HOST": "command line",
        "MY_TOKEN": "command line; the file has ***",
        "GRACEFUL_TIMEOUT": "default",
    }.items() <= sources.items()


def test_wrong_environment_value_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An override is checked like the file."""
    monkeypatch.setenv("BIS_NO_STARTUP_WAIT", "True")
    with pytest.raises(ConfigError) as caught:
        resolve(MINIMAL)
    assert ['NO_STARTUP_WAIT: expected true or false, got "True"'] == caught.value.problems


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        pytest.param("ADMIN_TOKEN", "x", "***", id="token"),
        pytest.param("db_password", "x", "***", id="lower case"),
        pytest.param("AWS_SECRET_ACCESS_KEY", "x", "***", id="secret"),
        pytest.param("OPENAI_API_KEY", 5, "***", id="api key"),
        pytest.param("STORE", {"API_KEY": "x", "URL": "y"}, {"API_KEY": "***", "URL": "y"},
                     id="nested"),
        pytest.param("SERVER_NAME", "x", "x", id="no secret"),
        pytest.param("STORES", [{"API_KEY": "x"}], [{"API_KEY": "***"}], id="in a list"),
    ],
)  # fmt: skip
def test_value_is_masked_where_its_name_says_secret(key: str, value: Any, expected: Any) -> None:
    """A secret in the configuration never reaches the log."""
    assert expected == masked(key, value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param('__VER__ = "2.3.2"\n', "2.3.2", id="given"),
        pytest.param("", "0.0.0", id="not given"),
        pytest.param("__VER__ = (", "0.0.0", id="broken"),
        pytest.param(None, "0.0.0", id="no file"),
    ],
)
def test_application_version_is_read(tmp_path: Path, source: str | None, expected: str) -> None:
    """`app_ver.py` beside the configuration says which version answers."""
    if source is not None:
        (tmp_path / "app_ver.py").write_text(source)
    assert expected == application_version(tmp_path)


@pytest.mark.parametrize(
    ("threads", "batch_size", "is_fine"), [(8, 2, False), (8, 1, True), (1, 8, True)]
)
def test_threads_and_batches_exclude_each_other(
    threads: int, batch_size: int, is_fine: bool
) -> None:
    """Said before anything is started."""
    section = {"THREADS": threads, "BATCH_SIZE": batch_size}
    configuration = {"CONFIG_ENDPOINTS": {"demo": section}}
    if is_fine:
        assert threads == validate(configuration).CONFIG_ENDPOINTS["demo"].THREADS
    else:
        assert [
            "CONFIG_ENDPOINTS.demo: THREADS is 8 and BATCH_SIZE is 2; a worker executes requests "
            "side by side or in batches, so set one of them to 1"
        ] == problems_of(configuration)
