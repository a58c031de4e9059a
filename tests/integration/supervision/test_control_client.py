"""Integration tests of who asks the supervisor, against one that says what it likes."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from basic_inference_server.control_client import exchange
from basic_inference_server.core.errors import NotReady, ServiceError
from basic_inference_server.gateway.control_plane.supervisor_client import SupervisorClient
from basic_inference_server.wire.messages import MAX_MESSAGE, MessageError

PATIENCE_S = 10.0


class Speaker:
    """Takes one command, says the given pieces and hangs up."""

    def __init__(self, path: Path, pieces: list[bytes]) -> None:
        self.path = str(path)
        self.heard = b""
        self._pieces = pieces
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(1)
        self._listener.settimeout(PATIENCE_S)
        self._thread = threading.Thread(target=self._speak)

    def _speak(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            self.heard = connection.recv(65536)
            try:
                for piece in self._pieces:
                    connection.sendall(piece)
            except OSError:  # the client has heard enough
                return

    def __enter__(self) -> Speaker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE_S)
        self._listener.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a place for a socket."""
    return tmp_path / "s"


def test_answer_that_comes_in_pieces_is_put_together(path: Path) -> None:
    """A routing table is longer than what one read returns."""
    with Speaker(path, [b'{"result": "', b"x" * 200_000, b'"}\n']) as speaker:
        answer = exchange(speaker.path, {"command": "look"}, PATIENCE_S)
    assert {"result": "x" * 200_000} == answer
    assert b'{"command":"look"}\n' == speaker.heard


@pytest.mark.parametrize(
    ("pieces", "problem"),
    [
        ([], "closed the connection"),
        ([b'{"result": 1}'], "closed the connection"),
        ([b"garbage\n"], "not a message"),
        ([b"[1]\n"], "expected an object"),
        ([b"x" * (MAX_MESSAGE + 1)], "too long"),
    ],
    ids=["nothing", "half", "garbage", "no object", "too long"],
)
def test_what_is_no_answer_is_an_error(path: Path, pieces: list[bytes], problem: str) -> None:
    """Who asks learns of it at once, and is never given half an answer."""
    with Speaker(path, pieces) as speaker, pytest.raises(MessageError, match=problem):
        exchange(speaker.path, {"command": "look"}, PATIENCE_S)


def test_supervisor_that_says_nothing_is_waited_for_so_long(path: Path) -> None:
    """It may be stopped; its socket takes the connection all the same."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(1)
        with pytest.raises(TimeoutError):
            exchange(str(path), {"command": "look"}, timeout_s=0.05)


def test_supervisor_that_is_gone_is_not_ready(path: Path) -> None:
    """The answer is one that tells a client to try again."""
    with pytest.raises(NotReady, match="The supervisor does not answer") as caught:
        SupervisorClient(str(path)).ask("look")
    assert {"retry_after_s": 1} == caught.value.details


def test_supervisor_that_hangs_up_is_not_ready(path: Path) -> None:
    """A connection that ends instead of an answer is no answer."""
    with Speaker(path, []) as speaker, pytest.raises(NotReady, match="has closed the connection"):
        SupervisorClient(speaker.path).ask("look")


def test_unknown_error_code_is_still_an_error(path: Path) -> None:
    """A supervisor of a later version may refuse for reasons that we do not know."""
    refusal = b'{"error": {"code": "new_reason", "message": "No."}}\n'
    with Speaker(path, [refusal]) as speaker, pytest.raises(ServiceError, match=r"^No\.$"):
        SupervisorClient(speaker.path).ask("look")
