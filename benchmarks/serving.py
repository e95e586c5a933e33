"""What a request costs: the agent, a bare floor, and servers that others made, in turn, on one machine.

    python benchmarks/serving.py [--rounds 5] [--seconds 3] [--servers agent,floor,triton,...]

The load is wrk's, of one thread, 1, 8 and 32 connections, keep-alive, one body. CPU time is the kernel's, of a
server's whole process tree. All servers run all the time; in each round each takes its turn with each kind of
request, so that what the machine does meanwhile meets all of them. Medians, the least and the most in brackets.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agent.system import cpu_seconds  # noqa: E402
from benchmarks.peers.servers import SERVED, SERVERS, Asked, Server  # noqa: E402

CONNECTIONS = (1, 8, 32)
WARM_UP_S = 1
START_S = 120
Measured = dict[tuple[str, int, str], list["Figures"]]


class Figures(tuple[float, float, float]):
    """CPU microseconds a request, requests a second, median milliseconds."""


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--servers", default=",".join(SERVERS))
    parser.add_argument("--kinds", default=";".join(SERVED), help="separated by semicolons")
    options = parser.parse_args()
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        make = [sys.executable, str(ROOT / "benchmarks" / "peers" / "models.py"), str(folder)]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        servers = [SERVERS[server](folder, folder) for server in options.servers.split(",")]
        processes = [running.enter_context(started(server, folder)) for server in servers]
        measured: Measured = {}
        for round_ in range(options.rounds):
            for kind in options.kinds.split(";"):
                for connections in CONNECTIONS:
                    for server, process in zip(servers, processes, strict=True):
                        if kind in server.requests:
                            print(f"{round_ + 1}: {kind}, {connections}: {server.name}", file=sys.stderr)
                            found = measure(server, process.pid, kind, connections, options.seconds, folder)
                            measured.setdefault((kind, connections, server.name), []).append(found)
        print_tables(measured, [server.name for server in servers])


@contextmanager
def started(server: Server, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server that answers, until the block ends."""
    log = (folder / f"{server.name.split()[0]}.log").open("wb")
    variables = {**os.environ, **server.environment}
    process = subprocess.Popen(
        server.command, env=variables, stdout=log, stderr=log, start_new_session=True, cwd=folder
    )
    try:
        end = time.monotonic() + START_S
        for asked in server.requests.values():
            while not answers(server.port, asked):
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{server.name} does not answer:\n{Path(log.name).read_text()[-2000:]}")
                time.sleep(0.1)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(port: int, asked: Asked) -> bool:
    """Whether it answers with 200."""
    client = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        client.request("POST", asked.path, asked.body, dict(asked.headers))
        return client.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        client.close()


def measure(server: Server, pid: int, kind: str, connections: int, seconds: int, folder: Path) -> Figures:
    """One server under one load."""
    script = wrk_script(folder, server.requests[kind])
    load(server.port, script, connections, WARM_UP_S)
    cpu = tree_cpu_seconds(pid)
    said = load(server.port, script, connections, seconds)
    cpu = tree_cpu_seconds(pid) - cpu
    count = int(_found(r"(\d+) requests in", said))
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"{server.name}, {kind}: not all requests were answered\n{said}")
    value, unit = re.findall(r"50%\s+([\d.]+)(us|ms|s)", said)[0]
    milliseconds = float(value) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[unit]
    return Figures((cpu / count * 1e6, float(_found(r"Requests/sec:\s+([\d.]+)", said)), milliseconds))


def wrk_script(folder: Path, asked: Asked) -> Path:
    """The program of wrk for one request."""
    (folder / "body").write_bytes(asked.body)
    headers = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in asked.headers.items())
    script = folder / "wrk.lua"
    script.write_text(
        f'wrk.method = "POST"\nwrk.path = "{asked.path}"\n{headers}'
        f'local file = io.open("{folder / "body"}", "rb")\nwrk.body = file:read("*a")\nfile:close()\n'
    )
    return script


def load(port: int, script: Path, connections: int, seconds: int) -> str:
    """What wrk says."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script)]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True)
    return done.stdout


def tree_cpu_seconds(pid: int) -> float:
    """CPU time of a process and of all below it."""
    total = cpu_seconds(pid)
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += sum(tree_cpu_seconds(int(child)) for child in (task / "children").read_text().split())
    return total


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"wrk said:\n{text}")
    return found[1]


def print_tables(measured: Measured, names: Sequence[str]) -> None:
    """One table for each kind of request; ratios are of medians, to the floor and to Triton."""
    print(f"\nPython {sys.version.split()[0]}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    for kind in dict.fromkeys(kind for kind, _, _ in measured):
        print(f"\n**{kind}**\n")
        print(
            "| | clients | CPU a request, µs | agent / this | requests a CPU-second | requests/s | p50, ms |"
        )
        print("|---|---:|---:|---:|---:|---:|---:|")
        for name in names:
            for connections in CONNECTIONS:
                found = measured.get((kind, connections, name))
                if found:
                    own = measured.get((kind, connections, "agent"))
                    print(_row(name, connections, found, own))


def _row(name: str, connections: int, found: Sequence[Figures], own: Sequence[Figures] | None) -> str:
    cpu, rate, latency = ([one[place] for one in found] for place in range(3))
    middle = statistics.median(cpu)
    ratio = ""
    if own is not None and name != "agent":
        ratios = [one[0] / other[0] for one, other in zip(own, found, strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return (
        f"| {name} | {connections} | {middle:.0f} ({min(cpu):.0f} to {max(cpu):.0f}) | {ratio} | {1e6 / middle:,.0f} "
        f"| {statistics.median(rate):,.0f} | {statistics.median(latency):.2f} |"
    )


if __name__ == "__main__":
    main()
