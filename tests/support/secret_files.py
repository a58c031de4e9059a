"""Writes secrets as the engine does: for their owner only."""

from __future__ import annotations

from pathlib import Path


def write_secret(path: Path, content: str | bytes) -> None:
    """Write a file that nobody else may read."""
    path.touch(mode=0o600)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
