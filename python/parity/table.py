"""The results of runs, kept as JSON a generation, and the table that docs/transformers.md is made of."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from . import slack
from .harness import GENERATION, NAMES

ORDER: tuple[str, ...] = ("current", "2023")
MOST_REASONS = 4
LIBRARIES = ("scikit-learn", "feature-engine", "category_encoders", "pandas", "numpy")


def write_results(directory: Path, results: dict[str, dict[str, Any]], seed: int) -> None:
    """Keeps what a run found; classes that it did not run stay as they were."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{GENERATION}.json"
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    libraries = {}
    for library in LIBRARIES:
        try:
            libraries[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    known["libraries"] = libraries
    known.setdefault("classes", {})
    for name, found in results.items():
        known["classes"][name] = {**found, "seed": seed, "failures": len(found["failures"])}
    path.write_text(json.dumps(known, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def write_table(path: Path, directory: Path) -> list[str]:
    """Writes docs/transformers.md from the results of all generations; the answer is those that lack, if any."""
    generations = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(directory.glob("*.json"))}
    lacking = [name for name in ORDER if name not in generations]
    if not lacking:
        path.write_text(render(generations), encoding="utf-8")
    return lacking


def render(generations: dict[str, Any]) -> str:
    """The page."""
    order = [name for name in ORDER if name in generations]
    lines = [
        "# Transformers",
        "",
        "<!-- Written by `make parity`; do not edit. -->",
        "",
        "What `seaworthy_export` reads and the Rust pipeline reproduces. For each class a generator draws parameters",
        "and data, the real library is fitted and asked row by row, `seaworthy transform` runs the export, and the",
        "two are compared: columns and their names, categories, integers, missing values, floats within the tolerance,",
        "and an error exactly where the original raises. `make parity` does it again; what it prints says how to run",
        "one case alone.",
        "",
    ]
    for name in order:
        versions = ", ".join(f"{library} {version}" for library, version in generations[name]["libraries"].items())
        seeds = sorted({int(found["seed"]) for found in generations[name]["classes"].values()})
        lines.append(f"- `{name}`: {versions}; seed {', '.join(map(str, seeds))}")
    lines += [
        "",
        "**cases** are given for each generation in the order of **versions**, **rows** in all, **refused** are the",
        "rows that the original raises on. **difference** is the largest relative one of a float; 0 means the same",
        "bits. Strings, integers and missing values are equal everywhere. **parameters** are those that took more than",
        "one value.",
        "",
        "**rounding**: where large numbers cancel, the last bit of a term is worth more than any relative tolerance,",
        "and each BLAS library, processor and number of rows rounds that bit in its own way. A float outside the",
        "tolerance is then held to the first-order bound on what rounding does: every number that goes into every step",
        f"of the original is moved by {slack.MOVE:.1g} of itself (4 units in the last place), the original computes",
        "the rest from there, and what comes of all the moves is added up. The column says how many floats needed that",
        "and the largest absolute difference among them; empty means that none did. A number that falls on the edge of",
        "a bin, or of anything else that jumps, goes to either side by that bit; the answer must then be one that the",
        "original gives after one of the moves, and the notes count them.",
        "",
        "JSON has no infinite numbers, so none is asked; those that steps make of finite ones are compared.",
    ]
    families: dict[str, dict[str, dict[str, Any]]] = {}
    for generation in order:
        for name, found in generations[generation]["classes"].items():
            families.setdefault(found["family"], {}).setdefault(name, {})[generation] = found
    for family in sorted(families, key=lambda family: (family == "pipelines", family)):
        lines += [
            "",
            f"## {family.capitalize()}",
            "",
            "| class | versions | parameters | cases | rows | refused | difference | tolerance | rounding |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        notes = []
        for name, entries in sorted(families[family].items()):
            parameters = sorted({p for found in entries.values() for p in found["parameters"]})
            if family == "pipelines":
                parameters = []
            tolerance = max(found["tolerance"] for found in entries.values())
            absolute = max(found["absolute"] for found in entries.values())
            difference = max(found["difference"] for found in entries.values())
            reasons = sorted({reason for found in entries.values() for reason in found["reasons"]})
            failures = sum(found["failures"] for found in entries.values())
            cancelled = _sum(entries, "cancelled")
            rounding = f"{cancelled} of {_sum(entries, 'cells')}, {absolute:.1e}" if cancelled else ""
            said = f"{tolerance:g}" + (": " + "; ".join(reasons) if reasons else "")
            note = next((found["note"] for found in entries.values() if found["note"]), "")
            if note:
                notes.append(f"- `{name}`: {note}")
            unsupported = sum(found["unsupported"] for found in entries.values())
            if unsupported:
                found_reasons = {_reason(refusal) for found in entries.values() for refusal in found["refusals"]}
                notes.append(
                    f"- `{name}`: {unsupported} of the cases drawn were refused by the exporter: "
                    + "; ".join(sorted(found_reasons)[:MOST_REASONS])
                    + ("; …" if len(found_reasons) > MOST_REASONS else ".")
                )
            edges = sum(found["edges"] for found in entries.values())
            if edges:
                notes.append(f"- `{name}`: {edges} cells where the last bit decides of a bin, or of rows equally near.")
            names: Counter[str] = Counter()
            for found in entries.values():
                names.update(found["names"])
            for how, said_of_names in NAMES.items():
                if names[how] and said_of_names:
                    notes.append(f"- `{name}`: names in {names[how]} cases: {said_of_names}.")
            if failures:
                notes.append(f"- `{name}`: **{failures} cases FAILED.**")
            counts = " + ".join(str(found["cases"]) for found in entries.values())
            cells = [
                f"`{name}`", ", ".join(entries), ", ".join(f"`{p}`" for p in parameters), counts,
                _sum(entries, "rows"), _sum(entries, "refused"), f"{difference:.1e}" if difference else "0", said,
                rounding,
            ]  # fmt: skip
            lines.append(f"| {' | '.join(map(str, cells))} |")
        if notes:
            lines += ["", *notes]
        steps = sorted({step for entries in families[family].values() for f in entries.values() for step in f["steps"]})
        if family == "pipelines" and steps:
            lines += ["", "Classes within the random pipelines: " + ", ".join(f"`{step}`" for step in steps) + "."]
    return "\n".join(lines) + "\n"


def _sum(entries: dict[str, dict[str, Any]], key: str) -> int:
    return sum(int(found[key]) for found in entries.values())


def _reason(refusal: str) -> str:
    """What the exporter says, without the step, the values and the hint."""
    problem = refusal.splitlines()[0].partition("): ")[2] or refusal.splitlines()[0]
    return re.sub(r"'[^']*'|\[.*?\]|`[^`]*__[^`]*`", "…", problem)[:140]
