"""Checks an endpoint's configuration against the `VALIDATION_RULES` of its `_CONFIG`.

`{"WEIGHT": {"TYPE": "float", "MIN_VAL": 0, "MAX_VAL": 1}, "SIZE": {"INCLUDED_LIST": ["S", "L"]}}`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from basic_inference_server.worker.load_error import EndpointLoadError

_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "number": (float, int),
    "str": (str,),
    "bool": (bool,),
    "list": (list, tuple),
    "dict": (dict,),
    "none": (type(None),),
}


def _accepted_types(rule: Any) -> tuple[type, ...]:
    names = rule if isinstance(rule, (list, tuple)) else [rule]
    accepted: tuple[type, ...] = ()
    for name in names:
        key = name.__name__ if isinstance(name, type) else str(name)
        if key.lower() not in _TYPES:
            raise EndpointLoadError(
                f"VALIDATION_RULES: unknown TYPE {key!r}; use one of {', '.join(_TYPES)}"
            )
        accepted += _TYPES[key.lower()]
    return accepted


def _has_type(value: Any, rule: Any) -> bool:
    accepted = _accepted_types(rule)
    if isinstance(value, bool):
        return bool in accepted
    return isinstance(value, accepted)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_included(value: Any, included: Any) -> bool:
    if not isinstance(included, (list, tuple)):
        raise TypeError("no list: in a text every part of it would be included")
    return value in included


_CHECKS: dict[str, Callable[[Any, Any], bool]] = {
    "TYPE": _has_type,
    "MIN_VAL": lambda value, limit: _is_number(value) and value >= limit,
    "MAX_VAL": lambda value, limit: _is_number(value) and value <= limit,
    "MIN_LEN": lambda value, limit: hasattr(value, "__len__") and len(value) >= limit,
    "INCLUDED_LIST": _is_included,
    "EXCLUDED_LIST": lambda value, excluded: value not in excluded,
}


def _broken_rules(key: str, value: Any, rules: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, limit in rules.items():
        check = _CHECKS.get(name)
        if check is None:
            problems.append(f"{key} has an unknown rule {name}; known: {', '.join(_CHECKS)}")
            continue
        try:
            is_kept = check(value, limit)
        except TypeError:
            problems.append(f"{key} has a rule that makes no sense: {name} {limit!r}")
        else:
            if not is_kept:
                problems.append(f"{key} is {value!r}, which breaks {name} {limit!r}")
    return problems


def check_rules(config: Mapping[str, Any]) -> None:
    """Enforce `config["VALIDATION_RULES"]` on `config`.

    Raises:
        EndpointLoadError: names every broken rule with its key, value and limit.
    """
    all_rules = config.get("VALIDATION_RULES") or {}
    if not isinstance(all_rules, dict):
        raise EndpointLoadError("VALIDATION_RULES must be a dict: key -> rules")
    problems = []
    for key, rules in all_rules.items():
        if key not in config:
            problems.append(f"{key} is not set, but has rules")
        elif not isinstance(rules, dict):
            problems.append(f"the rules of {key} must be a dict, not {rules!r}")
        else:
            problems += _broken_rules(key, config[key], rules)
    if problems:
        raise EndpointLoadError("the configuration breaks VALIDATION_RULES: " + "; ".join(problems))
