"""How much of an error a caller is told: what exceptions say may hold secrets. Pure.

The log has everything. Callers who may administer are told everything, others what `ERROR_DETAIL`
says: everything, the class of the exception, or that there was an error.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from basic_inference_server.core.errors import ServiceError

LOG_HAS_IT: Final = "the log has the details"
MAX_CLASS_NAME: Final = 128


class Detail(str, Enum):
    """How much is told; the values of `ERROR_DETAIL`."""

    FULL = "full"
    CLASS = "class"
    NONE = "none"


class Reason(str):
    """Why something is not there, as a text; `brief` is what of it may be told to everyone."""

    __slots__ = ("brief",)
    brief: str

    def __new__(cls, text: str, brief: str) -> Reason:
        """Make a reason of the whole text and what is told of it."""
        made = super().__new__(cls, text)
        made.brief = brief
        return made


def reason_told(reason: str | None, detail: Detail) -> str | None:
    """Return of a reason what is told; a plain text is the engine's own and holds no secret."""
    if reason is None or detail is Detail.FULL:
        return reason if reason is None else str(reason)
    if detail is Detail.NONE:
        return LOG_HAS_IT
    return f"{reason.brief}; {LOG_HAS_IT}" if isinstance(reason, Reason) else reason


def class_raised(error: BaseException) -> str | None:
    """Return the class of what endpoint code raised behind an error of ours, if that was so."""
    cause = error.__cause__ or error.__context__
    while isinstance(cause, ServiceError) and (cause.__cause__ or cause.__context__):
        cause = cause.__cause__ or cause.__context__
    return None if cause is None else type(cause).__name__[:MAX_CLASS_NAME]


def failure_told(
    message: str, raised: str | None, signature: str, request_id: str, detail: Detail
) -> str:
    """Return what is told of a failed endpoint.

    Args:
        message: all that is known.
        raised: the class of what its code raised; `None` when the message is the engine's own.
        signature: the endpoint.
        request_id: what its lines in the log are found by.
        detail: how much is told.
    """
    if detail is Detail.FULL or (detail is Detail.CLASS and raised is None):
        return message
    what = f"{signature} failed" if detail is Detail.NONE else f"{raised} in {signature}"
    return f"{what}; {LOG_HAS_IT} (request id {request_id})."
