"""The main road, from a trained model to a halted rollout, as a user types it. Run it with `make demo`.

Everything is real: the training, the conversions, the signed repository, SSH, the agent, the trial, the telemetry, the
gate. Only the boards are simulated: SSH servers in a process on this machine, each with its own port, host key and
folder, under steady requests.
`make demo KEEP=1` leaves the boards running and the folder in place.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "build" / "demo"
KEEP = os.environ.get("KEEP", "") not in ("", "0")
BEGAN = time.monotonic()
MEANWHILE = ThreadPoolExecutor(1)
"""What is begun early, so that the demo is short: one thing after another, behind what is shown."""
BOARDS = ("sim-1", "sim-2", "sim-3", "sim-4")
BOTH = "--for sim-tflite --for sim-onnx"
WAVES = "--waves 1,100% --dwell 10 --max-slowdown 3"
"""A net of 0.2 ms on cores that four boards share: a factor of two came of noise alone."""
DATA = "--calibration digits-calibration.npz --eval digits-eval.npz --labels labels.txt --max-drop 1.5"
BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


def title(text: str) -> None:
    print(f"\n{BOLD}── {text}{PLAIN}  {DIM}{time.monotonic() - BEGAN:.0f} s{PLAIN}", flush=True)


def type_(command: str, *, expect: int = 0, show: bool = True) -> str:
    """Echo a command, run it in the demo's folder as a user would, and return what it printed.

    Ends the demo when the exit code is not the expected one.
    """
    print(f"{BOLD}$ {command}{PLAIN}", flush=True)
    process = subprocess.Popen(
        command, shell=True, cwd=FOLDER, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lines = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if show:
            print(f"  {line}", end="", flush=True)
    if show and lines and not lines[-1].endswith("\n"):
        print()
    status = process.wait()
    if expect:
        print(f"  {DIM}exit code {status}{PLAIN}")
    if status != expect:
        raise SystemExit(f"the demo expected exit code {expect} of `{command}` and got {status}")
    return "".join(lines)


class Begun:
    """A command that runs with low priority while the demo goes on."""

    def __init__(self, command: str) -> None:
        self.command = command
        self._ended: Future[subprocess.CompletedProcess[str]] = MEANWHILE.submit(
            subprocess.run,
            ["nice", "sh", "-c", command],
            cwd=FOLDER,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def type_(self) -> None:
        """Show it as if it ran now, when it has ended."""
        print(f"{BOLD}$ {self.command}{PLAIN}", flush=True)
        ended = self._ended.result()
        print("".join(f"  {line}\n" for line in ended.stdout.splitlines()), end="", flush=True)
        if ended.returncode:
            raise SystemExit(f"the demo expected exit code 0 of `{self.command}` and got {ended.returncode}")


def prepare() -> None:
    """An empty folder, `edge` and this Python on the PATH, and a passphrase for the demo's keys."""
    if (FOLDER / "edge.toml").exists():
        stop()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["EDGE_KEY_PASSPHRASE"] = "only-for-the-demo"


def stop() -> None:
    """End what runs in the background of the demo's folder."""
    for command in (("collect", "stop"), ("sim", "down")):
        subprocess.run([sys.executable, "-m", "edge", *command], cwd=FOLDER, check=False, capture_output=True)


def tell(what: bool, text: str) -> None:
    """State something that the demo has just shown, and end it if it is not so."""
    if not what:
        raise SystemExit(f"the demo expected: {text}")
    print(f"  {BOLD}✓ {text}{PLAIN}", flush=True)


def first_version() -> None:
    title("A trained model: a small CNN on scikit-learn's handwritten digits")
    type_(f"python {shlex.quote(os.path.relpath(HERE / 'train_digits.py', FOLDER))} .")

    title("A fleet folder")
    type_("edge init --name demo")
    type_(
        "sed -i.bak 's/^probation_s = .*/probation_s = 3.0/; s/^interval_s = .*/interval_s = 1.0/' edge.toml"
    )

    title("Converted for two kinds of boards, with what it cost")
    type_(f"edge convert digits.keras {BOTH} {DATA} -o digits-v1")

    title("Published: a release in the signed repository")
    type_("edge publish digits digits-v1")


def begin_versions() -> dict[int, Begun]:
    """Begin to convert versions 3, 4 and 5, which are wanted later."""
    return {
        version: Begun(
            f"edge convert digits-v{version}.keras --name digits {BOTH} --recipe int8 {DATA} -o digits-v{version}"
        )
        for version in (3, 4, 5)
    }


def boards() -> None:
    title("Four simulated boards: real SSH servers, nothing to install, 20 requests a second each")
    printed = type_("edge sim up 4 --traffic")
    for name, address in re.findall(r"(sim-\d+) .* (\S+@127\.0\.0\.1:\d+)", printed):
        type_(f"edge device add {address} --name {name} --yes")
    type_("edge device probe sim-1")
    type_("edge device list")


def flash() -> None:
    title("Flashed: runtime and bundle pushed, verified on the board, tried, confirmed")
    for name in BOARDS:
        type_(f"edge flash {name} digits@1")
    printed = type_("edge flash sim-1 digits@1")
    tell("nothing to do" in printed, "flashing again does nothing and says so")


def requests() -> None:
    title("Requests: a picture, Triton's JSON, TF Serving's JSON")
    type_("edge infer sim-1 digit.png")
    type_("edge infer sim-2 digit.png")
    write_requests()
    print(f"{BOLD}$ edge forward sim-1 --print-port &{PLAIN}", flush=True)
    forward = subprocess.Popen(
        ["edge", "forward", "sim-1", "--print-port"], cwd=FOLDER, stdout=subprocess.PIPE, text=True
    )
    try:
        assert forward.stdout is not None
        port = forward.stdout.readline().strip()
        print(f"  {port}")
        triton = post(f"http://127.0.0.1:{port}/v2/models/digits/infer", "triton.json")
        scores = json.loads(triton)["outputs"][0]["data"]
        tell(max(range(10), key=scores.__getitem__) == 7, "Triton's JSON: it is a 7")
        serving = post(f"http://127.0.0.1:{port}/v1/models/digits:predict", "tf-serving.json")
        scores = json.loads(serving)["predictions"][0]
        tell(max(range(10), key=scores.__getitem__) == 7, "TF Serving's JSON: it is a 7")
    finally:
        forward.terminate()
        forward.wait(10)


def post(url: str, body: str) -> str:
    if shutil.which("curl"):
        return type_(f"curl -s {url} -d @{body}")
    return type_(f"python {shlex.quote(os.path.relpath(HERE / 'post.py', FOLDER))} {url} {body}")


def write_requests() -> None:
    """The same picture as JSON requests."""
    import numpy as np
    from PIL import Image

    picture = (
        np.asarray(Image.open(FOLDER / "digit.png").resize((8, 8), Image.Resampling.BOX), dtype="float32")
        / 255
    )
    image = picture.reshape(1, 8, 8, 1).round(4)
    triton = {
        "inputs": [
            {"name": "image", "shape": [1, 8, 8, 1], "datatype": "FP32", "data": image.ravel().tolist()}
        ]
    }
    (FOLDER / "triton.json").write_text(json.dumps(triton))
    (FOLDER / "tf-serving.json").write_text(json.dumps({"instances": image.tolist()}))


def bad_version() -> None:
    title("A wrong version 2: calibrated with wrongly scaled data")
    wrong = (
        "edge convert digits.keras --for sim-tflite --recipe int8 --calibration wrong-calibration.npz"
        " --eval digits-eval.npz --labels labels.txt --max-drop 1.5 -o digits-v2"
    )
    type_(wrong, expect=3)
    tell(not (FOLDER / "digits-v2").exists(), "refused, and nothing was written")
    type_(f"{wrong} --keep-failed", expect=3, show=False)
    type_("edge publish digits digits-v2", expect=3)
    type_("edge publish digits digits-v2 --force")
    watcher = subprocess.Popen(
        [sys.executable, HERE / "knock.py", "sim-1"], cwd=FOLDER, stdout=subprocess.PIPE, text=True
    )
    assert watcher.stdout is not None
    watcher.stdout.readline()
    type_("edge flash sim-1 digits@2", expect=3)
    watcher.terminate()
    answered, failed, releases = watcher.communicate(timeout=30)[0].split()
    tell(
        failed == "0" and releases == "1",
        f"version 1 never stopped serving: {answered} requests meanwhile, 0 failed",
    )
    type_("edge device show sim-1")


def good_version(convert: Begun) -> None:
    title("Version 3 is good and replaces it; then back again")
    convert.type_()
    type_("edge publish digits digits-v3")
    type_("edge flash sim-1 digits@3")
    type_("edge infer sim-1 digit.png")
    type_("edge flash sim-1 --previous")


def watched() -> None:
    title("The fleet, live: what the boards report comes through the SSH connections to this machine")
    type_("edge watch --for 5s --interval 5s")
    type_("edge collect status")


def slow_version(convert: Begun) -> None:
    title("Version 4 is right and within its budget, but many times slower: the canary protects the others")
    convert.type_()
    type_("edge publish digits digits-v4 --budget p95_ms=20")
    type_(f"edge rollout plan digits@4 {WAVES}")
    type_(f"edge rollout start digits@4 {WAVES}", expect=3)
    saw = [name for name in BOARDS if "digits@4" in type_(f"edge device show {name} --json", show=False)]
    tell(len(saw) == 1, f"{' and '.join(saw)} tried version 4 and went back; the others never saw it")


def better_version(convert: Begun) -> None:
    title("Version 5 is good, and goes through both waves")
    convert.type_()
    type_("edge publish digits digits-v5")
    type_(f"edge rollout start digits@5 {WAVES}")
    run = [name for name in BOARDS if "digits@5" in type_(f"edge device show {name} --json", show=False)]
    tell(len(run) == len(BOARDS), "all boards run version 5")
    type_("edge rollout history")


def nothing_missing() -> None:
    title("The collector is killed, a board is cut off for a while: nothing is missing afterwards")
    pid = json.loads((FOLDER / "telemetry" / "running.json").read_text())["pid"]
    type_("edge sim break sim-2 unplug")
    type_(f"kill -9 {pid}")
    time.sleep(4)
    type_("edge collect")
    time.sleep(2)
    type_("edge sim break sim-2 mend")
    caught_up(time.monotonic() + 60)
    type_("edge telemetry query --streams")
    type_("edge telemetry query --since 1m")


def caught_up(until: float) -> None:
    """Wait for the collector to have heard again of every board, and of what they kept."""
    while True:
        status = json.loads(type_("edge collect status --json", show=False))
        waiting = [board["name"] for board in status["boards"] if board["tunnel"] != "up" or board["backlog"]]
        if not waiting:
            return
        if time.monotonic() > until:
            raise SystemExit(f"the demo expected to hear again of {', '.join(waiting)}")
        time.sleep(0.5)


def measured() -> None:
    title("Measured on the board")
    type_("edge bench --on sim-1")


def looked_after() -> None:
    title("Looked after")
    type_("edge logs sim-1 --lines 5")
    type_("edge doctor")


def wiped() -> None:
    title("Removed: nothing of ours is left on the boards")
    type_("edge collect stop")
    for name in BOARDS:
        type_(f"edge device remove {name} --wipe --yes")
        left = list((FOLDER / "sims" / name).rglob(".edge*"))
        tell(not left, f"{name}: no folder of edge is left")


def end() -> None:
    if KEEP:
        print(f"\nThe boards are still running. Go on in {FOLDER}, for example:")
        print(f"  cd {FOLDER} && export EDGE_KEY_PASSPHRASE={os.environ['EDGE_KEY_PASSPHRASE']}")
        print(f"  export PATH={Path(sys.executable).parent}:$PATH")
        print(
            "  edge watch\n  edge rollout start digits@3 --waves 1,100% --dwell 10\n"
            "  edge sim break sim-1 power-cut\n  edge collect stop; edge sim down"
        )
        return
    print(f"\n{BOLD}All of it in {time.monotonic() - BEGAN:.0f} s.{PLAIN} Where to go next:")
    print("  docs/quickstart.md            the same, explained")
    print("  docs/first-raspberry-pi.md    your first real board")
    print("  make demo KEEP=1              leave the boards running and try things")


def main() -> None:
    prepare()
    try:
        first_version()
        versions = begin_versions()
        boards()
        flash()
        requests()
        bad_version()
        good_version(versions[3])
        watched()
        slow_version(versions[4])
        better_version(versions[5])
        nothing_missing()
        measured()  # after the rollouts: the gate compares boards with themselves, and load is no release
        looked_after()
        if not KEEP:
            wiped()
    finally:
        MEANWHILE.shutdown(cancel_futures=True)
        if not KEEP:
            stop()
    end()


if __name__ == "__main__":
    main()
