"""Sends announcements over the descriptor that it was given, the last one just before it ends."""

import json
import os
import sys

fd = int(sys.argv[1])
for number in range(int(sys.argv[2])):
    os.write(fd, json.dumps({"kind": "count", "number": number}).encode())
for text in sys.argv[3:]:
    os.write(fd, text.encode())
