"""What `curl -s URL -d @FILE` does, for a machine without curl: python post.py URL FILE."""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

with urllib.request.urlopen(sys.argv[1], Path(sys.argv[2]).read_bytes(), timeout=30) as reply:
    print(reply.read().decode())
