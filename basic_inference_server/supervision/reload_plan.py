"""What a new configuration changes: a pure comparison of two checked ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from basic_inference_server.core.settings import EndpointSettings, GatewaySettings

# Settings that the supervisor or the gateway applies by itself: no worker has to be replaced.
WITHOUT_REPLACEMENT = frozenset(
    {
        "DESCRIPTION", "DISABLED", "HOST", "LOAD_TIMEOUT", "MAX_MEMORY_HARD_MB", "NR_WORKERS",
        "OPEN_TO_PUBLIC", "PORT", "QUARANTINE_KEEP_BODY", "QUARANTINE_WINDOW", "QUEUE_SIZE",
    }
)  # fmt: skip
AT_THE_NEXT_START = frozenset(
    {"GRACEFUL_TIMEOUT", "HOST", "LOG_FORMAT", "LOG_LEVEL", "NO_STARTUP_WAIT", "PORT"}
)
BY_THE_SUPERVISOR = frozenset({"CONFIG_ENDPOINTS", "RELOAD_ON_CHANGE"})


@dataclass(frozen=True)
class ReloadPlan:
    """The endpoints and settings that differ; each endpoint is in at most one of the tuples."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    adjusted: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    at_the_next_start: tuple[str, ...] = ()

    @property
    def needs_new_gateway(self) -> bool:
        """Whether the gateway's processes have to be replaced: they know ports and settings."""
        return bool(self.settings or self.moved or self.added or self.removed)

    @property
    def is_empty(self) -> bool:
        """Whether both configurations mean the same."""
        return self == ReloadPlan()


def _differing(old: dict[str, Any], new: dict[str, Any]) -> set[str]:
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


def plan_reload(old: GatewaySettings, new: GatewaySettings) -> ReloadPlan:
    """Return what has to be done to get from one configuration to the other.

    `moved` endpoints, whose own port changes, are among `replaced` or `adjusted` too. An endpoint
    that becomes a support process, or ceases to be one, is removed and added.
    """
    before, after = old.CONFIG_ENDPOINTS, new.CONFIG_ENDPOINTS
    changed_kind = {
        name
        for name in before.keys() & after.keys()
        if before[name].is_support_process != after[name].is_support_process
    }
    common = [name for name in after if name in before and name not in changed_kind]
    keys = {name: _section_changes(before[name], after[name]) for name in common}
    top = _differing(
        old.model_dump(exclude={"CONFIG_ENDPOINTS"}), new.model_dump(exclude={"CONFIG_ENDPOINTS"})
    )
    known = set(GatewaySettings.model_fields)
    return ReloadPlan(
        added=tuple(n for n in after if n not in before or n in changed_kind),
        removed=tuple(n for n in before if n not in after or n in changed_kind),
        replaced=tuple(n for n in common if keys[n] - WITHOUT_REPLACEMENT),
        adjusted=tuple(n for n in common if keys[n] and not keys[n] - WITHOUT_REPLACEMENT),
        moved=tuple(n for n in common if keys[n] & {"HOST", "PORT"}),
        settings=tuple(sorted((top & known) - AT_THE_NEXT_START - BY_THE_SUPERVISOR)),
        at_the_next_start=tuple(sorted(top & AT_THE_NEXT_START)),
    )


def _section_changes(old: EndpointSettings, new: EndpointSettings) -> set[str]:
    return _differing(old.model_dump(), new.model_dump()) | _differing(
        old.own_config(), new.own_config()
    )
