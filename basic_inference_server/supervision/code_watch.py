"""Whether an endpoint's file is newer than what its server has loaded."""

from __future__ import annotations

from collections.abc import Callable

from basic_inference_server.supervision.endpoint_files import FileStamp


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
