#!/usr/bin/env python3
"""The long ones: overload, a soak, a rolling restart behind nginx, a full disk, kill -9. `make chaos` runs all of them.

    python3 scripts/chaos.py target/release/seaworthy                     everything
    python3 scripts/chaos.py target/release/seaworthy overload rolling    some of it
    python3 scripts/chaos.py target/release/seaworthy soak --requests 1000000

Each writes what it saw into target/chaos/NAME.json and a row into target/faults/, from which `scripts/reliability.py` makes
docs/reliability.md. A promise that is not kept ends the script with exit code 1, at the end. Needs `wrk`, `h2load` (nghttp2) and
`nginx` on the PATH, Linux, and Python 3.9 or newer.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

from bench import ROOT, Failure, Server, free_port, houses, machine, show, wait_until_ready

CHAOS = ROOT / "target" / "chaos"
FAULTS = ROOT / "target" / "faults"
# A model that takes its time, so that to receive and to refuse a request costs little beside it, as this machine does both; and a
# request for it. `make chaos` hands over the image network of the real size.
HEAVY = ROOT / "tests" / "fixtures" / "models" / "plant-seedlings" / "1.0.0-small"
PICTURE = ROOT / "tests" / "data" / "plant-seedlings" / "black-grass.png"


class Broken(Exception):
    """A promise that was not kept."""


def fault(name: str, what: str, provoked: str, expected: str, seen: str) -> None:
    """A row of the table in docs/reliability.md, as tests/support/fault.rs writes them."""
    FAULTS.mkdir(parents=True, exist_ok=True)
    row = {"test": f"chaos::{name}", "fault": what, "provoked": provoked, "expected": expected, "seen": seen}
    (FAULTS / f"chaos-{name}.json").write_text(json.dumps(row) + "\n", encoding="utf-8")


def save(name: str, figures: dict[str, Any]) -> None:
    CHAOS.mkdir(parents=True, exist_ok=True)
    figures = {"command": f"python3 scripts/chaos.py target/release/seaworthy {name}", "machine": machine(), **figures}
    (CHAOS / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


@contextmanager
def serving(program: str, log: str = "/dev/null", port: int = 0, model: str = "", **settings: str) -> Iterator[Server]:
    """Starts a server; settings are `server__max_rows="5"`. It is told to end at the end, or killed."""
    port = port or free_port()
    environment = dict(os.environ, PORT=str(port), ORT_DISABLE_TELEMETRY="1", SEAWORTHY__LOG__PREDICTIONS=log)
    environment.update({f"SEAWORTHY__{key.upper()}": value for key, value in settings.items()})
    messages = tempfile.TemporaryFile()
    command = [program, "serve", *([model] if model else [])]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=messages)
    server = Server(process, port)
    server.messages = messages  # type: ignore[attr-defined]
    try:
        wait_until_ready(port, process)
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def messages(server: Server) -> str:
    server.messages.seek(0)  # type: ignore[attr-defined]
    text: str = server.messages.read().decode()  # type: ignore[attr-defined]
    return text


def descriptors(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def status_of(port: int, path: str = "/health") -> int:
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else float("nan")


def read_requests(log: Path) -> list[tuple[float, int, float]]:
    """Of each request: when it was sent in seconds, its status, and what it took in milliseconds."""
    lines = [line.split("\t") for line in log.read_text(encoding="utf-8").splitlines()]
    return [(int(at) / 1e6, int(status), int(micros) / 1e3) for at, status, micros, *_ in lines]


def h2load(
    port: int, body: Path, clients: int, folder: Path, media: str, *options: str
) -> tuple[list[tuple[int, float]], str]:
    """Statuses and milliseconds of all requests of clients that ask again when they are answered, and what h2load says."""
    log = folder / "h2load.tsv"
    log.unlink(missing_ok=True)
    command = ["h2load", "--h1", "-t", "1", "-c", str(clients), "-d", str(body), "-H", f"content-type: {media}"]
    command += [f"--log-file={log}", *options, f"http://127.0.0.1:{port}/v1/predict"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        raise Failure(f"h2load failed: {found.stdout[-500:]}{found.stderr[-500:]}")
    return [(status, ms) for _, status, ms in read_requests(log)], found.stdout


# What is offered beyond what can be borne


# Until the queue of the first moment is done: 256 requests at most.
ONSET_S = 4
# How often a client of the open load asks. It is not held up by what it asked before, unless that waits for longer.
EVERY_S = 0.15


def overload(program: str, folder: Path, seconds: int, drive: str, heavy: Path) -> None:
    """With default settings: open load of 0.1 to 10 times the capacity on a heavy model, bursts of few clients on the
    same, and closed load on a cheap one.

    *Unloaded* is as many clients as there are processors, each of which asks again as soon as it has its answer: all of the capacity is
    used, and nobody waits. What is accepted of an open load is measured from ONSET_S seconds on; what comes before is told apart.
    """
    cores = len(os.sched_getaffinity(0))
    rows: list[dict[str, Any]] = []
    bursts: list[dict[str, Any]] = []

    def open_load(server: Server, rate: float, part: float) -> dict[str, Any]:
        # Each has a turn of its own: h2load would send the requests of all clients at the same moments.
        clients, log = max(cores, round(rate * EVERY_S)), folder / "drive.tsv"
        command = [drive, f"127.0.0.1:{server.port}", str(PICTURE), str(clients), f"{rate:.1f}", str(seconds + ONSET_S)]
        subprocess.run([*command, "image/png", str(log)], capture_output=True, text=True, check=True)
        every = read_requests(log)
        seen = [(status, ms) for at, status, ms in every if at >= ONSET_S]
        accepted = [ms for status, ms in seen if status == 200]
        refused = [ms for status, ms in seen if status == 503]
        return {
            "times": part, "clients": clients, "offered": len(seen) / seconds, "accepted": len(accepted) / seconds,
            "p50": percentile(accepted, 0.5), "p99": percentile(accepted, 0.99), "refused": len(refused) / seconds,
            "refused_p50": percentile(refused, 0.5), "refused_p99": percentile(refused, 0.99),
            "slowest": max((ms for _, status, ms in every if status == 200), default=0.0),
            "other": sum(status not in (200, 503) for _, status, _ in every), "rss": server.rss_mb(),
            "descriptors": descriptors(server),
        }  # fmt: skip

    with serving(program, model=str(heavy)) as server:
        h2load(server.port, PICTURE, cores, folder, "image/png", "-n", "200")
        busy, _ = h2load(server.port, PICTURE, cores, folder, "image/png", "-D", str(seconds))
        capacity = len(busy) / seconds
        unloaded = {
            "clients": cores,
            "p50": percentile([ms for _, ms in busy], 0.5),
            "p99": percentile([ms for _, ms in busy], 0.99),
        }
        show(f"overload: {capacity:.0f} requests/s by {cores} clients, p99 {unloaded['p99']:.2f} ms")
        for part in (0.1, 0.5, 0.8, 1, 2, 5, 10):
            rows.append(open_load(server, capacity * part, part))
            show("overload: " + json.dumps({key: round(value, 2) for key, value in rows[-1].items()}))
        # The flood has just ended. A client that asks for one thing after the other, and few at once, are served as ever.
        time.sleep(3)
        for clients in (1, 8, 32, 64):
            seen, _ = h2load(server.port, PICTURE, clients, folder, "image/png", "-D", str(min(seconds, 5)))
            bursts.append({
                "clients": clients, "requests": len(seen), "refused": sum(status != 200 for status, _ in seen),
                "p99": percentile([ms for _, ms in seen], 0.99),
            })  # fmt: skip
            show("overload: " + json.dumps({key: round(value, 2) for key, value in bursts[-1].items()}))
    closed: list[dict[str, Any]] = []
    body = folder / "house.json"
    body.write_text(houses(1), encoding="utf-8")
    with serving(program) as server:
        for clients in (1, 8, 80, 800, 4000):
            seen, _ = h2load(
                server.port, body, clients, folder, "application/json", "-D", str(seconds), "--warm-up-time=1"
            )
            accepted = [ms for status, ms in seen if status == 200]
            closed.append({
                "clients": clients, "accepted": len(accepted) / seconds, "p50": percentile(accepted, 0.5),
                "p99": percentile(accepted, 0.99), "refused": sum(status == 503 for status, _ in seen) / seconds,
                "other": sum(status not in (200, 503) for status, _ in seen), "rss": server.rss_mb(),
            })  # fmt: skip
            show("overload: " + json.dumps({key: round(value, 2) for key, value in closed[-1].items()}))
    most = rows[-1]
    save(
        "overload",
        {
            "capacity": capacity,
            "unloaded": unloaded,
            "onset_s": ONSET_S,
            "rows": rows,
            "bursts": bursts,
            "closed": closed,
        },
    )
    ratio = most["p99"] / unloaded["p99"]
    fault(
        "overload", "ten times the load that a model can bear", "requests at ten times the capacity, whether there are answers or not; default settings",
        "p99 of what is accepted at most three times the unloaded one; the rest 503 in under 5 ms; memory flat; bursts of few clients "
        "are not refused",
        f"p99 {most['p99']:.1f} ms against {unloaded['p99']:.1f} ms unloaded ({ratio:.1f} times); refused in "
        f"{most['refused_p50']:.2f} ms (median), {most['refused_p99']:.2f} ms (p99); "
        f"{most['rss']:.0f} MB against {rows[0]['rss']:.0f} MB; "
        f"{sum(burst['refused'] for burst in bursts)} of {sum(burst['requests'] for burst in bursts):,} refused that up to 64 clients sent",
    )  # fmt: skip
    if any(row["other"] for row in rows + closed):
        raise Broken("overload: there were answers that are neither 200 nor 503")
    if most["offered"] < 8 * capacity:
        raise Broken(
            f"overload: the driver offered {most['offered']:.0f} requests/s, which is not ten times {capacity:.0f}"
        )
    if ratio > 3:
        raise Broken(f"overload: p99 of what is accepted is {ratio:.1f} times the unloaded one")
    if most["refused_p99"] > 5:
        raise Broken(f"overload: refusals take {most['refused_p99']:.1f} ms (p99)")
    if most["rss"] > 1.5 * rows[0]["rss"] + 32:
        raise Broken(f"overload: memory grew from {rows[0]['rss']:.0f} to {most['rss']:.0f} MB")
    if any(burst["refused"] for burst in bursts):
        raise Broken(f"overload: few clients were refused: {bursts}")


# Many requests


WRK = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("{body}")
wrk.body = file:read("*a")
file:close()
done = function(summary)
  local bad = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format('\\nRESULT {{"requests": %d, "bad": %d}}\\n', summary.requests, bad))
end
"""


def soak(program: str, folder: Path, n_requests: int) -> None:
    """So many requests; memory and descriptors are looked at every five seconds."""
    body, script = folder / "house.json", folder / "soak.lua"
    body.write_text(houses(1), encoding="utf-8")
    script.write_text(WRK.format(body=body), encoding="utf-8")
    done, samples, started = 0, [], time.monotonic()
    with serving(program) as server:
        before = descriptors(server)
        while done < n_requests:
            command = ["wrk", "-t", "1", "-c", "64", "-d", "5s", "-s", str(script)]
            found = subprocess.run(
                [*command, f"http://127.0.0.1:{server.port}/v1/predict"], capture_output=True, text=True, check=True
            ).stdout
            result = json.loads(found.rsplit("RESULT ", 1)[1])
            if result["bad"]:
                raise Broken(f"soak: {result['bad']} of {result['requests']} requests failed")
            done += result["requests"]
            samples.append({"requests": done, "rss": server.rss_mb(), "descriptors": descriptors(server)})
            show(f"soak: {done:,} requests, {samples[-1]['rss']:.1f} MB, {samples[-1]['descriptors']} descriptors")
        time.sleep(1)
        after = descriptors(server)
    seconds = time.monotonic() - started
    tenth = next(sample for sample in samples if sample["requests"] >= n_requests / 10)
    most = max(sample["rss"] for sample in samples if sample["requests"] >= tenth["requests"])
    kept = [sample for n, sample in enumerate(samples) if n % max(1, len(samples) // 20) == 0 or n == len(samples) - 1]
    save("soak", {"requests": done, "seconds": seconds, "before": before, "after": after, "samples": kept})
    fault(
        "soak", "many requests", f"{n_requests:,} requests or more over 64 connections (`CHAOS_REQUESTS`)",
        "none fails; memory and descriptors flat",
        f"{done:,} requests, none failed; {tenth['rss']:.1f} MB after a tenth, at most {most:.1f} MB from there on; "
        f"{before} descriptors before, {after} after",
    )  # fmt: skip
    if most > 1.1 * tenth["rss"] + 2:
        raise Broken(f"soak: memory grew from {tenth['rss']:.1f} to {most:.1f} MB")
    if after > before + 2:
        raise Broken(f"soak: {before} descriptors before, {after} after")


# A rolling restart


NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  client_body_buffer_size 64k;
  upstream copies {{
    server 127.0.0.1:{one} max_fails=1 fail_timeout=1s;
    server 127.0.0.1:{other} max_fails=1 fail_timeout=1s;
    keepalive 32;
    keepalive_timeout 60s;
  }}
  server {{
    listen 127.0.0.1:{port};
    keepalive_requests 1000000;
    location / {{
      proxy_pass http://copies;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      # A prediction changes nothing, so it may be asked for again.
      proxy_next_upstream error timeout http_503 non_idempotent;
      proxy_connect_timeout 2s;
    }}
  }}
}}
"""


def rolling(program: str, folder: Path, n_requests: int) -> None:
    """Two copies behind nginx, restarted in turn the whole time while clients ask without a break."""
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(nginx).exists():
        raise Failure("nginx is not installed")
    ports = [free_port(), free_port()]
    front = free_port()
    body = folder / "house.json"
    body.write_text(houses(1), encoding="utf-8")
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, port=front, one=ports[0], other=ports[1]), encoding="utf-8")
    logs = [folder / "copy-0.ndjson", folder / "copy-1.ndjson"]
    stops: list[float] = []
    codes: list[int] = []
    trouble: list[BaseException] = []
    enough = threading.Event()

    def start(n: int) -> subprocess.Popen[bytes]:
        environment = dict(
            os.environ, PORT=str(ports[n]), ORT_DISABLE_TELEMETRY="1", SEAWORTHY__LOG__PREDICTIONS=str(logs[n]),
            SEAWORTHY__SERVER__HOST="127.0.0.1",
        )  # fmt: skip
        process = subprocess.Popen(
            [program, "serve"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until_ready(ports[n], process)
        return process

    def restart(copies: list[subprocess.Popen[bytes]]) -> None:
        n = 0
        try:
            while not enough.is_set():
                asked = time.monotonic()
                copies[n].send_signal(signal.SIGTERM)
                codes.append(copies[n].wait(30))
                stops.append(time.monotonic() - asked)
                copies[n] = start(n)
                enough.wait(1)
                n = 1 - n
        except BaseException as error:  # raised below
            trouble.append(error)

    copies = [start(0), start(1)]
    proxy = subprocess.Popen([nginx, "-c", str(configuration), "-p", str(folder)], stderr=subprocess.DEVNULL)
    restarter = threading.Thread(target=restart, args=(copies,))
    statuses: dict[int, int] = {}
    asked = 0
    try:
        wait_until_ready(front, proxy)
        restarter.start()
        slowest = 0.0
        # In slices, until both copies have been restarted twice at least.
        while asked < n_requests or len(stops) < 4:
            n = 20_000
            seen, said = h2load(front, body, 16, folder, "application/json", "-n", str(n), "--rps=400")
            match = re.search(r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed, (\d+) errored", said)
            if not match or int(match.group(3)) or int(match.group(4)) or len(seen) != n:
                failed = match.group(0) if match else said[-300:]
                errors = (folder / "error.log").read_text(encoding="utf-8")[-1500:]
                raise Broken(f"rolling: {failed}; nginx says:\n{errors}")
            for status, ms in seen:
                statuses[status] = statuses.get(status, 0) + 1
                slowest = max(slowest, ms)
            asked += n
            show(f"rolling: {asked:,} requests, {len(stops)} restarts, statuses {statuses}, slowest {slowest:.0f} ms")
            if trouble:
                raise trouble[0]
    finally:
        enough.set()
        if restarter.is_alive():
            restarter.join()
        for process in [proxy, *copies]:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in [proxy, *copies]:
            process.wait(30)
    logged = sum(1 for log in logs for line in log.open(encoding="utf-8") if json.loads(line)["status"] == 200)
    again = (folder / "error.log").read_text(encoding="utf-8").count("upstream")
    save("rolling", {
        "requests": asked, "restarts": len(stops), "statuses": statuses, "slowest_ms": slowest,
        "longest_stop_seconds": max(stops), "logged": logged, "nginx_upstream_messages": again,
    })  # fmt: skip
    fault(
        "rolling", "a rolling restart behind nginx", "two copies, restarted in turn the whole time; clients without a break",
        "no request of 100,000 or more fails; each copy ends with exit code 0 within 28 s; all are in the logs",
        f"{asked:,} requests, {len(stops)} restarts, none failed; at most {max(stops):.1f} s to stop; {logged:,} predictions logged",
    )  # fmt: skip
    if set(statuses) != {200}:
        raise Broken(f"rolling: statuses {statuses}")
    if any(codes):
        raise Broken(f"rolling: a copy ended with {codes}")
    if max(stops) > 28:
        raise Broken(f"rolling: a copy took {max(stops):.1f} s to stop")
    if logged < asked:
        raise Broken(f"rolling: {asked} requests were answered and {logged} logged")


# The disk and the end


def full_disk(program: str, folder: Path) -> None:
    """The disk of the prediction log is full while clients ask; then there is room again."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True, check=False
    ).returncode == 0  # fmt: skip
    if not mounted:
        show("full_disk: no rights to mount a small disk, so it is left out")
        return
    log = disk / "predictions.ndjson"
    body = folder / "house.json"
    body.write_text(houses(1), encoding="utf-8")
    try:
        with serving(program, log=str(log), server__drain_delay_ms="0", server__request_timeout_ms="2000") as server:
            seen, _ = h2load(server.port, body, 4, folder, "application/json", "-n", "400", "--rps=100")
            full = log.stat().st_size
            statuses = {status: sum(s == status for s, _ in seen) for status in {s for s, _ in seen}}
            alive, health = status_of(server.port, "/health/live"), status_of(server.port)
            os.truncate(log, 0)
            time.sleep(1)
            after, _ = h2load(server.port, body, 1, folder, "application/json", "-n", "20")
            good = sum(status == 200 for status, _ in after)
            said = messages(server)
        whole, torn = 0, 0
        for line in log.read_bytes().lstrip(b"\0").split(b"\n"):
            try:
                whole += "status" in json.loads(line) if line else 0
            except ValueError:
                torn += 1
    finally:
        subprocess.run(["umount", str(disk)], check=False)
    complaints = sum("ERROR" in line or "WARN" in line for line in said.splitlines())
    save("full_disk", {
        "statuses": statuses, "log_bytes": full, "live": alive, "health": health, "answered_later": good,
        "records_later": whole, "torn_later": torn, "messages": complaints,
    })  # fmt: skip
    fault(
        "full_disk", "a full disk under the prediction log", "a disk of 256 kB, 400 requests, then the file is emptied",
        "the process lives and says so in its messages; when there is room again, it answers and logs as before",
        f"400 requests: {', '.join(f'{n} x {status}' for status, n in sorted(statuses.items()))}; live {alive}; "
        f"{complaints} message(s); later {good} of 20 answered, {whole} whole records",
    )  # fmt: skip
    if alive != 200 or good != 20 or not complaints or not whole:
        raise Broken(f"full_disk: live {alive}, {good} of 20 answered later, {complaints} messages, {whole} records")


def killed(program: str, folder: Path, rounds: int) -> None:
    """SIGKILL under load, again and again; each time the log is read back."""
    log = folder / "killed.ndjson"
    body = folder / "house.json"
    body.write_text(houses(1), encoding="utf-8")
    ready = []
    for _ in range(rounds):
        started = time.monotonic()
        with serving(program, log=str(log)) as server:
            ready.append(time.monotonic() - started)
            load = subprocess.Popen(
                ["wrk", "-t", "1", "-c", "16", "-d", "10s", "-s", str(script_of(body, folder)),
                 f"http://127.0.0.1:{server.port}/v1/predict"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(1)
            server.process.kill()
            server.process.wait()
            load.kill()
            load.wait()
    environment = dict(os.environ, ORT_DISABLE_TELEMETRY="1")
    found = subprocess.run(
        [program, "replay", str(log), "--format", "json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(found.stdout)["log"]
    except (ValueError, KeyError):
        raise Broken(f"killed: the log cannot be read back: {found.stdout[-300:]}{found.stderr[-300:]}") from None
    save("killed", {"rounds": rounds, "log": report, "exit": found.returncode, "longest_start_seconds": max(ready)})
    fault(
        "killed", "kill -9 under load", f"SIGKILL after a second of load, {rounds} times, on one log file; then `seaworthy replay`",
        "it starts again; no torn line is read as a record; every other one is replayed to the same bits",
        f"{report['lines']:,} lines, {report['replayed']:,} replayed, {report['torn']} torn, {report['corrupt']} corrupt; "
        f"exit code {found.returncode}; ready again after at most {max(ready):.2f} s",
    )  # fmt: skip
    if report["corrupt"] or report["torn"] > rounds or not report["replayed"] or found.returncode:
        raise Broken(f"killed: {report}, exit code {found.returncode}")


def script_of(body: Path, folder: Path) -> Path:
    script = folder / "load.lua"
    script.write_text(WRK.format(body=body), encoding="utf-8")
    return script


def schemathesis(program: str, folder: Path, examples: int) -> None:
    """All phases, against this build."""
    python = ROOT / "target" / "venv-schemathesis" / "bin" / "python"
    if not python.exists():
        raise Failure("`make schemathesis` prepares the tool for this")
    command = [str(python), "tests/schemathesis/run.py", program, "--examples", str(examples)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    (folder / "schemathesis.txt").write_text(found.stdout + found.stderr, encoding="utf-8")
    logged = re.findall(r"unknown fields: (.*); logged: (.*)", found.stdout)
    total = sum(int(n) for _, words in logged for n in re.findall(r"(\d+) x", words))
    save("schemathesis", {"examples": examples, "logged": dict(logged), "exit": found.returncode})
    fault(
        "schemathesis", "requests that the OpenAPI document allows and forbids",
        f"schemathesis in all phases, {examples} examples for each operation, unknown fields ignored and rejected, with and without API keys",
        "every answer as documented, no fault of the server",
        f"{total:,} predictions asked for, exit code {found.returncode}",
    )  # fmt: skip
    if found.returncode:
        raise Broken(f"schemathesis: {found.stdout[-3000:]}{found.stderr[-500:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program")
    parser.add_argument("--heavy", type=Path, default=HEAVY, help="the artifact of an image network, for the overload")
    parser.add_argument("--drive", default="", help="the open-loop driver of benches/drive.rs, for the overload")
    parser.add_argument(
        "what", nargs="*", help="overload, soak, rolling, full_disk, killed, schemathesis; default: all"
    )
    parser.add_argument("--requests", type=int, default=10_000_000, help="of the soak")
    parser.add_argument("--rolling-requests", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=10, help="of each step of the overload")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--examples", type=int, default=100, help="of schemathesis, for each operation")
    arguments = parser.parse_args()
    program = str(Path(arguments.program).resolve())
    drive = str(Path(arguments.drive).resolve())
    if not arguments.drive and (not arguments.what or "overload" in arguments.what):
        raise Failure("the overload needs --drive; `make chaos` compiles it")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    parts: dict[str, Callable[[Path], None]] = {
        "overload": lambda folder: overload(program, folder, arguments.seconds, drive, arguments.heavy),
        "rolling": lambda folder: rolling(program, folder, arguments.rolling_requests),
        "full_disk": lambda folder: full_disk(program, folder),
        "killed": lambda folder: killed(program, folder, arguments.kills),
        "schemathesis": lambda folder: schemathesis(program, folder, arguments.examples),
        "soak": lambda folder: soak(program, folder, arguments.requests),
    }
    if unknown := set(arguments.what) - set(parts):
        raise Failure(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    broken: Optional[list[str]] = []
    for name in arguments.what or parts:
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            os.chmod(folder, 0o755)
            try:
                parts[name](Path(folder))
                show(f"{name}: as promised")
            except Broken as promise:
                broken.append(str(promise))
                show(f"{name}: BROKEN: {promise}")
    if broken:
        raise Failure("not as promised:\n" + "\n".join(broken))


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError, subprocess.CalledProcessError) as failure:
        sys.exit(f"chaos: {failure}")
    except KeyboardInterrupt:
        sys.exit("chaos: stopped")
