"""Requests that kill: a body that has killed its worker twice is not executed a third time.

Known by the digest of its bytes and its length; the body itself is kept only where the endpoint's
`QUARANTINE_KEEP_BODY` says so. Lives in memory: a new run of the gateway gives everybody a chance.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

from basic_inference_server.core.clock import local_time_text, monotonic_s
from basic_inference_server.core.fingerprints import reference_of

DEATHS_TO_QUARANTINE = 2
MAX_ENTRIES = 256
MAX_SUSPECTS = 1024


@dataclass(frozen=True)
class Strike:
    """One death of a worker that a body has caused."""

    signature: str
    fingerprint: str
    length: int
    request_id: str
    cause: str
    body: str | None = None


@dataclass
class Entry:
    """A body in quarantine."""

    reference: str
    strikes: deque[tuple[float, str, Strike]] = field(
        default_factory=lambda: deque(maxlen=DEATHS_TO_QUARANTINE)
    )

    @property
    def newest(self) -> Strike:
        """The newest strike."""
        return self.strikes[-1][2]

    def report(self) -> dict[str, Any]:
        """Return what an administrator may read."""
        newest = self.newest
        return {
            "REFERENCE": self.reference,
            "SIGNATURE": newest.signature,
            "SINCE": self.strikes[-1][1],
            "BODY_BYTES": newest.length,
            "DEATHS": [
                {"time": time, "cause": strike.cause, "request_id": strike.request_id}
                for _, time, strike in self.strikes
            ],
            "BODY": newest.body,
        }


class Quarantine:
    """Counts strikes and keeps the entries of one gateway."""

    def __init__(self) -> None:
        self._suspects: OrderedDict[tuple[str, str], Entry] = OrderedDict()
        self._entries: OrderedDict[tuple[str, str], Entry] = OrderedDict()

    def strike(self, strike: Strike, window_s: float) -> str | None:
        """Take note of a death; return the reference if the body is in quarantine now.

        Args:
            strike: who died of what.
            window_s: within how many seconds two deaths count together; 0 counts none.
        """
        key = (strike.signature, strike.fingerprint)
        if window_s <= 0:
            return None
        now_s = monotonic_s()
        entry = self._suspects.pop(key, None) or self._entries.get(key)
        if entry is None:
            entry = Entry(reference_of(strike.fingerprint))
        while entry.strikes and now_s - entry.strikes[0][0] > window_s:
            entry.strikes.popleft()
        entry.strikes.append((now_s, local_time_text(), strike))
        if key in self._entries or len(entry.strikes) >= DEATHS_TO_QUARANTINE:
            self._keep(self._entries, key, entry, MAX_ENTRIES)
            return entry.reference
        self._keep(self._suspects, key, entry, MAX_SUSPECTS)
        return None

    @staticmethod
    def _keep(
        place: OrderedDict[tuple[str, str], Entry], key: tuple[str, str], entry: Entry, most: int
    ) -> None:
        place[key] = entry
        if len(place) > most:
            place.popitem(last=False)

    def release(self, reference: str) -> list[str]:
        """Let a body pass again, or all with `*`; return the references that were released."""
        keys = [k for k, entry in self._entries.items() if reference in {"*", entry.reference}]
        return [self._entries.pop(key).reference for key in keys]

    def forget(self, signature: str) -> bool:
        """Forget all about an endpoint whose code is new; say whether it had entries."""
        for key in [key for key in self._suspects if key[0] == signature]:
            del self._suspects[key]
        keys = [key for key in self._entries if key[0] == signature]
        for key in keys:
            del self._entries[key]
        return bool(keys)

    def reports(self) -> list[dict[str, Any]]:
        """Return every entry, oldest first."""
        return [entry.report() for entry in self._entries.values()]

    def by_signature(self) -> dict[str, dict[str, int]]:
        """Return what gateways refuse: signature -> fingerprint -> length."""
        found: dict[str, dict[str, int]] = {}
        for (signature, fingerprint), entry in self._entries.items():
            found.setdefault(signature, {})[fingerprint] = entry.newest.length
        return found
