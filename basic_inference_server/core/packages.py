"""What is installed beside us, for the start-up banner."""

from __future__ import annotations

from importlib.metadata import distributions


def get_packages() -> list[str]:
    """Return `name==version` of every installed distribution, sorted by name."""
    found = {
        f"{dist.metadata['Name']}=={dist.version}" for dist in distributions() if dist.metadata
    }
    return sorted(found, key=str.lower)
