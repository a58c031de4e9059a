"""The files of the endpoints folder, as far as the supervisor looks at them: names and times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from basic_inference_server.core.clock import monotonic_s
from basic_inference_server.core.settings import EndpointSettings

LOOK_EVERY_S = 1.0

FileStamp = tuple[tuple[int, int, int], ...] | None


def stamp_of_files(paths: Iterable[Path]) -> FileStamp:
    """Return what changes with these files; `None` when one of them is not there."""
    try:
        details = [path.stat() for path in paths]
    except OSError:
        return None
    return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in details)


def missing_files(folder: Path, sections: Mapping[str, EndpointSettings]) -> dict[str, str]:
    """Return, for each endpoint whose file is not in `folder`, a sentence that says so."""
    # Imported here: a running gateway leaves the search to the servers.
    from basic_inference_server.worker.discovery import find_file  # noqa: PLC0415
    from basic_inference_server.worker.load_error import EndpointLoadError  # noqa: PLC0415

    missing = {}
    for signature, section in sections.items():
        try:
            find_file(folder, section.SERVER_CLASS or signature)
        except EndpointLoadError as error:
            missing[signature] = f"CONFIG_ENDPOINTS.{signature}: {error}"
    return missing


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
        return stamp_of_files([self.path_of(server_class), *sorted(self._folder.glob("_*.py"))])

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
