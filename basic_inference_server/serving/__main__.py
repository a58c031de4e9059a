"""Entry point of one server process; the supervisor starts it with `python -m`."""

from __future__ import annotations

import gc
import socket
import sys

from basic_inference_server.core.announcements import Announcer
from basic_inference_server.core.child_spec import ServerSpec, read_spec
from basic_inference_server.core.scoreboard import ServerScoreboard
from basic_inference_server.serving.arbiter import ServerApplication, ServerArbiter
from basic_inference_server.wire.messages import encode_message


def main() -> None:
    """Run the master until it is told to stop."""
    spec = ServerSpec(**read_spec())
    sys.path.insert(0, spec.base_folder)
    application = ServerApplication(
        spec, ServerScoreboard(spec.scoreboard_fd), Announcer(spec.announce_fd, encode_message)
    )
    # Forked workers share every page that nobody writes; the collector would write them all.
    gc.collect()
    gc.freeze()
    ServerArbiter(application, socket.socket(fileno=spec.listen_fd)).run()


if __name__ == "__main__":
    main()
