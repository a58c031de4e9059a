"""Asks the supervisor over its control socket; blocking, for the control plane's threads."""

from __future__ import annotations

from typing import Any

from basic_inference_server.control_client import exchange
from basic_inference_server.core import errors
from basic_inference_server.core.errors import NotReady, ServiceError
from basic_inference_server.wire.messages import MessageError

DEFAULT_TIMEOUT_S = 10.0
_ERRORS = {
    error.code: error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, ServiceError)
}


class SupervisorClient:
    """One command, one answer."""

    def __init__(self, control_path: str) -> None:
        self._path = control_path

    def ask(self, command: str, *, timeout_s: float = DEFAULT_TIMEOUT_S, **fields: Any) -> Any:
        """Return the supervisor's result.

        Raises:
            NotReady: it does not answer.
            ServiceError: it refused; the class is the one it named.
        """
        try:
            reply = exchange(self._path, {"command": command, **fields}, timeout_s)
        except (OSError, MessageError) as error:
            raise NotReady(f"The supervisor does not answer: {error}.", retry_after_s=1) from error
        if "error" in reply:
            problem = reply["error"]
            raise _ERRORS.get(problem["code"], ServiceError)(
                problem["message"], **problem.get("details", {})
            )
        return reply["result"]
