#!/usr/bin/env python3
"""Unpacks the archive of `make dist` in bare systems and serves from there.

    python3 scripts/dist_test.py debian:bookworm-slim ubuntu:24.04

In each, as a user without rights and without a network: the checksums, `seaworthy new`, and a server that answers every golden
row of the example model as recorded, ends with exit code 0 after SIGTERM, and has logged what it predicted. Needs Docker and
Python 3.9 or newer.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

from image_test import RENTS
from smoke import ROOT, Failure, ask, check, check_log, docker, running

SCRIPT = """
set -eu
cd /tmp
tar --extract --gzip --file /dist/seaworthy-*.tar.gz
cd seaworthy-*
sha256sum --check --quiet SHA256SUMS
./seaworthy new /tmp/my-service
program=$PWD/seaworthy
cd /tmp/my-service
exec "$program" serve
"""


def try_system(dist: Path, system: str) -> str:
    name = f"seaworthy-dist-{uuid.uuid4().hex[:8]}"
    command = [
        "docker",
        "run",
        "--name",
        name,
        "--publish=127.0.0.1::8080",
        "--user=12345:12345",
        f"--volume={dist}:/dist:ro",
    ]
    command += ["--read-only", "--tmpfs=/tmp:exec,mode=1777", "--cap-drop=ALL", system, "sh", "-c", SCRIPT]
    with running(command, dict(os.environ)) as (process, out):
        try:
            for _ in range(600):
                if (port := docker("port", name, "8080/tcp", check=False)) or process.poll() is not None:
                    break
                time.sleep(0.1)
            sentence, request_id = ask(f"http://{port.splitlines()[0] if port else '127.0.0.1:8080'}", process, RENTS)
            docker("stop", "--time=30", name)
            check("exit code after SIGTERM", process.wait(30), 0)
        finally:
            docker("rm", "--force", name, check=False)
        out.seek(0)
        check_log(out.read(), request_id)
    release = docker(
        "run", "--rm", system, "sh", "-c", '. /etc/os-release; echo "$PRETTY_NAME, $(ldd --version | head -n1)"'
    )
    return f"{system} ({release}): {sentence}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("system", nargs="+", help="an image with a shell and tar")
    parser.add_argument("--dist", type=Path, default=ROOT / "target" / "dist", metavar="DIR")
    arguments = parser.parse_args()
    dist = arguments.dist.resolve()
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=dist, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"{dist}: {done.stdout}{done.stderr}")
    print(done.stdout.strip())
    failed = []
    for system in arguments.system:
        try:
            print(f"dist: {try_system(dist, system)}", flush=True)
        except Failure as failure:
            failed.append(system)
            print(f"dist: {system}: {failure}", file=sys.stderr, flush=True)
    if failed:
        raise Failure(f"not served from {', '.join(failed)}")


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError) as failure:
        sys.exit(f"dist_test: {failure}")
