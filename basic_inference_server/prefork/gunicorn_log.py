"""What gunicorn wants as a logger, saying our events instead of its own lines."""

from __future__ import annotations

import sys
from typing import Any

from basic_inference_server.core.logs import EventLog, process_sink
from basic_inference_server.core.showing import trace_of


class GunicornLog:
    """Duck-typed `gunicorn.glogging.Logger`; its chatter is `debug` here.

    The engine says the state changes itself, with reasons; what gunicorn has to add at warning
    level and above stays visible.
    """

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        self.events = EventLog(process_sink(), program="gunicorn")

    def setup(self, cfg: Any) -> None:
        """Take a new configuration; nothing here depends on it."""
        self.cfg = cfg

    def _say(self, level: str, message: Any, args: tuple[Any, ...], **kwargs: Any) -> None:
        if not self.events.is_enabled(level):
            return
        text = str(message) % args if args else str(message)
        error = sys.exc_info()[1] if kwargs.get("exc_info") else None
        trace = None if error is None else trace_of(error)
        self.events.say(level, "library", logger="gunicorn", message=text, traceback=trace)

    def critical(self, message: Any, *args: Any, **kwargs: Any) -> None:
        """Write at critical level."""
        self._say("critical", message, args, **kwargs)

    def error(self, message: Any, *args: Any, **kwargs: Any) -> None:
        """Write at error level."""
        self._say("error", message, args, **kwargs)

    def warning(self, message: Any, *args: Any, **kwargs: Any) -> None:
        """Write at warning level."""
        self._say("warning", message, args, **kwargs)

    def info(self, message: Any, *args: Any, **kwargs: Any) -> None:
        """Write at debug level: gunicorn's 'info' is not news to an operator."""
        self._say("debug", message, args, **kwargs)

    def debug(self, message: Any, *args: Any, **kwargs: Any) -> None:
        """Write at debug level."""
        self._say("debug", message, args, **kwargs)

    def exception(self, message: Any, *args: Any, **kwargs: Any) -> None:
        """Write at error level with the traceback."""
        self._say("error", message, args, exc_info=True, **kwargs)

    def log(self, level: Any, message: Any, *args: Any, **_kwargs: Any) -> None:
        """Write at a level that gunicorn chose."""
        self._say("warning" if isinstance(level, int) and level >= 30 else "debug", message, args)

    def access(self, *_args: Any) -> None:
        """Write nothing: gunicorn serves no HTTP here."""

    def reopen_files(self) -> None:
        """Do nothing: there are no files."""

    def close_on_exec(self) -> None:
        """Do nothing: there are no files."""
