"""Checks alerts and dashboards: that each metric and label that they name is in docs/metrics.md, which a test compares with the program.

What Prometheus itself thinks of the rules is asked as well where promtool is installed (Debian's package prometheus has it).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parent
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
TESTS = DEPLOY / "prometheus" / "alerts.test.yaml"
DASHBOARD = DEPLOY / "grafana" / "seaworthy.json"

# What Prometheus adds to every sample.
ADDED = {"instance", "job"}


def table() -> dict[str, set[str]]:
    """The labels of every sample, by its name: a histogram has three."""
    samples: dict[str, set[str]] = {}
    text = (DEPLOY.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", text, re.MULTILINE):
        own = set(re.findall(r"`(\w+)`", labels)) | ADDED
        if kind == "histogram":
            samples |= {f"{name}_bucket": own | {"le"}, f"{name}_sum": own, f"{name}_count": own}
        else:
            samples[name] = own
    return samples


def problems(expression: str, samples: dict[str, set[str]]) -> list[str]:
    """What is wrong with the names in an expression."""
    plain = re.sub(r'"[^"]*"', '""', expression)
    names = re.findall(r"\b(?:seaworthy|process)_\w+", plain)
    errors = [f"there is no metric {name}" for name in names if name not in samples]
    for name, matchers in re.findall(r"\b((?:seaworthy|process)_\w+)\{([^}]*)\}", plain):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        errors += [f"{name} has no label {label}" for label in sorted(labels - samples.get(name, labels))]
    known = set().union(*(samples.get(name, set()) for name in names))
    for labels in re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", plain):
        unknown = {label.strip() for label in labels.split(",")} - known
        errors += [f"none of the metrics in {expression} has the label {label}" for label in sorted(unknown)]
    return errors + ([] if names else [f"{expression} names no metric"])


def rules(samples: dict[str, set[str]]) -> list[str]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    errors = [error for group in groups for rule in group["rules"] for error in problems(rule["expr"], samples)]
    if promtool := shutil.which("promtool"):
        for command in (["check", "rules", str(ALERTS)], ["test", "rules", str(TESTS)]):
            done = subprocess.run([promtool, *command], capture_output=True, text=True, check=False)
            errors += [] if done.returncode == 0 else [done.stdout.strip() + done.stderr.strip()]
    return errors


def dashboard(samples: dict[str, set[str]]) -> list[str]:
    board: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    errors = [e for panel in panels for target in panel["targets"] for e in problems(target["expr"], samples)]
    errors += [f"panel {panel['title']!r} has no query" for panel in panels if not panel["targets"]]
    ids = [panel["id"] for panel in board["panels"]]
    errors += ["two panels share an id"] if len(set(ids)) < len(ids) else []
    areas = [panel["gridPos"] for panel in board["panels"]]
    errors += ["a panel is too wide"] if any(area["x"] + area["w"] > 24 for area in areas) else []
    used = json.dumps(board["panels"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            name, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
            errors += [] if label in samples.get(name, set()) else [f"{name} has no label {label}"]
        name = variable["name"]
        errors += [] if f"${name}" in used or f"${{{name}}}" in used else [f"the variable {name} is not used"]
    return errors


def check() -> list[tuple[Path, list[str]]]:
    """What is wrong with each file."""
    samples = table()
    # A check that finds nothing in what is wrong would prove nothing.
    assert problems("rate(seaworthy_request_total[5m])", samples) == ["there is no metric seaworthy_request_total"]
    assert len(problems('sum by (path) (seaworthy_requests_total{code="200"})', samples)) == 2
    assert problems("seaworthy_batch_rows", samples) == ["there is no metric seaworthy_batch_rows"]
    return [(ALERTS, rules(samples)), (DASHBOARD, dashboard(samples))]
