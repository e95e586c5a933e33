"""Ask a board's agent again and again while something happens to it; on SIGTERM print: answered, failed, releases seen.

Usage: python knock.py DEVICE (in the fleet folder). Prints one line when the first answer has come.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request


def main(device: str) -> None:
    forward = subprocess.Popen(["edge", "forward", device, "--print-port"], stdout=subprocess.PIPE, text=True)
    assert forward.stdout is not None
    url = f"http://127.0.0.1:{forward.stdout.readline().strip()}/v2/models/digits"
    with open("triton.json", "rb") as file:  # noqa: PTH123
        body = file.read()
    answered, failed, versions = 0, 0, set()
    going = True

    def stop(_signal: int, _frame: object) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    while going:
        try:
            with urllib.request.urlopen(f"{url}/infer", body, timeout=10) as reply:
                versions.add(json.load(reply)["model_version"])
            answered += 1
        except OSError:
            failed += 1
        if answered == 1:
            print("ready", flush=True)
        time.sleep(0.02)
    forward.terminate()
    forward.wait(10)
    print(answered, failed, "+".join(sorted(versions)))


if __name__ == "__main__":
    main(sys.argv[1])
