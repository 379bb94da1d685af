#!/usr/bin/env python3
"""Writes the table and the figures of docs/reliability.md from what tests and `make chaos` have left in target/.

    python3 scripts/reliability.py            after `cargo test` and `make chaos`: writes the page
    python3 scripts/reliability.py --check    whether the page has each test that provokes a fault, and no other

A test in Rust leaves its row by `fault!` (tests/support/fault.rs), a script by `fault(…)` (scripts/chaos.py). A row whose test was not
run is kept as the page has it. Needs Python 3.9 or newer and nothing else.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, Optional

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
PLOT = ROOT / "docs" / "overload.svg"
FAULTS, CHAOS = ROOT / "target" / "faults", ROOT / "target" / "chaos"
FUZZ_LOGS = ROOT / "target" / "fuzz-logs"
COLUMNS = ("fault", "provoked", "expected", "seen")
# In this order; what is not here comes before the last.
AREAS = ("limits", "hygiene", "connections", "faults", "loading", "shutdown", "access", "records", "chaos")


class Failure(Exception):
    """A sentence for the person who ran this."""


def tests() -> list[str]:
    """The names of all tests and scripts that provoke a fault, as they stand in the sources."""
    found = []
    for file in sorted((ROOT / "tests").rglob("*.rs")):
        if "support" in file.parts:
            continue
        inside = file.relative_to(ROOT / "tests").with_suffix("").parts
        module = "::".join(part for part in inside if part != "main")
        name = None
        for line in file.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"\s*(?:async )?fn (\w+)\(", line):
                name = match.group(1)
            elif re.match(r"\s*fault!\(", line):
                found.append(f"{module}::{name}")
    for file in sorted((ROOT / "scripts").glob("chaos*.py")):
        found += [
            f"chaos::{name}" for name in re.findall(r'^ +fault\(\s*"(\w+)"', file.read_text(encoding="utf-8"), re.M)
        ]
    return found


def cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def on_page(text: str) -> dict[str, dict[str, str]]:
    """The rows that the page has, by their tests."""
    rows = {}
    for line in section(text, "faults").splitlines():
        row = cells(line)
        if len(row) == 5 and row[4].startswith("`"):
            rows[row[4].strip("`")] = dict(zip(COLUMNS, row))
    return rows


def markers(name: str) -> tuple[str, str]:
    return f"<!-- {name}: begin, written by scripts/reliability.py -->", f"<!-- {name}: end -->"


def section(text: str, name: str) -> str:
    begin, end = markers(name)
    if begin not in text or end not in text:
        raise Failure(f"docs/reliability.md lacks the markers of `{name}`")
    return text.split(begin, 1)[1].split(end, 1)[0]


def replace(text: str, name: str, new: str) -> str:
    begin, _ = markers(name)
    old = section(text, name)
    start = text.index(begin) + len(begin)
    return f"{text[:start]}\n{new}{text[start + len(old) :]}"


def order(test: str) -> tuple[int, str]:
    area = test.split("::")[1] if test.split("::")[0] == "api" else test.split("::")[0]
    place = AREAS.index(area) if area in AREAS else len(AREAS) - 1.5
    return int(place * 2), test


def table(text: str) -> tuple[str, list[str]]:
    """The table, and the tests that were never run."""
    known = on_page(text)
    lines = ["| fault | how provoked | expected | seen | test |\n|---|---|---|---|---|\n"]
    missing = []
    for test in sorted(tests(), key=order):
        file = FAULTS / f"{test.replace('::', '-')}.json"
        row = json.loads(file.read_text(encoding="utf-8")) if file.exists() else known.get(test)
        if row is None:
            missing.append(test)
            continue
        shown = " | ".join(row[column].replace("|", "\\|") for column in COLUMNS)
        lines.append(f"| {shown} | `{test}` |\n")
    return "".join(lines), missing


def figures(name: str) -> Optional[dict[str, Any]]:
    file = CHAOS / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def ms(value: Optional[float]) -> str:
    return "" if value is None or value != value else f"{value:,.2f}"


def overload(found: dict[str, Any]) -> str:
    unloaded = found["unloaded"]
    lines = [
        f"`{found['command']}`; {found['machine']}\n\n"
        f"Default settings, a model whose pictures take some milliseconds each. *Unloaded* is as many clients as there are processors, each of "
        f"which asks again as soon as it has its answer: nobody waits, and all of the capacity is used. {unloaded['clients']} clients: "
        f"{found['capacity']:.0f} requests/s, p50 {ms(unloaded['p50'])} ms, **p99 {ms(unloaded['p99'])} ms**. Then open load, which comes "
        f"whether there are answers or not. The figures are from {found['onset_s']} s after its begin on; what came before that is in the column "
        "of the slowest: until the server knows that it is no burst, the queue is filled.\n\n"
        "![accepted requests and their latency over the offered load](overload.svg)\n\n"
        "| offered, of the capacity | offered/s | accepted/s | p50 ms | p99 ms | of the unloaded | slowest, with the begin | refused/s | p50 ms | p99 ms "
        "| RSS MB | descriptors |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    ]
    for row in found["rows"]:
        lines.append(
            f"| {row['times']:g} | {row['offered']:,.0f} | {row['accepted']:,.0f} | {ms(row['p50'])} | {ms(row['p99'])} | "
            f"{row['p99'] / unloaded['p99']:.1f} | {ms(row['slowest'])} | {row['refused']:,.0f} | {ms(row['refused_p50'])} | "
            f"{ms(row['refused_p99'])} | {row['rss']:.0f} | {row['descriptors']} |\n"
        )
    lines.append(
        "\nRight after that flood, few clients without a break, on the same server:\n\n"
        "| clients | requests | refused | p99 ms |\n|---:|---:|---:|---:|\n"
    )
    lines += [
        f"| {row['clients']} | {row['requests']:,} | {row['refused']} | {ms(row['p99'])} |\n" for row in found["bursts"]
    ]
    lines.append(
        "\nClosed load on house-prices, which runs in the threads of the requests: each client asks again as soon as it has its answer.\n\n"
        "| clients | accepted/s | p50 ms | p99 ms | refused/s | RSS MB |\n|---:|---:|---:|---:|---:|---:|\n"
    )
    for row in found["closed"]:
        lines.append(
            f"| {row['clients']:,} | {row['accepted']:,.0f} | {ms(row['p50'])} | {ms(row['p99'])} | {row['refused']:,.0f} | {row['rss']:.0f} |\n"
        )
    return "".join(lines)


def plot(rows: list[dict[str, Any]], unloaded: float) -> str:
    """Accepted requests per second and p99 of the accepted ones, over the offered load."""
    width, height, left, top, bottom = 640, 300, 60, 30, 250
    xs = [left + 520 * row["times"] / 10 for row in rows]

    def curve(key: str, colour: str, most: float) -> str:
        points = [(x, bottom - (bottom - top) * row[key] / most) for x, row in zip(xs, rows)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
        return f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}'

    rate = max(row["accepted"] for row in rows) * 1.1
    slow = max(max(row["p99"] for row in rows), 3 * unloaded) * 1.1
    limit = bottom - (bottom - top) * 3 * unloaded / slow
    ticks = "".join(
        f'<text x="{left + 52 * n}" y="268" text-anchor="middle">{n}</text>' for n in (0, 1, 2, 5, 10)
    )  # fmt: skip
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
        f'<path d="M{left} {top}V{bottom}H{left + 520}" fill="none" stroke="black"/>'
        f'<line x1="{left}" x2="{left + 520}" y1="{limit:.1f}" y2="{limit:.1f}" stroke="#c44" stroke-dasharray="4"/>'
        f'<text x="{left + 516}" y="{limit - 4:.1f}" text-anchor="end" fill="#c44">three times the unloaded p99</text>'
        f"{curve('accepted', '#36a', rate)}{curve('p99', '#c44', slow)}{ticks}"
        f'<text x="{left + 260}" y="288" text-anchor="middle">offered load, in multiples of the capacity</text>'
        f'<text x="{left}" y="20" fill="#36a">accepted/s, up to {rate / 1.1:,.0f}</text>'
        f'<text x="{left + 520}" y="20" text-anchor="end" fill="#c44">p99 of the accepted, up to {slow / 1.1:,.1f} ms</text></svg>\n'
    )


def soak(found: dict[str, Any]) -> str:
    lines = [
        f"`{found['command']}`; {found['machine']}\n\n"
        f"{found['requests']:,} requests over 64 connections in {found['seconds']:,.0f} s, none failed; "
        f"{found['before']} descriptors before, {found['after']} after.\n\n| requests | RSS MB | descriptors |\n|---:|---:|---:|\n"
    ]
    lines += [f"| {row['requests']:,} | {row['rss']:.1f} | {row['descriptors']} |\n" for row in found["samples"]]
    return "".join(lines)


def rolling(found: dict[str, Any]) -> str:
    return (
        f"`{found['command']}`; {found['machine']}\n\n"
        f"{found['requests']:,} requests through nginx to two copies, {found['restarts']} restarts meanwhile: none failed. The slowest "
        f"took {found['slowest_ms']:,.0f} ms; a copy took {found['longest_stop_seconds']:.1f} s at most from SIGTERM to its end.\n"
    )


def fuzzing() -> str:
    """A table of the runs of `make fuzz` whose logs are there; empty when there are none."""
    lines = []
    for log in sorted(FUZZ_LOGS.glob("*.log")):
        text = log.read_text(encoding="utf-8", errors="replace")
        done = re.search(r"^Done (\d+) runs in (\d+) second", text, re.MULTILINE)
        reached = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)/(\w+)", text)
        findings = len(re.findall(r"^==\d+== ?ERROR|^SUMMARY: ", text, re.MULTILINE))
        if not done or not reached:
            raise Failure(f"{log.relative_to(ROOT)}: the run did not come to its end; see what it says and mend it")
        edges, features, files, size = reached[-1]
        lines.append(
            f"| `{log.stem}` | {int(done.group(2)):,} | {int(done.group(1)):,} | {int(edges):,} | {int(features):,} | "
            f"{int(files):,} ({size}) | {findings} |\n"
        )
    head = "| target | seconds | executions | edges reached | features | corpus | findings |\n|---|---:|---:|---:|---:|---:|---:|\n"
    return head + "".join(lines) if lines else ""


def write() -> None:
    text = PAGE.read_text(encoding="utf-8")
    faults, missing = table(text)
    text = replace(text, "faults", faults)
    for name, shown in (("overload", overload), ("soak", soak), ("rolling", rolling)):
        if found := figures(name):
            text = replace(text, name, shown(found))
    if fuzzed := fuzzing():
        text = replace(text, "fuzz", fuzzed)
    if found := figures("overload"):
        PLOT.write_text(plot(found["rows"], found["unloaded"]["p99"]), encoding="utf-8")
    PAGE.write_text(text, encoding="utf-8")
    if missing:
        raise Failure("not on the page, as they were never run: " + ", ".join(missing))
    print(f"{len(tests())} faults are in docs/reliability.md")


def check() -> None:
    page, sources = set(on_page(PAGE.read_text(encoding="utf-8"))), tests()
    # The long ones are not run by everybody: those that never were are told, and no fault.
    absent = [test for test in sources if test not in page]
    if unseen := [test for test in absent if test.startswith("chaos::")]:
        print("reliability: `make chaos` has never been run for " + ", ".join(unseen))
    problems = [f"{test} is not on the page" for test in absent if not test.startswith("chaos::")]
    problems += [f"{test} is on the page, but in no source" for test in page if test not in sources]
    problems += [f"{test} stands twice in the sources" for test in sources if sources.count(test) > 1]
    if problems:
        raise Failure(
            "docs/reliability.md: " + "; ".join(sorted(set(problems))) + "\nrun the tests, then scripts/reliability.py"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="only compare the page with the sources")
    if parser.parse_args().check:
        check()
    else:
        write()


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"reliability: {failure}")
