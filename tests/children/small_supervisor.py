"""Starts a child as the supervisor does, shows its output and waits to be killed."""

import asyncio
import os
import sys

from basic_inference_server.supervision.child_process import ChildEvents, ChildProcess


async def main() -> None:
    events = ChildEvents(
        on_line=lambda line: print(line.decode(), flush=True),
        on_message=lambda message: None,
        on_exit=lambda code: print("exit", code, flush=True),
    )
    child = ChildProcess([sys.executable, *sys.argv[1:]], os.environ, [], "/", events)
    print("child", child.pid, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
