"""Takes a streamed HTTP/1.1 answer apart as its bytes arrive: head, chunks, items. No I/O.

Works with any answer in NDJSON or server-sent events, chunked or until the connection closes.
"""

from __future__ import annotations

import json

CRLF = b"\r\n"
HEAD_END = b"\r\n\r\n"
EVENT_DATA = b"data:"
MAX_HEAD_BYTES = 65536


class StreamError(Exception):
    """This is no whole, successful, streamed answer."""


class Items:
    """Cuts a body into lines and counts those that are items; others are kept as `extra`.

    An item is an object with a field `n`, on a line of its own or after `data:`.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.extra: list[bytes] = []
        self._partial = b""

    def feed(self, data: bytes) -> None:
        """Take some bytes of the body."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._take(line.strip())

    def finish(self) -> None:
        """Take the last line, which may lack its end."""
        line, self._partial = self._partial.strip(), b""
        self._take(line)

    def _take(self, line: bytes) -> None:
        text = line.removeprefix(EVENT_DATA).strip()
        if not text:
            return
        try:
            item = json.loads(text)
        except ValueError:
            item = None
        if isinstance(item, dict) and isinstance(item.get("n"), int):
            self.numbers.append(item["n"])
        else:
            self.extra.append(line)


class StreamedAnswer:
    """One answer; feed it until `is_complete`, or call `close` when the server has."""

    def __init__(self) -> None:
        self.items = Items()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.is_complete = False
        self._data = b""
        self._length: int | None = None

    @property
    def is_chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.headers.get(b"transfer-encoding", b"").lower() == b"chunked"

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection may be used again."""
        closes = self.headers.get(b"connection", b"").lower() == b"close"
        return not closes and (self.is_chunked or self._length is not None)

    def feed(self, data: bytes) -> None:
        """Take what was received.

        Raises:
            StreamError: the head or a chunk is not what HTTP says.
        """
        self._data += data
        if not self.status and not self._read_head():
            return
        if self.is_chunked:
            self._read_chunks()
            return
        taken, self._data = self._data, b""
        self.items.feed(taken)
        if self._length is not None:
            self._length -= len(taken)
            if self._length <= 0:
                self._complete()

    def close(self) -> None:
        """Take note that the server has closed the connection.

        Raises:
            StreamError: the answer was not complete.
        """
        if self.is_complete:
            return
        if not self.status or self.is_chunked or self._length:
            raise StreamError(f"cut after {len(self.items.numbers)} items")
        self._complete()

    def _read_head(self) -> bool:
        head, end, rest = self._data.partition(HEAD_END)
        if not end:
            if len(head) > MAX_HEAD_BYTES:
                raise StreamError("a head without end")
            return False
        first, *lines = head.split(CRLF)
        try:
            self.status = int(first.split()[1])
        except (IndexError, ValueError) as error:
            raise StreamError(f"no status line: {first[:80]!r}") from error
        fields = (line.partition(b":") for line in lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        if not self.is_chunked and b"content-length" in self.headers:
            self._length = int(self.headers[b"content-length"])
        self._data = rest
        return True

    def _read_chunks(self) -> None:
        data, at = self._data, 0
        while not self.is_complete:
            line_end = data.find(CRLF, at)
            if line_end < 0:
                break
            try:
                size = int(data[at:line_end].partition(b";")[0], 16)
            except ValueError as error:
                raise StreamError(f"no chunk: {data[at : at + 40]!r}") from error
            begin, end = line_end + 2, line_end + 2 + size
            if len(data) < end + 2:
                break
            if size:
                self.items.feed(data[begin:end])
                at = end + 2
            else:
                at = end + 2
                self._complete()
        self._data = data[at:]

    def _complete(self) -> None:
        self.items.finish()
        self.is_complete = True
