"""Binds a port as a gateway does that is just starting, says which, and waits."""

import sys
import threading

from basic_inference_server.supervision.sockets import StartError, bind_tcp

try:
    listener = bind_tcp("127.0.0.1", int(sys.argv[1]))
except StartError as error:
    sys.exit(str(error))
print(listener.getsockname()[1], flush=True)
threading.Event().wait()
