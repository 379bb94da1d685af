#!/usr/bin/env python3
"""Measures the server against the floor, and writes the figures into docs/benchmarks.md.

    python3 scripts/bench.py --server target/release/seaworthy --floor FLOOR --drive DRIVE --alone ALONE --models MODELS

`make bench` builds the four, makes the models (scripts/bench_models.py) and calls this. The floor is a server of the same libraries that reads a body and answers a
constant; both get the same load in turn, so that only the ratios of one run count. Needs `wrk` on the PATH, and Python
3.9 or newer. Everything is measured on the machine it runs on; the prediction log is on, and goes to a file.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- written by make bench: begin -->", "<!-- written by make bench: end -->"
# A thousand rows on each of 256 connections would be 400 MB of requests under way: that measures memory, not speed.
CLOSED = [(1, 1), (1, 32), (1, 256), (10, 1), (10, 32), (10, 256), (100, 1), (100, 32), (1000, 1), (1000, 32)]
TICK = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """A sentence for the person who ran this."""


def houses(n_rows: int) -> str:
    """A request as the course's notebook sends it: all 80 fields of each of these houses. Only such as the model takes."""
    manifest = json.loads((ROOT / "models/house-prices/3.2.0/manifest.json").read_text(encoding="utf-8"))
    needed = [spec["name"] for spec in manifest["inputs"] if not spec.get("nullable", False)]
    renamed = {"1stFlrSF": "FirstFlrSF", "2ndFlrSF": "SecondFlrSF"}
    rows: list[dict[str, Any]] = []
    with open(ROOT / "tests/data/house-prices/test.csv", newline="", encoding="utf-8") as file:
        for record in csv.DictReader(file):
            cells: dict[str, Any] = {}
            for name, text in record.items():
                value: Any = None if text == "NA" else int(text) if text.lstrip("-").isdigit() else text
                cells[renamed.get(name, name)] = value
            if any(cells[name] is None for name in needed):
                continue
            rows.append(cells)
            if len(rows) == n_rows:
                break
    return json.dumps({"inputs": rows})


@dataclass
class Server:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path | None = None

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / TICK

    def rss_mb(self) -> float:
        match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(match.group(1)) / 1024 if match else 0.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_ready(port: int, process: subprocess.Popen[bytes], seconds: float = 30, path: str = "/health") -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Failure(f"`{process.args!r}` ended with {process.returncode}")
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                if connection.recv(64).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            time.sleep(0.001)
    raise Failure(f"`{process.args!r}` does not answer")


@contextmanager
def running(
    command: list[str],
    log: Path | None = None,
    pipe: bool = False,
    cores: str = "",
    settings: dict[str, str] | None = None,
) -> Iterator[Server]:
    """Starts a server; `log` is where Seaworthy's predictions go, `pipe` sends them to a pipe that is read."""
    port = free_port()
    environment = dict(os.environ, PORT=str(port), SEAWORTHY__SERVER__DRAIN_DELAY_MS="0")
    # The program starts itself again where that is missing, with what it wants to be there; as it does for everybody.
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    environment.update(settings or {})
    if log is not None:
        environment["SEAWORTHY__LOG__PREDICTIONS"] = str(log)
    if cores:
        command = ["taskset", "-c", cores, *command]
    output = subprocess.PIPE if pipe else subprocess.DEVNULL
    command = [part.replace("PORT", str(port)) for part in command]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.DEVNULL)
    if pipe:
        threading.Thread(target=drain, args=(process,), daemon=True).start()
    try:
        wait_until_ready(port, process)
        yield Server(process, port, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def drain(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    while os.read(process.stdout.fileno(), 1 << 20):
        pass


@dataclass
class Load:
    """What one run of a driver saw."""

    rate: float
    p50: float
    p99: float
    p999: float
    cpu: float
    rss: float


WRK = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "{media_type}"
local requests, turn = {{}}, 0
function init()
  for path in string.gmatch("{paths}", "[^|]+") do
    local file = io.open(path, "rb")
    requests[#requests + 1] = wrk.format(nil, nil, nil, file:read("*a"))
    file:close()
  end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
done = function(summary, latency)
  local bad = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format('\\nRESULT {{"requests": %d, "seconds": %f, "bad": %d, "p50": %f, "p99": %f, "p999": %f}}\\n',
    summary.requests, summary.duration / 1e6, bad,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
"""


@dataclass
class Bench:
    """Where things are, and how long each run takes."""

    server: str
    floor: str
    drive: str
    alone: str
    models: Path
    seconds: int
    runs: int
    folder: Path
    bodies: dict[int, Path] = field(default_factory=dict)

    def body(self, rows: int) -> Path:
        if rows not in self.bodies:
            self.bodies[rows] = self.folder / f"{rows}.json"
            self.bodies[rows].write_text(houses(rows), encoding="utf-8")
        return self.bodies[rows]

    def closed(self, server: Server, rows: int, connections: int, seconds: int | None = None) -> Load:
        """Each connection sends as soon as it has its answer."""
        return self.closed_with(server, [self.body(rows)], "application/json", connections, seconds)

    def closed_with(
        self, server: Server, bodies: list[Path], media_type: str, connections: int, seconds: int | None = None
    ) -> Load:
        """The bodies take turns."""
        script = self.folder / f"{bodies[0].name}.lua"
        paths = "|".join(map(str, bodies))
        script.write_text(WRK.format(paths=paths, media_type=media_type), encoding="utf-8")
        command = ["wrk", "-t", str(min(2, connections)), "-c", str(connections), "-d", f"{seconds or self.seconds}s"]
        before = server.cpu()
        found = subprocess.run(
            [*command, "-s", str(script), "--latency", f"http://127.0.0.1:{server.port}/v1/predict"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        used = server.cpu() - before
        result = json.loads(found.rsplit("RESULT ", 1)[1])
        if result["bad"]:
            raise Failure(f"{result['bad']} of {result['requests']} requests failed")
        n = max(result["requests"], 1)
        load = Load(
            n / result["seconds"], result["p50"], result["p99"], result["p999"], used / n * 1e6, server.rss_mb()
        )
        if server.log is not None:
            os.truncate(server.log, 0)
        return load

    def open(self, server: Server, connections: int, rate: float) -> Load:
        """Requests are due at a fixed rate."""
        before = server.cpu()
        command = [self.drive, f"127.0.0.1:{server.port}", str(self.body(1)), str(connections), f"{rate:.0f}"]
        found = subprocess.run([*command, str(self.seconds)], capture_output=True, text=True, check=True).stdout
        used = server.cpu() - before
        result = json.loads(found)
        if result["bad"]:
            raise Failure(f"{result['bad']} of {result['requests']} requests failed")
        n = result["requests"]
        if server.log is not None:
            os.truncate(server.log, 0)
        rss = server.rss_mb()
        return Load(n / self.seconds, result["p50_us"], result["p99_us"], result["p999_us"], used / n * 1e6, rss)


def median(loads: list[Load]) -> Load:
    def of(what: Callable[[Load], float]) -> float:
        return statistics.median(what(load) for load in loads)

    return Load(
        of(lambda x: x.rate), of(lambda x: x.p50), of(lambda x: x.p99), of(lambda x: x.p999),
        of(lambda x: x.cpu), of(lambda x: x.rss),
    )  # fmt: skip


def in_turn(one: Callable[[], Load], other: Callable[[], Load], runs: int) -> tuple[Load, Load]:
    """Medians of two things that are run alternately, so that both see the same machine."""
    pairs = [(one(), other()) for _ in range(runs)]
    return median([first for first, _ in pairs]), median([second for _, second in pairs])


def show(text: str) -> None:
    sys.stderr.write(text + "\n")


HEADER = """| rows | connections | requests/s | floor | ratio | p50 µs | floor | p99 µs | floor | p99.9 µs | floor | CPU µs/request | floor | RSS MB |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
"""


def row(rows: int, connections: int, ours: Load, floor: Load) -> str:
    cells = [
        f"{rows:,}", f"{connections}", f"{ours.rate:,.0f}", f"{floor.rate:,.0f}", f"{ours.rate / floor.rate:.0%}",
        f"{ours.p50:,.0f}", f"{floor.p50:,.0f}", f"{ours.p99:,.0f}", f"{floor.p99:,.0f}",
        f"{ours.p999:,.0f}", f"{floor.p999:,.0f}", f"{ours.cpu:,.1f}", f"{floor.cpu:,.1f}", f"{ours.rss:.0f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |\n"


def verdict(what: str, found: str, wanted: str, holds: bool) -> str:
    line = f"| {what} | {found} | {wanted} | {'yes' if holds else '**no**'} |\n"
    show(line.strip())
    return line


def machine() -> str:
    model = "unknown CPU"
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        match = re.search(r"model name\s*: (.*)", cpus.read_text())
        model = match.group(1) if match else model
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    load = os.getloadavg()[0]
    return (
        f"{datetime.date.today()}, commit {found.stdout.strip() or 'unknown'}, {os.cpu_count()} CPUs ({model}), "
        f"Linux {platform.release()}, load average {load:.1f} at the start. The driver runs on the same CPUs."
    )


def ready_ms(bench: Bench, runs: int = 11) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        with running([bench.server, "serve"], bench.folder / "ready.ndjson"):
            times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def alone(bench: Bench, of: Path, rows: int, body: Path | None = None) -> float:
    """Microseconds of CPU that ONNX Runtime alone takes for a row, of so many at once out of this request, or of made-up ones.

    Of a folder, which is an artifact: what all takes that is neither HTTP nor answer nor log.
    """
    threads = os.cpu_count() or 1
    kind = "model" if of.is_dir() else "graph"
    command = [bench.alone, kind, str(of), str(rows), str(threads), str(bench.seconds)]
    command += [str(body)] if body else []
    return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout)


def skip_us(bench: Bench, rows: int) -> float:
    """Microseconds of CPU that `serde_json` takes to skip a row, of so many at once."""
    found = subprocess.run([bench.floor, "skip", str(bench.body(rows))], capture_output=True, check=True).stdout
    return float(found) / 1e3 / rows


def serving(bench: Bench, model: str, log: Path) -> Any:
    # A closed loop never asks for more than it has connections: what waits is to be measured, and not refused.
    settings = {
        "SEAWORTHY__MODELS__DIR": str(bench.models),
        "SEAWORTHY__MODELS__DEFAULT": model,
        "SEAWORTHY__ENGINE__MAX_WAIT_MS": "60000",
    }
    return running([bench.server, "serve"], log, settings=settings)


def trees(bench: Bench, log: Path) -> tuple[str, str]:
    """500 boosted trees over HTTP, against ONNX Runtime alone; by CPU time, as the driver runs on the same CPUs.

    All batches are of the same thousand rows, which differ: of rows that come again at once the processor foresees the branches, and ONNX Runtime
    takes less than with any that clients send. The floor reads the same requests: what HTTP alone takes.
    """
    graph = bench.models / "boosted-trees/1.0.0/model.onnx"
    thousand = bench.models / "boosted-trees.1000.json"
    rows_of_all = json.loads(thousand.read_text(encoding="utf-8"))["inputs"]
    text = (
        "\n500 boosted trees of 30 numbers, a thousand rows that differ in requests of so many, CPU time per row, µs:\n\n"
        "| rows | server | ONNX Runtime alone | ratio | floor: HTTP alone | of ONNX Runtime and floor | without HTTP, answer and log | ratio |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    )
    shares, inner_shares = [], []
    with serving(bench, "boosted-trees", log) as server, running([bench.floor, "PORT"]) as floor:
        for rows, connections in ((1, 32), (10, 32), (100, 32), (1000, 4)):
            bodies = []
            for first in range(0, len(rows_of_all), rows):
                part = rows_of_all[first : first + rows]
                bodies.append(bench.folder / f"trees.{rows}.{first}.json")
                bodies[-1].write_text(json.dumps({"inputs": part}), encoding="utf-8")

            def http(to: Server) -> float:
                return bench.closed_with(to, bodies, "application/json", connections).cpu / rows

            bench.closed_with(server, bodies, "application/json", connections, 1)
            turns = [
                (
                    http(server),
                    alone(bench, graph, rows, thousand),
                    http(floor),
                    alone(bench, graph.parent, rows, thousand),
                )
                for _ in range(bench.runs)
            ]
            ours, least, echo, inside = (statistics.median(column) for column in zip(*turns))
            shares.append(least / ours)
            inner_shares.append(least / inside)
            text += (
                f"| {rows:,} | {ours:.2f} | {least:.2f} | {least / ours:.0%} | {echo:.2f} | {(least + echo) / ours:.0%} "
                f"| {inside:.2f} | {least / inside:.0%} |\n"
            )
            show(text.rsplit("\n", 2)[1])
    checks = ""
    for what, found in (("", shares), (", without HTTP, answer and log", inner_shares)):
        checks += verdict(
            f"500 trees, 1, 10, 100, 1,000 rows, against ONNX Runtime alone{what}",
            ", ".join(f"{share:.0%}" for share in found), "≥ 70 %", min(found) >= 0.7,
        )  # fmt: skip
    return text, checks


def health_p99(port: int, stop: threading.Event, found: list[float]) -> None:
    """Asks for /health every 20 ms, each time by a new connection; appends the 99th percentile of the milliseconds that it takes."""
    times = []
    while not stop.wait(0.02):
        started = time.perf_counter()
        wait_until_ready(port, NOTHING)
        times.append((time.perf_counter() - started) * 1e3)
    found.append(sorted(times)[int(len(times) * 0.99)])


class Nothing:
    """In the place of a process that nobody waits for."""

    args = "the server"
    returncode = None

    def poll(self) -> None:
        return None


NOTHING: Any = Nothing()


OPENCV = """
import sys, time, cv2, numpy
cv2.setNumThreads(1)
file = numpy.fromfile(sys.argv[1], dtype=numpy.uint8)
def read():
    return cv2.resize(cv2.imdecode(file, cv2.IMREAD_COLOR), (150, 150)).astype(numpy.float32)
read()
started = time.process_time()
for _ in range(2000):
    read()
print((time.process_time() - started) / 2000 * 1e6)
"""


def sum_and_count(server: Server, histogram: str, label: str = "") -> tuple[float, float]:
    """Of the observations that a histogram of /metrics has, over all its samples with this label."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
        lines = [line for line in answer.read().decode().splitlines() if label in line]
    total, count = (
        sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{histogram}_{part}"))
        for part in ("sum", "count")
    )
    return total, count


def reading_us(server: Server, ask: Callable[[], Load]) -> float:
    """Microseconds that the server takes to make the numbers that the network takes of a picture, while it is asked."""

    def so_far() -> tuple[float, float]:
        # One model is asked; what the others have is 0.
        return sum_and_count(server, "seaworthy_stage_duration_seconds", 'stage="preprocess"')

    total, count = so_far()
    ask()
    total_after, count_after = so_far()
    return (total_after - total) / (count_after - count) * 1e6


def merged_at_most(server: Server) -> int:
    """Up to how many rows the server merges."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/v1/models/plant-seedlings") as answer:
        return json.load(answer)["versions"][0]["engine"]["batch_rows"] or 1


def pictures(bench: Bench, log: Path) -> tuple[str, str]:
    """The image network at 8 connections, against ONNX Runtime alone, while somebody asks for its health; and what HTTP and reading the picture take.

    ONNX Runtime alone takes a picture a run, as requests have one; and as many as the server merges, which has more to be compared with.
    """
    graph = next((bench.models / "plant-seedlings").glob("*/model.onnx"))
    picture = bench.models / "plant-seedlings.png"

    def ask(to: Server, connections: int, seconds: int) -> Load:
        return bench.closed_with(to, [picture], "image/png", connections, seconds)

    with serving(bench, "plant-seedlings", log) as server, running([bench.floor, "PORT"]) as floor:
        ask(server, 8, 1)
        at_most = merged_at_most(server)
        turns, healths, n_rows, n_runs = [], [], 0.0, 0.0
        for _ in range(bench.runs):
            stop = threading.Event()
            found: list[float] = []
            asking = threading.Thread(target=health_p99, args=(server.port, stop, found))
            asking.start()
            before = sum_and_count(server, "seaworthy_batch_rows")
            load = ask(server, 8, max(bench.seconds, 3))
            after = sum_and_count(server, "seaworthy_batch_rows")
            stop.set()
            asking.join()
            n_rows, n_runs = n_rows + after[0] - before[0], n_runs + after[1] - before[1]
            one, merged, echo = alone(bench, graph, 1), alone(bench, graph, at_most), ask(floor, 8, 1).cpu
            # One at a time: with more of them it is interrupted by the others.
            turns.append((load.cpu, one, merged, echo, reading_us(server, partial(ask, server, 1, 1))))
            healths += found
    ours, one, merged, echo, reading = (statistics.median(column) for column in zip(*turns))
    opencv = subprocess.run(
        [str(ROOT / "target/venv-images/bin/python"), "-c", OPENCV, str(picture)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    text = (
        f"\nThe image network at 8 connections, a picture as it is in each request, of which the server merges up to {at_most} ({n_rows / n_runs:.1f} on average), "
        "CPU time per picture, µs:\n\n"
        f"| server | ONNX Runtime alone, one a run | ratio | {at_most} a run | ratio | floor: HTTP alone | reading the picture | of these three | OpenCV reading it |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        f"| {ours:,.0f} | {one:,.0f} | {one / ours:.0%} | {merged:,.0f} | {merged / ours:.0%} | {echo:.0f} | {reading:.0f} "
        f"| {(merged + echo + reading) / ours:.0%} | {float(opencv):.0f} |\n"
    )
    show(text.rsplit("\n", 2)[1])
    checks = verdict(
        "image network, 8 connections, against ONNX Runtime alone with a picture a run, by CPU time",
        f"{ours / 1e3:.2f} and {one / 1e3:.2f} ms a picture, {one / ours:.0%}", "≥ 95 %", one >= 0.95 * ours,
    )  # fmt: skip
    p99 = statistics.median(healths)
    return text, checks + verdict("p99 of /health meanwhile", f"{p99:.1f} ms", "≤ 20 ms", p99 <= 20)


def soak(bench: Bench, n_requests: int) -> tuple[int, float, float]:
    """So many requests at 256 connections, the log to a pipe; memory after a tenth of them, and the most from there on."""
    done, early, most = 0, 0.0, 0.0
    with running([bench.server, "serve"], Path("stdout"), pipe=True) as server:
        server.log = None
        while done < n_requests:
            load = bench.closed(server, 1, 256, 5)
            done += int(load.rate * 5)
            if done <= n_requests / 10 or early == 0.0:
                early = load.rss
            most = max(most, load.rss)
            show(f"soak: {done:,} requests, {load.rss:.1f} MB")
    return done, early, most


def measure(bench: Bench, n_soak: int) -> str:
    text = f"Measured by `make bench` on {machine()}\n\nMedians of {bench.runs} runs of {bench.seconds} s, in turn.\n\n"
    checks = ""
    log = bench.folder / "predictions.ndjson"
    with running([bench.server, "serve"], log) as ours, running([bench.floor, "PORT"]) as floor:
        # Everything warm.
        for server in (ours, floor):
            bench.closed(server, 1, 32)
        closed: dict[tuple[int, int], tuple[Load, Load]] = {}
        skips: list[float] = []

        def skipping(rows: int, connections: int) -> Load:
            """The floor's turn; where rows are compared with `IgnoredAny`, that has one as well."""
            if (rows, connections) == (1000, 1):
                skips.append(skip_us(bench, rows))
            return bench.closed(floor, rows, connections)

        text += "Closed loop:\n\n" + HEADER
        for rows, connections in CLOSED:
            pair = in_turn(
                partial(bench.closed, ours, rows, connections), partial(skipping, rows, connections), bench.runs
            )
            closed[rows, connections] = pair
            line = row(rows, connections, *pair)
            show(line.strip())
            text += line
    # Large requests take long to finish after their clients have gone.
    with running([bench.server, "serve"], log) as ours, running([bench.floor, "PORT"]) as floor:
        rate = closed[1, 32][0].rate / 2
        text += f"\nOpen loop, one row, {rate:,.0f} requests a second, half of what the server can do at 32 connections:\n\n"
        text += HEADER
        for connections in (1, 32, 256):
            # One connection carries one request at a time.
            wanted = rate if connections > 1 else min(rate, 0.5e6 / closed[1, 1][0].p50)
            pair = in_turn(
                partial(bench.open, ours, connections, wanted),
                partial(bench.open, floor, connections, wanted),
                bench.runs,
            )
            line = row(1, connections, *pair)
            show(line.strip())
            text += line
    skipped = statistics.median(skips)
    per_row = {rows: closed[rows, 1][0].cpu / rows for rows in (1, 10, 100, 1000)}
    ours_32, floor_32 = closed[1, 32]
    ours_1, floor_1 = closed[1, 1]
    checks += verdict(
        "requests/s, one row, 32 connections, against the floor", f"{ours_32.rate / floor_32.rate:.0%}",
        "≥ 60 % (aim 75 %)", ours_32.rate >= 0.6 * floor_32.rate,
    )  # fmt: skip
    checks += verdict(
        "p50 at one connection, against the floor", f"{ours_1.p50 / floor_1.p50:.2f}×", "≤ 1.35×",
        ours_1.p50 <= 1.35 * floor_1.p50,
    )  # fmt: skip
    checks += verdict(
        "p99.9 at 32 connections, against the floor", f"{ours_32.p999 / floor_32.p999:.2f}×", "≤ 2×",
        ours_32.p999 <= 2 * floor_32.p999,
    )  # fmt: skip
    checks += verdict(
        "CPU per row of 1,000 in a request, against `IgnoredAny`",
        f"{per_row[1000]:.2f} µs, {per_row[1000] / skipped:.2f}×", f"≤ 2× of {skipped:.2f} µs",
        per_row[1000] <= 2 * skipped,
    )  # fmt: skip
    falling = ", ".join(f"{per_row[rows]:.2f}" for rows in (1, 10, 100, 1000))
    checks += verdict(
        "CPU µs per row with 1, 10, 100, 1,000 rows", falling, "never grows",
        all(per_row[more] <= 1.05 * per_row[less] for less, more in ((1, 10), (10, 100), (100, 1000))),
    )  # fmt: skip
    log.unlink(missing_ok=True)
    if (os.cpu_count() or 1) >= 2 and shutil.which("taskset"):
        with running([bench.server, "serve"], log, cores="0") as one, running([bench.server, "serve"], log) as two:
            alone, together = in_turn(
                lambda: bench.closed(one, 1, 32), lambda: bench.closed(two, 1, 32), max(bench.runs, 3)
            )
        gain = 2 * alone.cpu / together.cpu
        checks += verdict("two cores against one, by CPU time per request", f"{gain:.2f}×", "≥ 1.9×", gain >= 1.9)
    for part in (trees, pictures):
        more, check = part(bench, log)
        text += more
        checks += check
    ready = ready_ms(bench)
    checks += verdict("ready after", f"{ready:.0f} ms", "< 60 ms", ready < 60)
    if n_soak:
        done, early, most = soak(bench, n_soak)
        checks += verdict("RSS at 256 connections", f"{most:.1f} MB", "< 64 MB", most < 64)
        checks += verdict(
            f"RSS over {done:,} requests", f"{early:.1f} → {most:.1f} MB", "flat", most <= early * 1.1 + 1
        )
    return f"{text}\n| what | found | wanted | holds |\n|---|---|---|---|\n{checks}"


def write(text: str) -> None:
    """Puts the figures into the document, between their marks."""
    document = DOCS.read_text(encoding="utf-8")
    before, rest = document.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    DOCS.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--server", required=True)
    parser.add_argument("--floor", required=True)
    parser.add_argument("--drive", required=True)
    parser.add_argument("--alone", required=True)
    parser.add_argument("--models", required=True, help="what scripts/bench_models.py has made")
    parser.add_argument("--seconds", type=int, default=2, help="of each run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--soak", type=int, default=5_000_000, help="requests of the endurance run; 0 for none")
    parser.add_argument("--dry", action="store_true", help="print the figures, and leave the document alone")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise Failure("`wrk` is not on the PATH; Debian has it as the package wrk")
    paths = [str(Path(path).resolve()) for path in (options.server, options.floor, options.drive, options.alone)]
    # Not in memory: the log is part of what is measured.
    (ROOT / "target").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "target", prefix="bench-") as folder:
        server, floor, drive, alone_ = paths
        models = Path(options.models).resolve()
        bench = Bench(server, floor, drive, alone_, models, options.seconds, options.runs, Path(folder))
        text = measure(bench, options.soak)
    if options.dry:
        print(text)
    else:
        write(text)
        show(f"written to {DOCS}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        show(f"error: {failure}")
        sys.exit(1)
    except subprocess.CalledProcessError as failure:
        show(f"error: {failure}\n{failure.stderr}")
        sys.exit(1)
