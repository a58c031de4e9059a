"""This gateway process's counters for each endpoint, in shared memory."""

from __future__ import annotations

from bisect import bisect_left

from basic_inference_server.core.scoreboard import (
    ACCEPTED,
    ANSWERED_4XX,
    ANSWERED_5XX,
    ANSWERED_OK,
    EXPIRED,
    IN_FLIGHT,
    LATENCY_BOUNDS_US,
    LOST,
    REFUSED,
    GatewayScoreboard,
)

FIRST_BUCKET = 8
SMOOTHING = 0.1
LONGEST_WAIT_S = 60


class Counters:
    """Counts what happens to requests; writes only this process's cells."""

    def __init__(self, scoreboard: GatewayScoreboard, process: int) -> None:
        self._cells = [scoreboard.cell(process, cell) for cell in range(GatewayScoreboard.CELLS)]
        self._mean_s: dict[int, float] = {}
        scoreboard.forget_in_flight(process)

    def begin(self, cell: int) -> None:
        """Count a request that is being forwarded."""
        words = self._cells[cell]
        words[IN_FLIGHT] += 1
        words[ACCEPTED] += 1

    def _leave(self, cell: int) -> memoryview:
        words = self._cells[cell]
        if words[IN_FLIGHT]:
            words[IN_FLIGHT] -= 1
        return words

    def refuse(self, cell: int) -> None:
        """Count a request that could not be forwarded."""
        words = self._leave(cell)
        words[REFUSED] += 1

    def abandon(self, cell: int) -> None:
        """Count a request whose client left."""
        words = self._leave(cell)
        words[LOST] += 1

    def finish(self, cell: int, status: int, elapsed_ns: int) -> None:
        """Count an answered request and its duration."""
        words = self._leave(cell)
        if status < 400:
            words[ANSWERED_OK] += 1
        elif status < 500:
            words[ANSWERED_4XX] += 1
        else:
            words[ANSWERED_5XX] += 1
            if status == 504:
                words[EXPIRED] += 1
        elapsed_us = elapsed_ns // 1000
        words[FIRST_BUCKET + bisect_left(LATENCY_BOUNDS_US, elapsed_us)] += 1
        elapsed_s = elapsed_ns / 1e9
        mean_s = self._mean_s.get(cell, elapsed_s)
        self._mean_s[cell] = mean_s + SMOOTHING * (elapsed_s - mean_s)

    def expected_wait_s(self, cell: int, workers: int) -> int:
        """Return in how many seconds about half of a full queue has been worked off."""
        in_flight = self._cells[cell][IN_FLIGHT]
        # The measured time holds the wait in the queue; one execution is a share of it.
        one_s = self._mean_s.get(cell, 1.0) * workers / max(workers, in_flight)
        return max(1, min(LONGEST_WAIT_S, round(one_s * in_flight / workers / 2)))
