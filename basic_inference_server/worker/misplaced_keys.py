"""Keys of `_CONFIG` that look like settings of the engine, which reads those from the section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# The keys of an endpoint's section; a test compares them with `core.settings`, which a worker
# does not import: it would cost each of them a few megabytes.
SECTION_KEYS: Final = frozenset(
    {
        "SERVER_CLASS", "NR_WORKERS", "HOST", "PORT", "DISABLED", "DESCRIPTION", "PING_INTERVAL",
        "TIMEOUT", "LOAD_TIMEOUT", "QUEUE_SIZE", "IDEMPOTENT", "BATCH_SIZE", "BATCH_WAIT_MS",
        "THREADS", "MAX_REQUESTS", "MAX_MEMORY_MB", "MAX_MEMORY_HARD_MB", "QUARANTINE_WINDOW",
        "QUARANTINE_KEEP_BODY", "WARMUP", "OPEN_TO_PUBLIC", "ENV",
    }
)  # fmt: skip
READ_FROM_THE_FILE: Final = frozenset({"IDEMPOTENT"})


def misplaced_keys(default_config: Mapping[str, Any], section: Mapping[str, Any]) -> list[str]:
    """Return the keys of `_CONFIG` that have no effect there, and none in the section either."""
    engine_keys = SECTION_KEYS - READ_FROM_THE_FILE - section.keys()
    return [key for key in default_config if key in engine_keys]
