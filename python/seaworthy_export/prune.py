"""Takes out of a specification the hashes that nothing uses: of a million columns, a model looks at some thousands.

A vectorizer that hashes has as many columns as its user said, 2**20 by default, and each column has a name in the
manifest. What comes after it (a linear model, a selector, a projection) has weights only for those that training
filled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

from .errors import UnsupportedStepError

MANY = 2000
"""Fewer columns are left as they are."""


def prune_hashes(steps: list[dict[str, Any]], features: Collection[str]) -> None:
    """Leaves of each hashed bag of words the columns that a feature is computed from, in place."""
    if not any(_is_wide(step) for step in steps):
        return
    for step in steps:
        if _is_wide(step) and None in (step.get("idf") or ()):
            # Whatever follows raises on the infinite weight of a text with such a hash, used or not.
            raise UnsupportedStepError(
                f"step `{step['name']}`: the idf of hashes that no training text has is infinite, which the next step "
                "refuses\nhint: fit TfidfTransformer with smooth_idf=True"
            )
    hashed: set[str] = set()
    for step in steps:
        if _is_wide(step):
            hashed.update(step["outputs"])
        elif step["op"] == "copy":
            hashed.update(entry["output"] for entry in step["columns"] if entry["column"] in hashed)
    needed = set(features)
    for step in reversed(steps):
        _need(step, needed, hashed)
    there: set[str] = set()
    for step in list(steps):
        if _is_wide(step):
            there.update(step["outputs"])
        elif step["op"] == "copy":
            there.update(entry["output"] for entry in step["columns"] if entry["output"] in hashed)
        elif step["op"] == "drop":
            step["columns"] = [name for name in step["columns"] if name not in hashed or name in there]
        if step["op"] in ("copy", "drop") and not step["columns"]:
            steps.remove(step)


def _is_wide(step: dict[str, Any]) -> bool:
    return "hash" in step and (len(step["outputs"]) > MANY or "buckets" in step["hash"])


def _need(step: dict[str, Any], needed: set[str], hashed: Collection[str]) -> None:
    """Goes backwards over one step: what is needed after it becomes what is needed before it."""
    op = step["op"]
    if op in ("select", "copy"):
        entries = [(e, e, e) if op == "select" else (e, e["output"], e["column"]) for e in step["columns"]]
        kept = [entry for entry in entries if entry[1] not in hashed or entry[1] in needed]
        step["columns"] = [entry for entry, _, _ in kept]
        needed.difference_update([output for _, output, _ in entries])
        needed.update(column for _, _, column in kept)
    elif op == "project":
        weights = list(zip(*step["matrix"]))
        used = [at for at, name in enumerate(step["columns"]) if name not in hashed or any(weights[at])] or [0]
        step["matrix"] = [[row[at] for at in used] for row in step["matrix"]]
        if "subtract" in step:
            step["subtract"] = [step["subtract"][at] for at in used]
        step["columns"] = [step["columns"][at] for at in used]
        needed.difference_update(step["outputs"])
        needed.update(step["columns"])
    elif _is_wide(step):
        _keep(step, needed)
        needed.update(name for name in _strings(step.get("columns", [])) if name in hashed)
    elif op != "drop":
        needed.update(name for name in _strings(step) if name in hashed)


def _keep(step: dict[str, Any], needed: set[str]) -> None:
    """Leaves of a bag of words what is needed, and those whose idf is not that of most."""
    outputs, idf = step["outputs"], step.get("idf")
    common = Counter(idf).most_common(1)[0][0] if idf else None
    kept = [at for at, name in enumerate(outputs) if name in needed or (idf and idf[at] != common)] or [0]
    needed.difference_update(outputs)
    if len(kept) == len(outputs):
        return
    step["hash"] = {**step["hash"], "size": len(outputs), "buckets": kept}
    if idf:
        if common is not None:
            step["hash"]["other_idf"] = common
        step["idf"] = [idf[at] for at in kept]
    step["outputs"] = [outputs[at] for at in kept]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from _strings(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _strings(entry)
