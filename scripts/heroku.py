#!/usr/bin/env python3
"""Imitates Heroku around Seaworthy: does a restart under load lose a request?

    python3 scripts/heroku.py target/release/seaworthy    the program, by the Procfile's line
    python3 scripts/heroku.py --image seaworthy            the image, as heroku.yml runs it

What it does as the platform does: a dyno gets a random PORT and nothing else, runs as a user without rights, in a copy of
the slug that is thrown away, within 512 MB; it must take its port within 60 s; its output is a log, one record a line. The
router sends it requests once it has its port, and gives each 30 s. A restart sends SIGTERM to every dyno and boots new ones
at the same time; requests still arrive at the old ones for a moment, wait at the router while there is none, and whatever
runs 30 s after SIGTERM is killed.

Clients ask for golden rows the whole time. Every answer must be the recorded prediction. Needs Python 3.9 or newer.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional

from smoke import ROOT, Failure, compare, docker, golden_rows

BOOT_WITHIN_SECONDS = 60
ROUTER_TIMEOUT_SECONDS = 30
KILL_AFTER_SECONDS = 30
# Heroku's routers learn of a restart one after the other.
STILL_ARRIVING_SECONDS = 1.5
MEMORY = "512m"


class Dyno:
    """One process of the type `web`."""

    def __init__(self, number: int) -> None:
        self.name = f"web.{number}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.log = tempfile.TemporaryFile()
        self.started = time.monotonic()
        self.boot_seconds: Optional[float] = None
        self.stop_seconds: Optional[float] = None
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def terminate(self) -> None:
        raise NotImplementedError

    def kill(self) -> None:
        raise NotImplementedError

    def boot(self) -> None:
        """Waits until the port is taken."""
        while time.monotonic() < self.started + BOOT_WITHIN_SECONDS:
            if (code := self.process.poll()) is not None:
                raise Failure(f"{self.name} crashed with exit code {code} (H10):\n{self.output()[-2000:]}")
            if self.has_port():
                self.boot_seconds = time.monotonic() - self.started
                return
            time.sleep(0.02)
        raise Failure(f"{self.name} did not take its port within {BOOT_WITHIN_SECONDS} s (R10)")

    def has_port(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is left 30 s later (R12)."""
        asked = time.monotonic()
        self.terminate()
        try:
            code = self.process.wait(KILL_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure(f"{self.name} ran on for {KILL_AFTER_SECONDS} s after SIGTERM and was killed (R12)") from None
        self.stop_seconds = time.monotonic() - asked
        if code != 0:
            raise Failure(f"{self.name} ended with exit code {code} after SIGTERM:\n{self.output()[-2000:]}")

    def output(self) -> str:
        self.log.seek(0)
        return self.log.read().decode()


class Slug(Dyno):
    """The program with a checkout around it, started by the Procfile."""

    program: Path
    onnxruntime: Path

    def start(self) -> subprocess.Popen[bytes]:
        self.home = Path(tempfile.mkdtemp(prefix="slug-"))
        for name in ("config", "models"):
            shutil.copytree(ROOT / name, self.home / name)
        release = self.home / "target" / "release"
        release.mkdir(parents=True)
        shutil.copy2(self.program, release / "seaworthy")
        shutil.copytree(self.onnxruntime, self.home / "target" / "onnxruntime")
        procfile = (ROOT / "Procfile").read_text(encoding="utf-8")
        command = dict(line.split(": ", 1) for line in procfile.splitlines())["web"]
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            # Nobody's: a dyno's user owns its home and nothing else.
            user = {"user": 65534, "group": 65534, "extra_groups": []}
            for path in [self.home, *self.home.rglob("*")]:
                os.chown(path, 65534, 65534)
        environment = {"PORT": str(self.port), "DYNO": self.name, "HOME": str(self.home), "PATH": os.environ["PATH"]}
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.home, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, **user,
        )  # fmt: skip

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


class Container(Dyno):
    """The image, as `heroku stack:set container` runs it."""

    image: str

    def start(self) -> subprocess.Popen[bytes]:
        self.id = f"seaworthy-heroku-{uuid.uuid4().hex[:8]}"
        command = ["docker", "run", "--rm", "--name", self.id, f"--env=PORT={self.port}", f"--env=DYNO={self.name}"]
        command += [f"--publish=127.0.0.1:{self.port}:{self.port}", f"--memory={MEMORY}", "--user=23456:23456"]
        command += ["--cap-drop=ALL", "--security-opt=no-new-privileges", self.image]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)

    def has_port(self) -> bool:
        # Docker's own proxy has the port from the start; behind it nothing answers.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/health/live")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def terminate(self) -> None:
        docker("kill", "--signal=TERM", self.id)

    def kill(self) -> None:
        docker("rm", "--force", self.id, check=False)


class Router:
    """Sends each request to a dyno that is up; holds it while there is none."""

    def __init__(self) -> None:
        self.up: list[Dyno] = []
        self.lock = threading.Condition()
        self.turn = itertools.count()
        self.sent: Counter[str] = Counter()
        self.held = 0
        router = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, answer = router.forward(self.path, body)
                self.send_response_only(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, dyno: Dyno) -> None:
        with self.lock:
            self.up.append(dyno)
            self.lock.notify_all()

    def remove(self, dyno: Dyno) -> None:
        with self.lock:
            self.up.remove(dyno)

    def choose(self) -> Optional[Dyno]:
        with self.lock:
            if not self.up:
                self.held += 1
            if not self.lock.wait_for(lambda: self.up, timeout=75):
                return None
            return self.up[next(self.turn) % len(self.up)]

    def forward(self, path: str, body: bytes) -> tuple[int, bytes]:
        """One attempt, as with a request that may not be repeated."""
        dyno = self.choose()
        if dyno is None:
            return 503, b"H20 no dyno came up"
        connection = http.client.HTTPConnection("127.0.0.1", dyno.port, timeout=ROUTER_TIMEOUT_SECONDS)
        try:
            connection.request("POST", path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            return 503, f"{dyno.name}: {error!r}".encode()
        finally:
            connection.close()
        self.sent[dyno.name] += 1
        return response.status, answer


class Load:
    """Clients that ask all the time and check every answer."""

    def __init__(self, port: int, clients: int, model: str, version: str) -> None:
        inputs, expected, self.tolerance = golden_rows(model, version)
        self.rows = list(zip(inputs, expected))
        self.path = f"/v1/models/{model}/versions/{version}/predict"
        self.port = port
        self.enough = threading.Event()
        self.answered = 0
        self.slowest = 0.0
        self.failures: list[str] = []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.ask, args=(n,)) for n in range(clients)]
        for thread in self.threads:
            thread.start()

    def ask(self, first: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        for input_, expected in itertools.islice(itertools.cycle(self.rows), first * 7, None):
            if self.enough.is_set():
                break
            started = time.monotonic()
            try:
                connection.request("POST", self.path, json.dumps({"inputs": [input_]}).encode())
                response = connection.getresponse()
                answer = response.read()
                if response.status != 200:
                    raise Failure(f"{response.status} {answer[:300]!r}")
                compare(json.loads(answer)["predictions"], [expected], self.tolerance)
            except (Failure, OSError, ValueError, http.client.HTTPException) as error:
                with self.lock:
                    self.failures.append(f"{error!r}")
                connection.close()
            with self.lock:
                self.answered += 1
                self.slowest = max(self.slowest, time.monotonic() - started)
        connection.close()

    def stop(self) -> None:
        self.enough.set()
        for thread in self.threads:
            thread.join()


def check_log(dyno: Dyno, answered: int) -> None:
    """One record a line, and one prediction for each answer that the router got."""
    predictions = 0
    for line in dyno.output().splitlines():
        if line.startswith("{"):
            record = json.loads(line)
            predictions += "predictions" in record
        elif not line.strip():
            raise Failure(f"{dyno.name} logged an empty line")
    if predictions != answered:
        raise Failure(f"{dyno.name} answered {answered} requests and logged {predictions} predictions")


def restart(router: Router, old: list[Dyno], new: list[Dyno]) -> None:
    """`heroku ps:restart`."""
    errors: list[BaseException] = []

    def guarded(action: Any) -> None:
        try:
            action()
        except BaseException as error:  # raised below, in the thread that waits
            errors.append(error)

    def boot(dyno: Dyno) -> None:
        dyno.boot()
        router.add(dyno)

    actions = [lambda dyno=dyno: dyno.stop() for dyno in old] + [lambda dyno=dyno: boot(dyno) for dyno in new]
    threads = [threading.Thread(target=guarded, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    time.sleep(STILL_ARRIVING_SECONDS)
    for dyno in old:
        router.remove(dyno)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def imitate(kind: type[Dyno], dynos: int, clients: int, restarts: int, seconds: float) -> None:
    model, version = "house-prices", "3.2.0"
    router, everyone = Router(), []
    numbers = itertools.count(1)

    def boot_all() -> list[Dyno]:
        new = [kind(next(numbers)) for _ in range(dynos)]
        everyone.extend(new)
        return new

    load = None
    try:
        current = boot_all()
        for dyno in current:
            dyno.boot()
            router.add(dyno)
        load = Load(router.server.server_port, clients, model, version)
        for _ in range(restarts):
            time.sleep(seconds)
            new = boot_all()
            restart(router, current, new)
            current = new
        time.sleep(seconds)
        load.stop()
        for dyno in current:
            router.remove(dyno)
            dyno.stop()
        for dyno in everyone:
            check_log(dyno, router.sent[dyno.name])
    finally:
        if load:
            load.stop()
        router.server.shutdown()
        for dyno in everyone:
            dyno.kill()
    if load.failures:
        raise Failure(f"{len(load.failures)} of {load.answered} requests failed, the first: {load.failures[0]}")
    boot = max(dyno.boot_seconds or 0 for dyno in everyone)
    stop = max(dyno.stop_seconds or 0 for dyno in everyone)
    print(
        f"heroku: {restarts} restarts of {dynos} dynos under the load of {clients} clients: {load.answered} requests, none failed; "
        f"{router.held} waited for a dyno; slowest {load.slowest:.2f} s; port taken after at most {boot:.2f} s of 60; "
        f"ended at most {stop:.1f} s of 30 after SIGTERM; {sum(router.sent.values())} predictions logged"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("program", nargs="?", type=Path, help="path of the program")
    what.add_argument("--image", help="name of a container image instead")
    parser.add_argument("--onnxruntime", type=Path, default=ROOT / "target" / "onnxruntime", metavar="DIR")
    parser.add_argument("--dynos", type=int, default=2)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load before and after each restart")
    arguments = parser.parse_args()
    Slug.program, Slug.onnxruntime = arguments.program, arguments.onnxruntime
    Container.image = arguments.image
    kind = Container if arguments.image else Slug
    imitate(kind, arguments.dynos, arguments.clients, arguments.restarts, arguments.seconds)


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError) as failure:
        sys.exit(f"heroku: {failure}")
    except KeyboardInterrupt:
        sys.exit("heroku: stopped")
