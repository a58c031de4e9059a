"""Prints what it was told to, without a line end, and exits with the given code."""

import sys

sys.stdout.write(" ".join(sys.argv[2:]))
sys.stdout.flush()
sys.exit(int(sys.argv[1]))
