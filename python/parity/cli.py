"""The command: runs the generators over many seeds, in several processes, and prints a line for each class."""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import pkgutil
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from . import harness, table
from .harness import GENERATION, REGISTRY, ROOT, Outcome, Registered, run_case

CHUNK = 10
MOST_REASONS = 20


def load_cases(only: str = "") -> list[str]:
    """Imports every module of cases whose name contains `only`.

    The answer is the libraries that are not installed, whose modules were skipped.
    """
    import parity

    absent = []
    for module in pkgutil.iter_modules(parity.__path__):
        if module.name.startswith("cases_") and only in module.name:
            try:
                importlib.import_module(f"parity.{module.name}")
            except ModuleNotFoundError as error:
                if error.name is None or error.name.split(".")[0] in ("parity", "seaworthy_export"):
                    raise
                absent.append(f"{module.name} needs {error.name}")
    return absent


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the suite; the exit code is 1 when a case fails."""
    parser = argparse.ArgumentParser(prog="python -m parity", description=__doc__)
    parser.add_argument(
        "--classes", default="", metavar="PATTERN", help="a regular expression that the name must contain"
    )
    parser.add_argument("--cases", type=int, default=20, help="how many a class (default: 20)")
    parser.add_argument("--pipelines", type=int, default=None, help="how many random pipelines (default: as --cases)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, default=None, metavar="N", help="only the case of this number")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--failures", type=int, default=3, help="how many are printed in full for a class (default: 3)")
    parser.add_argument(
        "--results", type=Path, default=None, metavar="DIR", help="keep the results here, a file a generation"
    )
    parser.add_argument(
        "--table", type=Path, default=None, metavar="FILE", help="write the table of all results in --results"
    )
    parser.add_argument(
        "--module", default="", metavar="NAME", help="only the modules of cases with this in their name"
    )
    options = parser.parse_args(arguments)
    absent = load_cases(options.module)
    for line in absent:
        print(f"skipped: {line}, which is not installed")
    wanted = [
        entry for name, entry in sorted(REGISTRY.items())
        if re.search(options.classes, name) and GENERATION in entry.generations
    ]  # fmt: skip
    if not wanted:
        print(f"no class matches {options.classes!r}")
        return 1
    if not Path(harness.binary()).is_file():
        print(f"no binary at {harness.binary()}: `cargo build`, or say where it is by SEAWORTHY_BIN")
        return 1
    started = time.monotonic()
    results = run(wanted, options)
    seconds = time.monotonic() - started
    failed = sum(len(entry["failures"]) for entry in results.values())
    cases = sum(entry["cases"] for entry in results.values())
    print(f"{len(results)} classes, {cases} cases, {failed} failed, seed {options.seed}, {GENERATION}, {seconds:.0f} s")
    if options.results is not None:
        table.write_results(options.results, results, options.seed)
    if options.table is not None:
        lacking = table.write_table(options.table, options.results or ROOT / "target" / "parity")
        if lacking:
            print(f"{options.table} is left as it is: there are no results of the generation {', '.join(lacking)}")
    return 1 if failed else 0


def run(wanted: Sequence[Registered], options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Runs the cases of these classes; a line is printed when a class is done."""
    jobs = []
    for entry in wanted:
        n_cases = options.cases
        if entry.family == "pipelines" and options.pipelines is not None:
            n_cases = options.pipelines
        numbers = range(n_cases)
        if options.case is not None:
            numbers = range(options.case, options.case + 1)
        jobs += [(entry.name, options.seed, numbers[i : i + CHUNK]) for i in range(0, len(numbers), CHUNK)]
    left = {entry.name: sum(1 for job in jobs if job[0] == entry.name) for entry in wanted}
    outcomes: dict[str, list[tuple[int, Outcome]]] = {entry.name: [] for entry in wanted}
    results = {}
    for name, found in _map(jobs, options.jobs):
        outcomes[name] += found
        left[name] -= 1
        if left[name] == 0:
            results[name] = summary(REGISTRY[name], sorted(outcomes[name], key=lambda pair: pair[0]))
            report(name, results[name], options)
    return dict(sorted(results.items()))


def _map(jobs: Sequence[tuple[str, int, range]], n_jobs: int) -> Iterable[tuple[str, list[tuple[int, Outcome]]]]:
    if n_jobs <= 1 or len(jobs) == 1:
        yield from map(_run_chunk, jobs)
        return
    with multiprocessing.get_context("fork").Pool(n_jobs) as pool:
        yield from pool.imap_unordered(_run_chunk, jobs)


def _run_chunk(job: tuple[str, int, range]) -> tuple[str, list[tuple[int, Outcome]]]:
    name, seed, numbers = job
    outcomes = []
    # Several threads only get in the way of the other processes, on frames this small.
    with threadpool_limits(1):
        for number in numbers:
            started = time.monotonic()
            outcome = run_case(REGISTRY[name], seed, number)
            outcome.seconds = time.monotonic() - started
            outcomes.append((number, outcome))
    return name, outcomes


def summary(registered: Registered, outcomes: Sequence[tuple[int, Outcome]]) -> dict[str, Any]:
    """What is said of a class: counts, the largest difference, the parameters that took more than one value."""
    values: dict[str, set[str]] = {}
    steps: set[str] = set()
    for _, outcome in outcomes:
        for key, value in outcome.parameters.items():
            values.setdefault(key, set()).add(value)
        steps.update(outcome.steps[1:])
    good = [outcome for _, outcome in outcomes if not outcome.failure]
    return {
        "family": registered.family,
        "note": registered.note,
        "cases": len(outcomes),
        "rows": sum(outcome.rows for outcome in good),
        "refused": sum(outcome.refused for outcome in good),
        "unsupported": sum(bool(outcome.unsupported) for outcome in good),
        "redraws": sum(outcome.redraws for _, outcome in outcomes),
        "difference": max((outcome.difference for outcome in good), default=0.0),
        "tolerance": max((outcome.tolerance for outcome in good), default=0.0),
        "absolute": max((outcome.absolute for outcome in good), default=0.0),
        "cells": sum(outcome.cells for outcome in good),
        "cancelled": sum(outcome.cancelled for outcome in good),
        "edges": sum(outcome.edges for outcome in good),
        "names": dict(Counter(outcome.names for outcome in good if outcome.names)),
        "reasons": sorted({outcome.reason for outcome in good if outcome.reason}),
        "parameters": sorted(key for key, found in values.items() if len(found) > 1),
        "steps": sorted(steps),
        "seconds": round(sum(outcome.seconds for _, outcome in outcomes), 1),
        "refusals": sorted({outcome.unsupported for outcome in good if outcome.unsupported})[:MOST_REASONS],
        "failures": [{"case": number, **asdict(outcome)} for number, outcome in outcomes if outcome.failure],
    }


def report(name: str, found: dict[str, Any], options: argparse.Namespace) -> None:
    """Prints the line of a class, and its first failures."""
    extra = "".join(f", {found[key]} {key}" for key in ("unsupported", "redraws") if found[key])
    if found["cancelled"]:
        extra += f", {found['cancelled']} of {found['cells']} cells by rounding, at most {found['absolute']:.2g}"
    if found["edges"]:
        extra += f", {found['edges']} cells at an edge"
    extra += "".join(f", names {how} {n}" for how, n in sorted(found["names"].items()) if how != "equal")
    verdict = f"{len(found['failures'])} FAILED" if found["failures"] else "ok"
    print(
        f"{verdict:>9}  {name}: {found['cases']} cases, {found['rows']} rows, {found['refused']} refused, "
        f"largest difference {found['difference']:.2g}{extra}, {found['seconds']:.0f} s",
        flush=True,
    )
    for failure in found["failures"][: options.failures]:
        print(f"    case {failure['case']}: " + failure["failure"].rstrip().replace("\n", "\n    "))
        print(
            f"    again: python -m parity --classes '^{re.escape(name)}$' --seed {options.seed} "
            f"--case {failure['case']}\n",
            flush=True,
        )
    if len(found["failures"]) > options.failures:
        rest = [str(failure["case"]) for failure in found["failures"][options.failures :]]
        print(f"    and the cases {', '.join(rest[:30])}", flush=True)
