"""Whether a file is newer than what was made of it: an endpoint's, and the configuration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from basic_inference_server.supervision.endpoint_files import FileStamp, stamp_of_files


class CodeWatch:
    """Compares the file of one endpoint with the one that its newest generation has loaded."""

    def __init__(self, stamp: Callable[[], FileStamp]) -> None:
        self.stamp = stamp
        self._seen: FileStamp = None
        self._refused: FileStamp = None

    def refuse(self, stamp: FileStamp) -> None:
        """Keep in mind that this version of the file could not be loaded."""
        self._refused = stamp

    def is_new(self, loaded: FileStamp) -> bool:
        """Say whether the file is another than the loaded one."""
        return self.stamp() != loaded

    def is_untried(self, loaded: FileStamp) -> bool:
        """Say the same of a file that has settled since the last call and was not refused.

        An editor may write a file in pieces, and half a file need not be tried.
        """
        stamp, seen = self.stamp(), self._seen
        self._seen = stamp
        return stamp == seen and stamp not in {loaded, self._refused}


class ConfigWatch:
    """Compares the configuration's file with the one that was read last."""

    def __init__(self, path: Path | None) -> None:
        """Take the file that was read just now; `None` when there is none to look at."""
        self._watch = CodeWatch(lambda: None if path is None else stamp_of_files([path]))
        self._read = self._watch.stamp()

    def note_reading(self) -> None:
        """Keep in mind that the file is read now, whatever comes of it."""
        self._read = self._watch.stamp()

    def is_unread(self) -> bool:
        """Say whether the file is another one, and has settled since the last call.

        A file that is away may be in the middle of being replaced.
        """
        return self._watch.is_untried(self._read) and self._watch.stamp() is not None
