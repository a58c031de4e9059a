"""The items of streaming.py from Python's own HTTP server, a chunk each."""

from __future__ import annotations

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import stream_work


class Handler(BaseHTTPRequestHandler):
    """Streams, and keeps the connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """The items."""
        fields = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for item in stream_work.items(fields):
            line = json.dumps(item).encode() + b"\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Say nothing about each request."""


if __name__ == "__main__":
    address = ("127.0.0.1", int(os.environ["MODEL_PORT"]))
    sys.exit(ThreadingHTTPServer(address, Handler).serve_forever())
