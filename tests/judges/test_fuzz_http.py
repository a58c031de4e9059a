"""HTTP: hostile bytes never make the protocol raise, answer 5xx, or keep the connection open."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basic_inference_server.gateway.exchange import Exchange
from basic_inference_server.gateway.hub import Call, Listener
from basic_inference_server.wire.frames import decode_reply_header, encode_reply
from tests.judges.answers import split_answers
from tests.judges.mutated import JSON_VALUES, mutated
from tests.support.http_harness import HttpHarness, RawHttp, Response
from tests.support.planes import FakeHub, Plane

pytestmark = [pytest.mark.quick, pytest.mark.shares_gateway]

REPLY = encode_reply(200, b"application/json", b'{"done":true}', (1, 2, 3, 4))
LOOP_TURNS = 3  # one to read, one for the worker's reply, one to write


class ProntoHub(FakeHub):
    """Has every call answered in the loop's next turn, as a free worker would."""

    def call(
        self, path: str, head: bytes, body: bytes, deadline_ns: int, listener: Listener,
        _link: str = "",
    ) -> Call:  # fmt: skip
        """Keep a call until then; its client may leave before."""
        call = super().call(path, head, body, deadline_ns, listener)
        asyncio.get_running_loop().call_soon(self._reply_to, listener)
        return call

    def _reply_to(self, listener: Listener) -> None:
        if listener in self.open:
            self.open.remove(listener)
            header = decode_reply_header(REPLY)
            assert header is not None
            listener.on_reply(header, REPLY)


class HostilePlane(Plane):
    """A data plane whose endpoint `demo` answers, and whose administration knows no route."""

    def __init__(self) -> None:
        super().__init__()
        self.plane.hub = self.hub = ProntoHub()  # type: ignore[assignment]

    def _control(self, exchange: Exchange, bound_signature: str | None) -> None:
        exchange.answer(404, b"{}")


class Victim:
    """A real connection handler on a real port, and everything that went wrong in it."""

    def __init__(self) -> None:
        self.plane = HostilePlane()
        self.harness = HttpHarness(max_body_bytes=2000)
        self.harness.limits.handle = self.plane.plane.handle

    @property
    def faults(self) -> list[object]:
        """What reached the event loop's last resort, or the data plane's."""
        return [*self.harness.faults, *self.plane.said]

    def attack(self, pieces: list[bytes]) -> list[Response]:
        """Send pieces one after another, then the end; return the answers."""
        client = RawHttp(self.harness.port)
        try:
            for piece in pieces:
                client.send(piece)
                for _ in range(LOOP_TURNS):
                    self.harness.call(lambda: None)
            client.end_sending()
            return split_answers(client.read_rest())
        except (ConnectionResetError, BrokenPipeError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise AssertionError("the connection was not closed") from error
            return []
        finally:
            client.close()


@pytest.fixture(scope="module")
def victim() -> Iterator[Victim]:
    """One for all attacks: what an earlier one broke, a later one finds."""
    victim = Victim()
    yield victim
    victim.harness.close()


METHODS = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "CONNECT", "TRACE", "PRI", ""])
TARGETS = st.sampled_from(
    ["/run", "/run/demo", "/run/%64emo", "/v1/ready", "/run?SIGNATURE=demo", "*", "//", "http://x",
     "http://x/run?SIGNATURE=demo", "/%", "/%ff%00", "/run?%ff=%zz&SIGNATURE=%ff", "/x" * 5000]
) | st.text(max_size=20)  # fmt: skip
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["Content-Length", "Transfer-Encoding", "Content-Type", "Content-Encoding", "Expect",
             "Connection", "Upgrade", "X-Request-Id", "X-Request-Timeout", "Origin", "Host",
             "Authorization", "Access-Control-Request-Method"]
        ) | st.text(max_size=8),
        st.sampled_from(
            ["0", "5", "23", "-1", "+5", "5, 5", "9" * 25, "1e3", "nan", "inf", "chunked", "gzip",
             "identity, chunked", "application/json", "application/json; charset=utf-16",
             "application/x-www-form-urlencoded", "text/plain", "100-continue", "close",
             "keep-alive, Upgrade", "h2c", "websocket", "http://evil", "null", "é", ""]
        ) | st.text(max_size=12),
    ),
    max_size=5,
)  # fmt: skip
JSON_BODIES = st.dictionaries(
    st.sampled_from(["SIGNATURE", "BASE64_KEYS", "x"]), JSON_VALUES | st.just("demo"), max_size=3
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Draw one request that is right in most of its parts."""
    lines = [f"{draw(METHODS)} {draw(TARGETS)} {draw(st.sampled_from(['HTTP/1.1', 'HTTP/1.0']))}"]
    lines += ["Host: x"] * draw(st.sampled_from([1, 1, 1, 0, 2]))
    lines += [f"{name}: {value}" for name, value in draw(HEADERS)]
    body = repr(draw(JSON_BODIES)).replace("'", '"').encode("utf-8", "replace")
    framing = draw(st.sampled_from(["length", "chunks", "none"]))
    if framing == "length":
        lines.append(f"Content-Length: {len(body)}")
    elif framing == "chunks":
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "replace") + body


@st.composite
def attacks(draw: st.DrawFn) -> list[bytes]:
    """Draw what one connection sends: requests, damaged or not, or noise, cut anywhere."""
    data = b"".join(draw(st.lists(mutated(requests()) | st.binary(), min_size=1, max_size=3)))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=3)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def test_request_that_is_right_reaches_the_endpoint(victim: Victim) -> None:
    """The attacks meet a gateway that would answer."""
    body = b'{"SIGNATURE":"demo"}'
    head = b"POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    assert [200, 200] == [answer.status for answer in victim.attack([head + body, head + body])]


@settings(deadline=None, database=None)
@given(pieces=attacks())
def test_hostile_bytes_do_no_harm(victim: Victim, pieces: list[bytes]) -> None:
    """Whatever is sent, nothing is raised, no answer is 5xx, and the connection ends."""
    answers = victim.attack(pieces)
    assert [] == [answer for answer in answers if answer.status >= 500]
    assert [] == victim.faults
