"""Entry point of the gateway's processes; the supervisor starts it with `python -m`."""

from __future__ import annotations

import gc
import socket

from basic_inference_server.core.announcements import Announcer
from basic_inference_server.core.child_spec import GatewaySpec, read_spec
from basic_inference_server.gateway.arbiter import GatewayApplication, GatewayArbiter
from basic_inference_server.wire.messages import encode_message


def main() -> None:
    """Run the master until it is told to stop."""
    spec = GatewaySpec(**read_spec())
    application = GatewayApplication(spec, Announcer(spec.announce_fd, encode_message))
    gc.collect()
    gc.freeze()
    GatewayArbiter(application, socket.socket(fileno=spec.listen_fd)).run()


if __name__ == "__main__":
    main()
