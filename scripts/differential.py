#!/usr/bin/env python3
"""Compares the newest version of each model with the one that was released last, on the same rows.

    python3 scripts/differential.py target/debug/seaworthy [--tolerance 0.01]

Released is what the last tag `v…` holds in models/; before the first tag it is house-prices 3.2.0, the model of the published
Python package. The rows are those of tests/data/NAME. More than the tolerance, on a single row, is exit code 1: then the new
model is either wrong or a decision, and `make differential TOLERANCE=0.05` records the latter. Needs git and Python 3.9 or newer.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from smoke import ROOT, Failure

BEFORE_THE_FIRST_TAG = {"house-prices": "3.2.0"}
ROWS = ["test.csv", "test.ndjson", "validation.csv"]


def git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)


def version_key(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.split("-")[0].split("."))


def highest(folder: Path) -> Path:
    return max((path for path in folder.iterdir() if path.is_dir()), key=version_key)


def released(folder: Path) -> tuple[str, dict[str, Path]]:
    """What is called released, and the artifact of each of its models."""
    tag = git("describe", "--tags", "--abbrev=0", "--match=v*")
    if tag.returncode != 0:
        found = {name: ROOT / "models" / name / version for name, version in BEFORE_THE_FIRST_TAG.items()}
        return "the published package", found
    name = tag.stdout.decode().strip()
    archive = git("archive", name, "models")
    if archive.returncode != 0:
        raise Failure(f"`git archive {name} models`: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder)
    return name, {path.name: highest(path) for path in sorted((folder / "models").iterdir()) if path.is_dir()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.01, help="relative, of each prediction (default: 0.01)")
    arguments = parser.parse_args()
    worst = compared = 0
    with tempfile.TemporaryDirectory() as folder:
        label, models = released(Path(folder))
        for name, old in models.items():
            rows = [path for path in (ROOT / "tests" / "data" / name / file for file in ROWS) if path.is_file()]
            if not rows or not (ROOT / "models" / name).is_dir():
                print(f"differential: {name} {old.name} of {label}: no rows, or no model any more")
                continue
            new = highest(ROOT / "models" / name)
            print(
                f"differential: {name} {old.name} of {label} -> {new.name}, on {rows[0].relative_to(ROOT)}", flush=True
            )
            command = [arguments.program.resolve(), "diff", old, new, "--data", rows[0], "--worst", "3"]
            command += ["--rel-tol", str(arguments.tolerance)]
            compared += 1
            worst = max(worst, subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode)
    if not compared:
        raise Failure("there is nothing to compare")
    return worst


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, OSError) as failure:
        sys.exit(f"differential: {failure}")
