"""What an endpoint sees when a call to another endpoint has failed."""

from __future__ import annotations


class CallError(Exception):
    """Another endpoint did not answer with a result.

    Attributes:
        signature: whom the call was for.
        status: the HTTP status that a client would have got.
        code: the error's code, such as `bad_input` or `overloaded`.
        is_at_deadline: whether the caller's own request has no time left.
    """

    is_at_deadline = False

    def __init__(self, signature: str, status: int, code: str, message: str) -> None:
        super().__init__(f"{signature} answered {status} {code}: {message}")
        self.signature = signature
        self.status = status
        self.code = code
