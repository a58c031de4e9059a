"""The files of the endpoints folder, as far as the supervisor looks at them: names and times."""

from __future__ import annotations

from pathlib import Path

from basic_inference_server.core.clock import monotonic_s

LOOK_EVERY_S = 1.0

FileStamp = tuple[tuple[int, int, int], ...] | None


class EndpointFiles:
    """Notices that a file has changed, so that a broken endpoint is tried again at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[int, ...]] = {}
        self._looked_at_s: dict[str, float] = {}

    def path_of(self, server_class: str) -> Path:
        """Return the file of a support process; upper case and underscores do not matter."""
        exact = self._folder / f"{server_class}.py"
        if exact.is_file():
            return exact
        wanted = server_class.replace("_", "").lower()
        for path in sorted(self._folder.glob("*.py")):
            if path.stem.replace("_", "").lower() == wanted:
                return path
        return exact

    def stamp_of(self, server_class: str) -> FileStamp:
        """Return what changes with the endpoint's file; `None` when there is none.

        Files whose names begin with `_` are shared by endpoints, so they count for each.
        """
        try:
            details = [self.path_of(server_class).stat()]
            details += [path.stat() for path in sorted(self._folder.glob("_*.py"))]
        except OSError:
            return None
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in details)

    def _snapshot(self) -> tuple[int, ...]:
        stamps = []
        for path in sorted(self._folder.glob("*.py")):
            try:
                stamps.append(path.stat().st_mtime_ns)
            except OSError:
                continue
        return tuple(stamps)

    def remember(self, name: str) -> None:
        """Keep the files' state as the one that `name` failed with."""
        self._known[name] = self._snapshot()

    def changed(self, name: str) -> bool:
        """Say whether the files differ from what `name` failed with; looks once a second."""
        now_s = monotonic_s()
        if now_s - self._looked_at_s.get(name, 0.0) < LOOK_EVERY_S:
            return False
        self._looked_at_s[name] = now_s
        return self._known.get(name) != self._snapshot()
