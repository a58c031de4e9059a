"""Writes 5 MB as fast as it can; what does not fit is lost. Then says how it went."""

import os
import sys
from pathlib import Path

TOTAL = 5_000_000
LINE = b"x" * 999 + b"\n"

lost = 0
for _ in range(TOTAL // len(LINE)):
    try:
        os.write(1, LINE)
    except BlockingIOError:
        lost += 1
Path(sys.argv[1]).write_text(str(lost))
