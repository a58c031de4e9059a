"""Prints what it finds around itself as one line of JSON."""

import json
import os
import sys
from pathlib import Path

print(
    json.dumps(
        {
            "arguments": sys.argv[1:],
            "environment": dict(os.environ),
            "folder": str(Path.cwd()),
            "leads_its_session": os.getsid(0) == os.getpid() == os.getpgrp(),
            "descriptors": sorted(int(path.name) for path in Path("/proc/self/fd").iterdir()),
            "input": sys.stdin.read(),
            "output_blocks": os.get_blocking(1),
        }
    ),
    flush=True,
)
print("to stderr", file=sys.stderr)
