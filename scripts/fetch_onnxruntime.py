#!/usr/bin/env python3
"""Fetches the ONNX Runtime shared library that Seaworthy loads at start.

It comes out of the official `onnxruntime` wheel, which pip downloads and compares with the hashes in onnxruntime.txt
beside this file. Only the library, its licence and its notices are kept, in target/onnxruntime/, where `seaworthy`
looks for them; nothing is installed. Done already: it says so and ends at once.

Needs Python 3.9 or newer with pip, and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

SCRIPTS = Path(__file__).resolve().parent
REQUIREMENTS = SCRIPTS / "onnxruntime.txt"
OUTPUT = SCRIPTS.parent / "target" / "onnxruntime"
STAMP = "stamp.json"


class Target(NamedTuple):
    """A platform that has a wheel."""

    title: str
    tag: str  # as pip names it
    member: str  # pattern of the library in the wheel
    library: str  # its name here; it is opened by path, so its soname needs no link


LINUX = r"onnxruntime/capi/libonnxruntime\.so(\.\d+)+"
MACOS = r"onnxruntime/capi/libonnxruntime(\.\d+)*\.dylib"
TARGETS = {
    "linux-x86_64": Target("Linux x86-64", "manylinux_2_28_x86_64", LINUX, "libonnxruntime.so"),
    "linux-aarch64": Target("Linux aarch64", "manylinux_2_28_aarch64", LINUX, "libonnxruntime.so"),
    "macos-arm64": Target("macOS arm64", "macosx_14_0_arm64", MACOS, "libonnxruntime.dylib"),
}
# What Docker calls them, so that `--platform $TARGETPLATFORM` works.
ALIASES = {"linux/amd64": "linux-x86_64", "linux/arm64": "linux-aarch64"}
MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}
NOTICES = {"onnxruntime/LICENSE": "LICENSE", "onnxruntime/ThirdPartyNotices.txt": "ThirdPartyNotices.txt"}

OWN_LIBRARY = (
    "Set ORT_DYLIB_PATH to an ONNX Runtime library of your own, or use the container image (see docs/deploy.md)."
)


class Failure(Exception):
    """A sentence for the person who ran this."""


def host() -> str:
    """The name in TARGETS of the machine that this runs on."""
    system, machine = platform.system(), MACHINES.get(platform.machine().lower(), platform.machine())
    if system == "Linux" and machine in ("x86_64", "arm64"):
        try:
            name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        except (OSError, ValueError):
            name, version = "", ""
        if name != "glibc":
            raise Failure(f"There is no ONNX Runtime wheel for a Linux without glibc (such as Alpine). {OWN_LIBRARY}")
        if tuple(int(part) for part in version.split(".")[:2]) < (2, 28):
            raise Failure(f"The ONNX Runtime wheel needs glibc 2.28 or newer; this machine has {version}. {OWN_LIBRARY}")
        return "linux-x86_64" if machine == "x86_64" else "linux-aarch64"
    if system == "Darwin" and machine == "arm64":
        release = platform.mac_ver()[0]
        if release and int(release.split(".")[0]) < 14:
            raise Failure(f"The ONNX Runtime wheel needs macOS 14 or newer; this is {release}. {OWN_LIBRARY}")
        return "macos-arm64"
    hint = " If this is a Mac with Apple silicon, Python runs under Rosetta: use a native one." if system == "Darwin" else ""
    raise Failure(
        f"There is no ONNX Runtime wheel for {system} on {platform.machine()}; there is one for "
        f"{', '.join(target.title for target in TARGETS.values())}.{hint} {OWN_LIBRARY}"
    )


def pinned() -> tuple[str, set[str]]:
    """Version and hashes in the requirements file."""
    text = REQUIREMENTS.read_text(encoding="utf-8")
    version = re.search(r"^onnxruntime==(\S+)", text, re.MULTILINE)
    hashes = set(re.findall(r"--hash=sha256:([0-9a-f]{64})\b", text))
    if version is None or not hashes:
        raise Failure(f"{REQUIREMENTS} must hold one line `onnxruntime==VERSION` with its hashes.")
    return version[1], hashes


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def up_to_date(output: Path, name: str, version: str, hashes: set[str]) -> bool:
    """Whether `output` holds the whole of the pinned version for this platform, unchanged."""
    try:
        stamp = json.loads((output / STAMP).read_text(encoding="utf-8"))
        return (
            (stamp["version"], stamp["platform"]) == (version, name)
            and stamp["wheel"] in hashes
            and TARGETS[name].library in stamp["files"]
            and all(sha256(output / file) == digest for file, digest in stamp["files"].items())
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False


def pip() -> list[str]:
    """How to call pip: this Python's own, else the one on the PATH."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            return [found]
    raise Failure(
        f"{sys.executable} has no pip, which downloads ONNX Runtime. On Debian and Ubuntu: apt-get install python3-pip; "
        "elsewhere: python3 -m ensurepip."
    )


def download(target: Target, version: str, folder: Path) -> Path:
    """The wheel, checked by pip against the hashes."""
    command = [
        *pip(), "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes",
        "--only-binary=:all:", "--implementation=cp", "--python-version=3.12", f"--platform={target.tag}",
        "--requirement", str(REQUIREMENTS), "--dest", str(folder),
    ]  # fmt: skip
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wheels = list(folder.glob("onnxruntime-*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        sys.stderr.write(done.stdout)
        why = "its hash is not the pinned one" if "DO NOT MATCH" in done.stdout else "pip's own words are above"
        raise Failure(f"Could not download ONNX Runtime {version} for {target.title}: {why}.")
    return wheels[0]


def extract(wheel: Path, target: Target, folder: Path) -> list[str]:
    """Puts the library and its notices into `folder`; the names, the library first."""
    with zipfile.ZipFile(wheel) as archive:
        libraries = [name for name in archive.namelist() if re.fullmatch(target.member, name)]
        if len(libraries) != 1:
            raise Failure(f"{wheel.name} holds {len(libraries)} libraries of ONNX Runtime instead of one: {libraries}")
        wanted = {libraries[0]: target.library, **NOTICES}
        for member, name in wanted.items():
            try:
                source = archive.open(member)
            except KeyError:
                raise Failure(f"{wheel.name} holds no {member}") from None
            with source, (folder / name).open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            (folder / name).chmod(0o644)
    return list(wanted.values())


def publish(ready: Path, output: Path) -> None:
    """Moves the files of `ready` to `output`, each by one rename, the stamp last: a run that is stopped, or two at
    once, leave no library that is half there, and a server that has the old one open keeps it."""
    output.mkdir(parents=True, exist_ok=True)
    (output / STAMP).unlink(missing_ok=True)
    for file in sorted(ready.iterdir(), key=lambda file: file.name == STAMP):
        os.replace(file, output / file.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="DIR", help="where to (default: target/onnxruntime)")
    parser.add_argument(
        "--platform",
        type=lambda name: ALIASES.get(name, name),
        choices=[*TARGETS, *ALIASES],
        metavar="NAME",
        help=f"instead of this machine's: {', '.join([*TARGETS, *ALIASES])}",
    )
    parser.add_argument("--force", action="store_true", help="fetch again even if it is there")
    arguments = parser.parse_args()

    name = arguments.platform or host()
    target, output = TARGETS[name], arguments.output.absolute()
    version, hashes = pinned()
    if not arguments.force and up_to_date(output, name, version, hashes):
        print(f"ONNX Runtime {version} ({target.title}) is there: {output / target.library}")
        return

    print(f"Fetching ONNX Runtime {version} for {target.title} (some 20 MB) ...", flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".onnxruntime-", dir=output.parent) as temporary:
        wheel = download(target, version, Path(temporary))
        ready = Path(temporary) / "ready"
        ready.mkdir()
        files = extract(wheel, target, ready)
        stamp = {
            "version": version,
            "platform": name,
            "wheel": sha256(wheel),
            "files": {file: sha256(ready / file) for file in files},
        }
        (ready / STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8")
        size = (ready / target.library).stat().st_size
        publish(ready, output)
    print(f"ONNX Runtime {version}: {output / target.library} ({size / 1e6:.1f} MB)")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"fetch_onnxruntime: {failure}")
    except OSError as error:
        sys.exit(f"fetch_onnxruntime: {error}")
    except KeyboardInterrupt:
        sys.exit("fetch_onnxruntime: stopped")
