"""Hangs in C code that holds the interpreter: no signal handler and no thread can run."""

import ctypes
import signal

signal.signal(signal.SIGTERM, lambda *_: None)
print("ready", flush=True)
ctypes.PyDLL(None).sleep(600)  # PyDLL, unlike CDLL, keeps the interpreter's lock
