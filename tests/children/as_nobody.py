"""Runs the command line as a user who owns nothing; what it takes is imported before."""

import encodings.idna  # noqa: F401 - for host names
import os
import sys

import basic_inference_server.core.config_file  # noqa: F401
from basic_inference_server.cli import main

NOBODY = 65534
os.setgroups([])
os.setgid(NOBODY)
os.setuid(NOBODY)
main(sys.argv[1:])
