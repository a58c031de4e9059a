"""Notices that the folder of sockets was removed or emptied, and has it restored."""

from __future__ import annotations

from basic_inference_server.core.complaints import Complaints
from basic_inference_server.core.logs import EventLog
from basic_inference_server.supervision.places import Places
from basic_inference_server.supervision.sockets import StartError


class FolderWatch:
    """Looks at the folder with every tick; that costs one `stat`."""

    def __init__(self, places: Places, log: EventLog) -> None:
        self._places = places
        self._log = log
        self._complaints = Complaints()

    def tick(self, now_s: float) -> None:
        """Restore what somebody has removed, a cleaner of temporary files for instance."""
        if not self._places.folder.has_changed():
            return
        try:
            restored = self._places.restore()
        except (StartError, OSError) as error:
            if self._complaints.is_due("folder", now_s):
                self._log.critical("folder_lost", error=str(error))
            return
        if restored:
            self._log.warning(
                "folder_restored", folder=str(self._places.folder.path), restored=restored
            )
