"""Unit tests of `VALIDATION_RULES`: each rule, several at once, and rules that are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from basic_inference_server.worker.load_error import EndpointLoadError
from basic_inference_server.worker.validation_rules import check_rules

PREFIX = "the configuration breaks VALIDATION_RULES: "


def check(rules: Any, **config: Any) -> None:
    check_rules({**config, "VALIDATION_RULES": rules})


def problem_of(rules: Any, **config: Any) -> str:
    with pytest.raises(EndpointLoadError) as caught:
        check(rules, **config)
    assert caught.value.is_permanent
    return str(caught.value)


@pytest.mark.parametrize(
    ("rule", "limit", "kept", "broken"),
    [
        ("TYPE", "int", [0, -5, 10**30], [1.5, "1", None, True, [1]]),
        ("TYPE", int, [1], [1.5, True]),
        ("TYPE", "float", [1.5, 1], ["1.5", True, None]),
        ("TYPE", "number", [1.5, 1], ["1"]),
        ("TYPE", "str", ["", "x"], [1, None, ["x"]]),
        ("TYPE", str, ["x"], [1]),
        ("TYPE", "bool", [True, False], [1, 0, "true"]),
        ("TYPE", "list", [[], [1], (1,)], ["x", {}]),
        ("TYPE", "dict", [{}], [[]]),
        ("TYPE", ["int", "none"], [1, None], ["x", 1.5]),
        ("TYPE", ("str", bool), ["x", True], [1]),
        ("TYPE", "INT", [1], ["1"]),
        ("MIN_VAL", 0, [0, 0.0, 5], [-1, -0.001, "5", None, True, float("nan")]),
        ("MAX_VAL", 1, [1, 0.5, -10], [2, 1.001, "0", None, True]),
        ("MIN_LEN", 1, ["x", [0], {"a": 1}], ["", [], {}, 5, None]),
        ("INCLUDED_LIST", ["a", 5], ["a", 5], ["b", 6, None, "", ["a"], "A"]),
        ("EXCLUDED_LIST", ["a", 5], ["b", 6, None], ["a", 5]),
    ],
)
def test_rule_accepts_and_refuses(
    rule: str, limit: Any, kept: list[Any], broken: list[Any]
) -> None:
    """A rule that is kept says nothing; a broken one names key, value, rule and limit."""
    for value in kept:
        check({"KEY": {rule: limit}}, KEY=value)
    for value in broken:
        assert f"{PREFIX}KEY is {value!r}, which breaks {rule} {limit!r}" == (
            problem_of({"KEY": {rule: limit}}, KEY=value)
        )


def test_all_broken_rules_are_named_at_once() -> None:
    """The author repairs everything in one go."""
    rules = {
        "WEIGHT": {"TYPE": "float", "MIN_VAL": 0, "MAX_VAL": 1},
        "NAME": {"MIN_LEN": 3, "EXCLUDED_LIST": ["x"]},
        "MISSING": {"TYPE": "int"},
        "FINE": {"TYPE": "int"},
    }
    assert PREFIX + "; ".join(
        [
            "WEIGHT is 2, which breaks MAX_VAL 1",
            "NAME is 'x', which breaks MIN_LEN 3",
            "NAME is 'x', which breaks EXCLUDED_LIST ['x']",
            "MISSING is not set, but has rules",
        ]
    ) == problem_of(rules, WEIGHT=2, NAME="x", FINE=1)


def test_rule_that_does_not_exist_is_named() -> None:
    """A misspelt rule is no rule that everything keeps."""
    assert (
        f"{PREFIX}KEY has an unknown rule MINIMUM; "
        "known: TYPE, MIN_VAL, MAX_VAL, MIN_LEN, INCLUDED_LIST, EXCLUDED_LIST"
    ) == problem_of({"KEY": {"MINIMUM": 5}}, KEY=1)


def test_type_that_does_not_exist_is_named() -> None:
    """The known types are listed."""
    assert (
        "VALIDATION_RULES: unknown TYPE 'decimal'; "
        "use one of int, float, number, str, bool, list, dict, none"
    ) == problem_of({"KEY": {"TYPE": "decimal"}}, KEY=1)


@pytest.mark.parametrize("rules", [None, {}, {"KEY": {}}])
def test_configuration_without_rules_is_valid(rules: Any) -> None:
    """Rules are optional."""
    check(rules, KEY=1)
    check_rules({"KEY": 1})


@pytest.mark.parametrize(
    ("rules", "value"),
    [
        pytest.param(["KEY"], 1, id="no object"),
        pytest.param({"KEY": "int"}, 1, id="no object for the key"),
        pytest.param({"KEY": {"MIN_VAL": "0"}}, 1, id="limit that is no number"),
        pytest.param({"KEY": {"MIN_LEN": None}}, [1], id="length that is no number"),
        pytest.param({"KEY": {"EXCLUDED_LIST": 5}}, 1, id="list that is none"),
        pytest.param({"KEY": {"INCLUDED_LIST": "abc"}}, "b", id="text as a list"),
    ],
)
def test_malformed_rule_is_a_load_error(rules: Any, value: Any) -> None:
    """The rule itself is named when it makes no sense, and the load is not tried for ever."""
    assert "VALIDATION_RULES" in problem_of(rules, KEY=value)
