"""Unit tests of comparing two configurations."""

from __future__ import annotations

from typing import Any

import pytest

from basic_inference_server.core.settings import EndpointSettings, GatewaySettings, validate
from basic_inference_server.supervision.reload_plan import (
    AT_THE_NEXT_START,
    BY_THE_SUPERVISOR,
    WITHOUT_REPLACEMENT,
    ReloadPlan,
    plan_reload,
)

BASE: dict[str, dict[str, Any]] = {"a": {}, "b": {"SERVER_CLASS": "a", "WEIGHT": 1}}


def plan(old: dict[str, Any], new: dict[str, Any]) -> ReloadPlan:
    return plan_reload(validate(old), validate(new))


def changed(name: str, section: dict[str, Any]) -> ReloadPlan:
    """Return the plan for one endpoint's new section."""
    new = {"CONFIG_ENDPOINTS": {**BASE, name: section}}
    return plan({"CONFIG_ENDPOINTS": BASE}, new)


def test_same_configuration_needs_nothing() -> None:
    """Nor does one whose endpoints stand in another order."""
    turned = dict(reversed(BASE.items()))
    same = plan({"CONFIG_ENDPOINTS": BASE}, {"CONFIG_ENDPOINTS": turned})
    assert (ReloadPlan(), True, False) == (same, same.is_empty, same.needs_new_gateway)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"NR_WORKERS": 2}, ReloadPlan(adjusted=("a",))),
        ({"DISABLED": True, "QUEUE_SIZE": 5}, ReloadPlan(adjusted=("a",))),
        ({"PORT": 6000}, ReloadPlan(adjusted=("a",), moved=("a",))),
        ({"TIMEOUT": 5}, ReloadPlan(replaced=("a",))),
        ({"ENV": {"X": "1"}}, ReloadPlan(replaced=("a",))),
        ({"WEIGHT": 3}, ReloadPlan(replaced=("a",))),
        ({"NR_WORKERS": 2, "WEIGHT": 3}, ReloadPlan(replaced=("a",))),
        ({"HOST": "NO_HOST"}, ReloadPlan(added=("a",), removed=("a",))),
    ],
)  # fmt: skip
def test_changed_section(section: dict[str, Any], expected: ReloadPlan) -> None:
    """Workers are replaced only where they have to know."""
    assert expected == changed("a", section)


def test_key_that_is_left_out_is_a_change() -> None:
    """The endpoint's own `_CONFIG` counts again."""
    assert ReloadPlan(replaced=("b",)) == changed("b", {"SERVER_CLASS": "a"})


def test_endpoints_come_and_go() -> None:
    """The gateway has to know their ports."""
    found = plan({"CONFIG_ENDPOINTS": BASE}, {"CONFIG_ENDPOINTS": {"a": {}, "c": {}}})
    assert ReloadPlan(added=("c",), removed=("b",)) == found
    assert found.needs_new_gateway


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("MAX_BODY_BYTES", 2000, ReloadPlan(settings=("MAX_BODY_BYTES",))),
        ("LOG_FORMAT", "json", ReloadPlan(at_the_next_start=("LOG_FORMAT",))),
        ("RELOAD_ON_CHANGE", True, ReloadPlan()),
        ("MY_OWN_KEY", 5, ReloadPlan()),
    ],
)
def test_changed_top_level(key: str, value: Any, expected: ReloadPlan) -> None:
    """What the gateway's processes work with, what only a start can change, what is not ours."""
    found = plan({"CONFIG_ENDPOINTS": BASE}, {"CONFIG_ENDPOINTS": BASE, key: value})
    assert expected == found
    assert bool(expected.settings) == found.needs_new_gateway


def test_lists_name_keys_that_there_are() -> None:
    """A key that is renamed must be renamed here too."""
    assert set(EndpointSettings.model_fields) >= WITHOUT_REPLACEMENT
    assert set(GatewaySettings.model_fields) >= AT_THE_NEXT_START | BY_THE_SUPERVISOR
