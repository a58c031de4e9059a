"""Says that it is there and waits; with `deaf` it ignores SIGTERM."""

import signal
import sys
import threading

if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
threading.Event().wait()
