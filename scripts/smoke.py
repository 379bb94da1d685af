#!/usr/bin/env python3
"""Starts Seaworthy as a stranger would, asks it for predictions that are known, and stops it.

    python3 scripts/smoke.py target/release/seaworthy     the program
    python3 scripts/smoke.py --image seaworthy            a container: read-only, under three user ids

The answers are compared with the golden rows of the artifact that `/health` names, within the tolerance that its
manifest states. Needs Python 3.9 or newer, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
READY_WITHIN_SECONDS = 60
STOPPED_WITHIN_SECONDS = 30


class Failure(Exception):
    """What the person who ran this should know."""


def call(url: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    """Status and JSON of one request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def check(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Failure(f"{what}: expected {expected!r}, got {found!r}")


def golden_rows(model: str, version: str, models: Path = ROOT / "models") -> tuple[list[Any], list[Any], dict[str, float]]:
    """Inputs and predictions of the rows that succeed, and the tolerance."""
    folder = models / model / version
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    rows = [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    good = [row for row in rows if "output" in row]
    if not good:
        raise Failure(f"{folder} has no golden row with an output")
    return [row["input"] for row in good], [row["output"]["prediction"] for row in good], manifest["golden"]["output"]


def compare(found: list[Any], expected: list[Any], tolerance: dict[str, float]) -> None:
    check("number of predictions", len(found), len(expected))
    for row, (is_, should) in enumerate(zip(found, expected)):
        if isinstance(should, str) or isinstance(is_, str) or is_ is None:
            check(f"prediction {row}", is_, should)
        elif abs(is_ - should) > tolerance["absolute"] + tolerance["relative"] * abs(should):
            raise Failure(f"prediction {row}: expected {should!r} within {tolerance}, got {is_!r}")


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline, last = time.monotonic() + READY_WITHIN_SECONDS, "no answer"
    while time.monotonic() < deadline:
        if (code := process.poll()) is not None:
            raise Failure(f"it ended with exit code {code} before it was ready")
        try:
            status, health = call(f"{url}/health")
            if status == 200:
                return health
            last = f"{status} {health}"
        except OSError as error:
            last = str(error)
        time.sleep(0.1)
    raise Failure(f"not ready within {READY_WITHIN_SECONDS} s; last: {last}")


def ask(url: str, process: subprocess.Popen[bytes], models: Path = ROOT / "models") -> tuple[str, str]:
    """The conversation; a sentence about it, and the id of the request that the log must hold."""
    health = wait_until_ready(url, process)
    check("/health status", health["status"], "ready")
    model, version = health["model"], health["model_version"]
    inputs, expected, tolerance = golden_rows(model, version, models)

    request_id = str(uuid.uuid4())
    status, answer = call(f"{url}/v1/predict", {"inputs": inputs[:1]}, {"X-Request-ID": request_id})
    check("status of one golden row", (status, answer.get("errors")), (200, None))
    check("version in the answer", answer["version"], version)
    compare(answer["predictions"], expected[:1], tolerance)
    first = answer["predictions"][0]

    status, answer = call(f"{url}/v1/models/{model}/predict", {"inputs": inputs})
    check("status of all golden rows", (status, answer.get("errors")), (200, None))
    compare(answer["predictions"], expected, tolerance)

    status, problem = call(f"{url}/v1/predict", {"inputs": [{}]})
    check("status of an empty row", status, 422)
    if not problem.get("errors"):
        raise Failure(f"an empty row is refused without its errors: {problem}")
    return f"{model} {version}: {len(inputs)} golden rows, the first {first}", request_id


def check_log(log: bytes, request_id: str) -> None:
    """One line of JSON on standard output for the request."""
    for line in log.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("request_id") == request_id and "predictions" in event:
            return
    raise Failure(f"no prediction event with request_id {request_id} on standard output")


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], Any]]:
    """The process and its standard output; on failure its output is shown, and in any case it is gone afterwards."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            yield process, out
        except BaseException:
            for name, file in (("standard output", out), ("standard error", err)):
                file.seek(0)
                if tail := file.read()[-4000:].decode(errors="replace").strip():
                    print(f"--- {name} of {' '.join(command)}\n{tail}", file=sys.stderr)
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def stopped(process: subprocess.Popen[bytes]) -> None:
    try:
        check("exit code after SIGTERM", process.wait(STOPPED_WITHIN_SECONDS), 0)
    except subprocess.TimeoutExpired:
        raise Failure(f"still running {STOPPED_WITHIN_SECONDS} s after SIGTERM") from None


def smoke_program(program: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PORT": str(port)}
    with running([program, "serve"], environment) as (process, out):
        sentence, request_id = ask(f"http://127.0.0.1:{port}", process)
        healthy = subprocess.run([program, "healthcheck"], cwd=ROOT, env=environment, check=False)
        check("exit code of healthcheck", healthy.returncode, 0)
        process.send_signal(signal.SIGTERM)
        stopped(process)
        out.seek(0)
        check_log(out.read(), request_id)
    print(f"smoke: {program} serves {sentence}")


def docker(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise Failure(f"`docker {' '.join(arguments)}`: {done.stderr.strip()}")
    return done.stdout.strip()


def smoke_image(image: str, flags: list[str]) -> None:
    """As a platform that allows little would run it: read-only, no capability, no privilege to gain."""
    name = f"seaworthy-smoke-{uuid.uuid4().hex[:8]}"
    command = ["docker", "run", "--rm", "--name", name, "--publish", "127.0.0.1::8080", "--read-only", "--cap-drop=ALL"]
    command += ["--security-opt=no-new-privileges", *flags, image, "serve"]
    with running(command, dict(os.environ)) as (process, out):
        try:
            for _ in range(100):
                if (port := docker("port", name, "8080/tcp", check=False)) or process.poll() is not None:
                    break
                time.sleep(0.1)
            sentence, request_id = ask(f"http://{port.splitlines()[0] if port else '127.0.0.1:8080'}", process)
            docker("exec", name, "seaworthy", "healthcheck")
            docker("stop", f"--time={STOPPED_WITHIN_SECONDS}", name)
            stopped(process)
        finally:
            docker("rm", "--force", name, check=False)
        out.seek(0)
        check_log(out.read(), request_id)
    print(f"smoke: {image} {' '.join(flags) or 'as it is'} serves {sentence}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("program", nargs="?", help="path of the program")
    what.add_argument("--image", help="name of a container image instead")
    arguments = parser.parse_args()
    if arguments.image:
        for flags in ([], ["--user=12345:0"], ["--user=0:0"]):
            smoke_image(arguments.image, flags)
    else:
        smoke_program(arguments.program)


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError, KeyError, ValueError) as failure:
        sys.exit(f"smoke: {type(failure).__name__}: {failure}" if isinstance(failure, KeyError) else f"smoke: {failure}")
    except KeyboardInterrupt:
        sys.exit("smoke: stopped")
