#!/usr/bin/env python3
"""Prepares a Python virtual environment from requirements files.

    python3 scripts/venv.py target/venv -r python/requirements.txt

Done already, from the same files by the same Python: ends at once. Needs Python 3.9 or newer with pip; Debian's
python3-venv is not needed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

STAMP = ".requirements.sha256"


class Failure(Exception):
    """A sentence for the person who ran this."""


def run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise Failure(f"`{' '.join(str(part) for part in command)}` failed, see above.")


def fingerprint(requirements: list[Path]) -> str:
    """Of all that decides what the environment holds."""
    digest = hashlib.sha256(f"{sys.version} {sys.base_prefix}".encode())
    for path in requirements:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def create(folder: Path) -> list[str]:
    """An empty environment; how to call the pip that installs into it."""
    if importlib.util.find_spec("venv") is None:
        raise Failure(f"{sys.executable} has no module venv. On Debian and Ubuntu: apt-get install python3-venv.")
    if importlib.util.find_spec("ensurepip"):
        run(sys.executable, "-m", "venv", "--clear", folder)
        return [str(folder / "bin" / "python"), "-m", "pip"]
    # Debian keeps ensurepip in python3-venv; the pip of this Python can install into another one since version 22.3.
    if importlib.util.find_spec("pip") is None:
        raise Failure(f"{sys.executable} has no pip. On Debian and Ubuntu: apt-get install python3-venv python3-pip.")
    run(sys.executable, "-m", "venv", "--clear", "--without-pip", folder)
    return [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-r", "--requirements", type=Path, action="append", required=True, metavar="FILE")
    arguments = parser.parse_args()
    if missing := [str(path) for path in arguments.requirements if not path.is_file()]:
        raise Failure(f"There is no {' and no '.join(missing)}.")

    folder: Path = arguments.folder.absolute()
    stamp, wanted = folder / STAMP, fingerprint(arguments.requirements)
    if stamp.is_file() and stamp.read_text() == wanted and (folder / "bin" / "python").exists():
        return
    names = " ".join(str(path) for path in arguments.requirements)
    print(f"Preparing {arguments.folder} from {names} ...", flush=True)
    pip = create(folder)
    files = [part for path in arguments.requirements for part in ("--requirement", path)]
    run(*pip, "install", "--quiet", "--disable-pip-version-check", "--no-input", *files)
    stamp.write_text(wanted)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"venv: {failure}")
    except OSError as error:
        sys.exit(f"venv: {error}")
    except KeyboardInterrupt:
        sys.exit("venv: stopped")
