#!/usr/bin/env python3
"""Counts the instructions of each stage of a request, and writes them into docs/benchmarks.md.

    python3 scripts/bench_profile.py --alone ALONE

`make bench-profile` builds ALONE (benches/alone.rs) and calls this. Counted by callgrind, so the figures hardly depend on the machine and not
at all on its load: a stage is done N times and 2 N times, and the difference divided by N. Needs `valgrind`, and Python 3.9 or newer.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- written by make bench-profile: begin -->", "<!-- written by make bench-profile: end -->"
STAGES = {
    "skip": "`serde_json` skips the body (`IgnoredAny`), for comparison",
    "decode": "decode",
    "pipeline": "pipeline",
    "predict": "pipeline, ONNX Runtime and postprocessing",
    "log": "log: the record, gathered and written",
    "request": "all but the socket and the log, through the router",
}
TIMES = {1: 400, 1_000: 4}


class Failure(Exception):
    """A sentence for the person who ran this."""


def instructions(alone: str, stage: str, rows: int, times: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        found = subprocess.run(
            [*command, alone, "stage", stage, str(rows), str(times)],
            cwd=ROOT, env=dict(os.environ, ORT_DISABLE_TELEMETRY="1"), capture_output=True, text=True, check=False,
        )  # fmt: skip
    match = re.search(r"Collected : (\d+)", found.stderr)
    if found.returncode or not match:
        raise Failure(f"`{stage}` ended with {found.returncode}:\n{found.stderr[-2000:]}")
    return int(match.group(1))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--alone", required=True)
    parser.add_argument("--dry", action="store_true", help="print the table, and leave the document alone")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        raise Failure("`valgrind` is not on the PATH")
    table = "| stage | 1 row | each of 1,000 rows |\n|---|---:|---:|\n"
    for stage, name in STAGES.items():
        cells = []
        for rows, times in TIMES.items():
            more = instructions(options.alone, stage, rows, 2 * times) - instructions(options.alone, stage, rows, times)
            cells.append(f"{more / times / rows:,.0f}")
        line = f"| {name} | {' | '.join(cells)} |\n"
        sys.stderr.write(line)
        table += line
    if options.dry:
        print(table)
        return 0
    document = DOCS.read_text(encoding="utf-8")
    before, rest = document.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    DOCS.write_text(f"{before}{BEGIN}\n{table}{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.stderr.write(f"error: {failure}\n")
        sys.exit(1)
