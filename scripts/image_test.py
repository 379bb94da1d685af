#!/usr/bin/env python3
"""Runs the image under every condition that docs/deploy.md promises, and prints what it measured.

    python3 scripts/image_test.py --image seaworthy [--table target/image.md] [--again seaworthy-again]

In each condition it starts a container, waits until it is ready, sends every golden row, compares the predictions within
the artifact's own tolerance, asks `seaworthy healthcheck`, reads the memory, and stops it with SIGTERM; the exit code must be
0 and the log must hold the predictions. Then: how large the files are, that there is no shell, two images of the same
sources with the same files (--again), and the way of a user from `seaworthy new` to a running container. Needs Docker and
Python 3.9 or newer.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Optional

from smoke import ROOT, Failure, ask, call, check, check_log, docker, running

LARGEST_BYTES = 64_000_000
READY_WITHIN_SECONDS = 60
SHELLS = {"sh", "bash", "dash", "ash", "busybox", "zsh", "apt", "dpkg"}
RENTS = ROOT / "src" / "cli" / "new" / "project" / "models"


class Condition(NamedTuple):
    """How a container is started, and what must be true then."""

    name: str
    flags: list[str] = []
    command: list[str] = ["serve"]
    port: int = 8080
    threads: Optional[int] = None
    model: str = "house-prices"


class Seen(NamedTuple):
    """What a condition gave."""

    name: str
    ready: float
    memory_mb: float
    threads: int
    sentence: str


def conditions(models: Path) -> list[Condition]:
    locked = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    small = ["--memory=64m", "--memory-swap=64m", "--cpus=0.5"]
    return [
        Condition("no argument", command=[]),
        Condition("`serve`"),
        Condition("another uid", ["--user=12345:12345"]),
        Condition("root", ["--user=0:0"]),
        Condition("read-only root file system", ["--read-only"]),
        Condition("`--cap-drop ALL`", ["--cap-drop=ALL"]),
        Condition("`--memory 64m`", ["--memory=64m", "--memory-swap=64m"]),
        Condition("`--cpus 0.5`", ["--cpus=0.5"], threads=1),
        Condition(
            "`PORT=9123`, and a port in the settings",
            ["--env=PORT=9123", "--env=SEAWORTHY__SERVER__PORT=9000"],
            port=9123,
        ),
        Condition(
            "all of these at once", [*locked, *small, "--user=12345:12345", "--env=PORT=9123"], port=9123, threads=1
        ),
        Condition("models on a volume", [*locked, f"--volume={models}:/app/models:ro"], model="rents"),
    ]


def start_to_ready(name: str, url: str) -> float:
    """Seconds from the start of the container's process to the first 200."""
    started = docker("inspect", "--format={{.State.StartedAt}}", name)
    # Nine digits or fewer; Python takes six.
    started = re.sub(r"\.(\d+)Z$", lambda match: f".{match[1][:6]}+0000", started)
    began = datetime.strptime(started, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    while time.time() < began + READY_WITHIN_SECONDS:
        try:
            if call(f"{url}/health")[0] == 200:
                return time.time() - began
        except (OSError, ValueError, http.client.HTTPException):
            pass
        time.sleep(0.005)
    raise Failure(f"not ready within {READY_WITHIN_SECONDS} s")


def memory_mb(name: str) -> float:
    """The most memory that the process held, in MB: resident, with the files that it maps."""
    pid = docker("inspect", "--format={{.State.Pid}}", name)
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    [kilobytes] = re.findall(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(kilobytes) * 1024 / 1e6


def try_condition(image: str, condition: Condition) -> Seen:
    name = f"seaworthy-test-{uuid.uuid4().hex[:8]}"
    command = ["docker", "run", "--name", name, f"--publish=127.0.0.1::{condition.port}", *condition.flags, image]
    with running([*command, *condition.command], dict(os.environ)) as (process, out):
        try:
            for _ in range(200):
                if (port := docker("port", name, f"{condition.port}/tcp", check=False)) or process.poll() is not None:
                    break
                time.sleep(0.02)
            if not port:
                raise Failure(f"{condition.name}: the container did not start")
            url = f"http://{port.splitlines()[0]}"
            ready = start_to_ready(name, url)
            sentence, request_id = ask(url, process, models=RENTS if condition.model == "rents" else ROOT / "models")
            check("the model", sentence.split()[0], condition.model)
            docker("exec", name, "seaworthy", "healthcheck")
            memory = memory_mb(name)
            docker("stop", "--time=30", name)
            check("exit code after SIGTERM", process.wait(30), 0)
            messages = docker_log(name)
        finally:
            docker("rm", "--force", name, check=False)
        out.seek(0)
        check_log(out.read(), request_id)
    [threads] = re.findall(r"engine\.threads=(\d+)", messages)[:1] or ["0"]
    if condition.threads is not None:
        check(f"{condition.name}: threads that predict", int(threads), condition.threads)
    return Seen(condition.name, ready, memory, int(threads), sentence)


def docker_log(name: str) -> str:
    """What the container said on standard error, without colours."""
    done = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=True)
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stderr)


def files(image: str) -> dict[str, tuple[int, str]]:
    """Size and SHA-256 of each file of the image, by its path."""
    container = docker("create", image)
    found = {}
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                for entry in archive:
                    if entry.isfile() and (file := archive.extractfile(entry)):
                        found[entry.name] = (entry.size, hashlib.sha256(file.read()).hexdigest())
    finally:
        docker("rm", container)
    return found


def check_files(image: str) -> tuple[int, str]:
    """The bytes of all files, and a table of the largest."""
    found = files(image)
    if shells := sorted(name for name in found if Path(name).name in SHELLS):
        raise Failure(f"the image holds {', '.join(shells)}")
    user = docker("inspect", "--format={{.Config.User}}", image)
    if user.split(":")[0] in ("", "0", "root"):
        raise Failure(f"the image runs as {user or 'root'}")
    labels = json.loads(docker("inspect", "--format={{json .Config.Labels}}", image))
    for label in ("version", "revision", "licenses", "title"):
        if not labels.get(f"org.opencontainers.image.{label}"):
            raise Failure(f"the image has no label org.opencontainers.image.{label}")
    groups: dict[str, int] = {}
    for name, (size, _) in found.items():
        groups[group(name)] = groups.get(group(name), 0) + size
    total = sum(groups.values())
    if total > LARGEST_BYTES:
        raise Failure(f"the image holds {total / 1e6:.1f} MB, more than {LARGEST_BYTES / 1e6:.0f} MB: {groups}")
    lines = [f"| {name} | {size / 1e6:.2f} |" for name, size in sorted(groups.items(), key=lambda item: -item[1])]
    return total, "\n".join(["| files | MB |", "|---|---:|", *lines, f"| all {len(found)} | {total / 1e6:.2f} |"])


def group(name: str) -> str:
    names = {
        "opt/seaworthy/libonnxruntime.so": "ONNX Runtime",
        "opt/seaworthy/seaworthy": "the program",
    }
    if "licences/" in name or "/doc/" in name:
        return "licences"
    if name.startswith("opt/seaworthy/models/"):
        return "the model"
    return names.get(name, "glibc, libstdc++" if ".so" in name else "settings and the rest")


def new_project(image: str, folder: Path) -> str:
    """From nothing to a running container of one's own: `new`, `make image`, `make smoke`, and the two-line Dockerfile."""
    name = "my-service"
    # The container's user must be able to write here.
    docker(
        "run",
        "--rm",
        f"--user={os.getuid()}:{os.getgid()}",
        f"--volume={folder}:/out",
        image,
        "new",
        f"/out/{name}",
        "--image",
        image,
    )
    project = folder / name
    tag = f"{name}-{uuid.uuid4().hex[:8]}"
    environment = {**os.environ, "IMAGE": tag, "PORT": free_port()}
    environment.pop("MAKEFLAGS", None)
    for target in ("image", "smoke"):
        done = subprocess.run(
            ["make", target], cwd=project, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise Failure(f"`make {target}` of a new project fails:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    answer = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    check("the model of a new project", answer["model"], "rents")
    docker("rmi", tag)

    (project / "Dockerfile").write_text(f"FROM {image}\nCOPY models models\n", encoding="utf-8")
    docker("build", "--tag", tag, str(project))
    try_condition(tag, Condition("a Dockerfile of two lines", model="rents"))
    docker("rmi", tag)
    return f"`seaworthy new`, `make image`, `make smoke`: {answer['predictions'][0]:.2f} for request.json; so does a Dockerfile of two lines"


def try_all(image: str) -> list[str]:
    """The table of the conditions, line by line as it comes about, and a sentence on a project of one's own."""
    lines = [
        "| condition | ready after, s | memory at most, MB | threads | asked |",
        "|---|---:|---:|---:|---|",
    ]
    print("\n".join(lines), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        shutil.copytree(RENTS, models)
        Path(folder).chmod(0o755)
        for condition in conditions(models):
            try:
                seen = try_condition(image, condition)
            except Failure as failure:
                raise Failure(f"{condition.name}: {failure}") from None
            measured = f"{seen.ready:.2f} | {seen.memory_mb:.0f} | {seen.threads}"
            lines.append(f"| {seen.name} | {measured} | {seen.sentence} |")
            print(lines[-1], flush=True)
        lines += ["", new_project(image, Path(folder))]
        print("\n".join(lines[-2:]))
    return lines


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--image", default="seaworthy")
    parser.add_argument("--again", metavar="IMAGE", help="another build of the same sources: must hold the same files")
    parser.add_argument("--only-files", action="store_true", help="look at the files, start nothing")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the tables there as well")
    arguments = parser.parse_args()
    image = arguments.image

    total, sizes = check_files(image)
    lines = [f"{image}: {total / 1e6:.1f} MB unpacked, without a shell", "", sizes, ""]
    print("\n".join(lines), flush=True)
    if arguments.again:
        first, second = files(image), files(arguments.again)
        if different := sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name)):
            raise Failure(f"two builds of the same sources differ in {', '.join(different)}")
        lines += [f"Built again: the same {len(first)} files, by SHA-256.", ""]
        print(lines[-2], flush=True)
    if not arguments.only_files:
        lines += try_all(image)
    if arguments.table:
        arguments.table.parent.mkdir(parents=True, exist_ok=True)
        arguments.table.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError, KeyError, ValueError) as failure:
        sys.exit(f"image_test: {type(failure).__name__}: {failure}")
    except KeyboardInterrupt:
        sys.exit("image_test: stopped")
