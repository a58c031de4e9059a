"""Finds answers that are meant to give an HTTP status, as views of Flask do: `return body, 404`.

An endpoint cannot give one, and answering them as data with 200 would tell every client that all
is well.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from basic_inference_server.core.errors import EndpointError
from basic_inference_server.worker.binary import Binary

STATUSES: Final = range(100, 600)
ERRORS: Final = frozenset(status for status in HTTPStatus if status >= 400)


def check_gives_no_status(result: tuple[Any, ...], signature: str) -> None:
    """Refuse a tuple of a body and a status, or of these and headers.

    Raises:
        EndpointError: it is one; the message says what to write instead.
    """
    if _gives_status(result):
        raise EndpointError(
            f"{signature} returned a {type(result[0]).__name__} and the status {result[1]:d}, but "
            "an endpoint cannot give a status. Raise ValueError in _pre_process for 422, or any "
            "exception for 500, or return a dict with a field that says it. A pair that is data "
            "is returned as a list."
        )


def _gives_status(result: tuple[Any, ...]) -> bool:
    if len(result) not in {2, 3}:
        return False
    body, status = result[:2]
    if not isinstance(status, int) or isinstance(status, bool) or status not in STATUSES:
        return False
    if len(result) == 3:
        return isinstance(result[2], Mapping) and isinstance(body, (Mapping, Binary, str))
    if isinstance(status, HTTPStatus) or isinstance(body, (Mapping, Binary)):
        return True
    # A label and its count would look the same: only what nobody counts to by chance is refused.
    return (body is None or isinstance(body, str)) and status in ERRORS
