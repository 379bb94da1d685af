#!/usr/bin/env python3
"""Packs the program for machines without Rust, Python or Docker.

    python3 scripts/dist.py target/release/seaworthy

makes target/dist/seaworthy-VERSION-PLATFORM.tar.gz and SHA256SUMS beside it. The archive holds one directory: the program,
ONNX Runtime's library beside it, where the program finds it, the settings, and all licences. The same inputs give the same
bytes. Needs what `make onnxruntime` fetched, cargo (for the licences), and Python 3.9 or newer.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import platform
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import notices

ROOT = Path(__file__).resolve().parent.parent
ONNXRUNTIME = ROOT / "target" / "onnxruntime"
# Ubuntu 22.04 has this glibc, the oldest of the systems that the archive is for.
OLDEST_GLIBC = (2, 35)
README = """\
# Seaworthy {version}

Serves a trained model exactly as it was trained. This directory holds the program, ONNX Runtime and the settings; put models
into models/<name>/<version>/, or start the program where there are some:

    ./seaworthy new my-service      # a small project with an example model
    cd my-service
    ../seaworthy serve

Needs Linux with glibc {glibc} and libstdc++: Debian 12, Ubuntu 22.04, and newer. `./seaworthy --help` says more.

licences/ has the licences of all that is in here; LICENSE is Seaworthy's own. `sha256sum --check SHA256SUMS` checks the files.
"""


class Failure(Exception):
    """A sentence for the person who ran this."""


def glibc_needed(program: bytes) -> tuple[int, int]:
    """The newest version of glibc that the program names."""
    found = {(int(major), int(minor)) for major, minor in re.findall(rb"\0GLIBC_(\d+)\.(\d+)", program)}
    if not found:
        raise Failure("the program names no version of glibc: is it one for Linux?")
    return max(found)


def default_settings() -> bytes:
    """The settings with no default model: there is no model in the archive."""
    text = (ROOT / "config" / "default.toml").read_text(encoding="utf-8")
    changed, count = re.subn(r'^default = ".*"$', 'default = ""', text, flags=re.MULTILINE)
    if count != 1:
        raise Failure(f"config/default.toml sets `default` {count} times instead of once")
    return changed.encode()


def version() -> str:
    [found] = re.findall(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)[:1]
    return found


def contents(program: Path, onnxruntime: Path) -> dict[str, bytes]:
    """The files of the archive, by their names in it."""
    binary = program.read_bytes()
    library = onnxruntime / "libonnxruntime.so"
    needed = max(glibc_needed(binary), glibc_needed(library.read_bytes()))
    if needed > OLDEST_GLIBC:
        raise Failure(
            f"{program} needs glibc {'.'.join(map(str, needed))}, which Ubuntu 22.04 does not have: build it on Debian 12 or older"
        )
    readme = README.format(version=version(), glibc=".".join(map(str, needed)))
    files = {
        "seaworthy": binary,
        "libonnxruntime.so": library.read_bytes(),
        "config/default.toml": default_settings(),
        "config/production.toml": (ROOT / "config" / "production.toml").read_bytes(),
        "README.md": readme.encode(),
        "licences/third-party.txt": notices.notices(notices.metadata(), None).encode(),
    }
    for name in ("CHANGELOG.md", "LICENSE", "LICENSE-APACHE", "LICENSE-MIT"):
        files[name] = (ROOT / name).read_bytes()
    for name in ("LICENSE", "ThirdPartyNotices.txt"):
        files[f"licences/onnxruntime/{name}"] = (onnxruntime / name).read_bytes()
    files["SHA256SUMS"] = sums(files)
    return files


def sums(files: dict[str, bytes]) -> bytes:
    lines = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
    return "".join(lines).encode()


def archive(folder: str, files: dict[str, bytes], time: int) -> bytes:
    """The compressed archive; nothing in it depends on who makes it, where and when."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=time, filename="") as compressed:
        with tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, data in sorted(files.items()):
                entry = tarfile.TarInfo(f"{folder}/{name}")
                entry.size, entry.mtime = len(data), time
                entry.mode = 0o755 if name == "seaworthy" else 0o644
                tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def source_date() -> int:
    """When the sources were last changed: SOURCE_DATE_EPOCH, or the time of the commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False, cwd=ROOT)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program", type=Path, help="the release build")
    parser.add_argument("--onnxruntime", type=Path, default=ONNXRUNTIME, metavar="DIR")
    parser.add_argument("--output", type=Path, default=ROOT / "target" / "dist", metavar="DIR")
    arguments = parser.parse_args()
    if platform.system() != "Linux":
        raise Failure(f"archives are made for Linux, and this is {platform.system()}")
    name = f"seaworthy-{version()}-linux-{platform.machine()}"
    data = archive(name, contents(arguments.program, arguments.onnxruntime), source_date())
    arguments.output.mkdir(parents=True, exist_ok=True)
    file = f"{name}.tar.gz"
    (arguments.output / file).write_bytes(data)
    (arguments.output / "SHA256SUMS").write_bytes(sums({file: data}))
    print(f"{arguments.output / file}: {len(data) / 1e6:.1f} MB")


if __name__ == "__main__":
    try:
        main()
    except (Failure, notices.Failure, OSError) as failure:
        sys.exit(f"dist: {failure}")
