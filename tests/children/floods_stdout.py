"""Writes 5 MB as a worker writes its log: what does not fit is lost. Then says how it went."""

import os
import sys
from pathlib import Path

from basic_inference_server.core.logs import reopened_without_waiting

TOTAL = 5_000_000
LINE = b"x" * 999 + b"\n"

output = reopened_without_waiting(1)
lost = 0
for _ in range(TOTAL // len(LINE)):
    try:
        os.write(output, LINE)
    except BlockingIOError:
        lost += 1
Path(sys.argv[1]).write_text(str(lost))
