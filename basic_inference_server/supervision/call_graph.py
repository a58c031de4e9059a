"""Who calls whom among the endpoints; refuses what would close a circle."""

from __future__ import annotations


class CallGraph:
    """The calls that endpoints have asked for; never holds a circle."""

    def __init__(self) -> None:
        self._called: dict[str, set[str]] = {}

    def add(self, caller: str, signature: str) -> list[str] | None:
        """Add a call; return the circle that it would close instead, if it would."""
        path = self._path(signature, caller)
        if path is not None:
            return [caller, *path]
        self._called.setdefault(caller, set()).add(signature)
        return None

    def _path(self, start: str, end: str) -> list[str] | None:
        """Return a way from `start` to `end` along the calls."""
        ways = [[start]]
        seen = {start}
        while ways:
            way = ways.pop()
            if way[-1] == end:
                return way
            for following in self._called.get(way[-1], ()):
                if following not in seen:
                    seen.add(following)
                    ways.append([*way, following])
        return None

    def forget(self, caller: str) -> None:
        """Forget whom an endpoint has called: its code is new."""
        self._called.pop(caller, None)
