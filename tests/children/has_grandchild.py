"""Starts a process of its own in the same group, says both pids and waits."""

import os
import subprocess
import sys
import threading

code = "import threading; threading.Event().wait()"
command = [sys.executable, "-c", code]
# Like a forked worker it keeps what it inherits.
with subprocess.Popen(command, stdin=subprocess.DEVNULL, close_fds=False) as grandchild:
    print(os.getpid(), grandchild.pid, flush=True)
    threading.Event().wait()
