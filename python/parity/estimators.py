"""Estimators over HTTP against the libraries that fitted them, and the table docs/estimators.md.

    python -m parity.estimators [--only PATTERN] [--rows 1000] [--table FILE]

Each case is fitted on made-up rows, exported, and served, all by one `seaworthy serve`; random rows are sent to it in
batches of several sizes. Labels must be equal. Numbers must be within 1e-12 and 1e-12 relative for graphs that compute
in float64, and within 1e-6 and 1e-5 relative where the library itself, or the graph of another converter, computes in
float32.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seaworthy_export import ExportError, export
from seaworthy_export.graph import build_graph
from seaworthy_export.outputs import Outputs, describe

from .estimator_cases import CASES, Estimator, frames
from .harness import GENERATION, ROOT, binary

TOLERANCES = {"float64": (1e-12, 1e-12), "float32": (1e-6, 1e-5)}
BATCHES = (1, 2, 7, 90, 400, 500)
LIBRARIES = ("scikit-learn", "xgboost-cpu", "xgboost", "lightgbm", "catboost", "skl2onnx", "onnxruntime", "numpy")


@dataclass
class Result:
    """What came of one case."""

    case: Estimator
    way: str = ""
    precision: str = ""
    rows: int = 0
    absolute: float = 0.0
    relative: float = 0.0
    wrong_labels: int = 0
    outside: int = 0
    failure: str = ""
    columns: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether labels are equal and numbers within the tolerance."""
        return not self.failure and self.wrong_labels == 0 and self.outside == 0


def available(case: Estimator) -> str:
    """Why the case cannot be run here; empty when it can."""
    if case.library and importlib.util.find_spec(case.library) is None:
        return f"{case.library} is not installed"
    if not is_of_here(case):
        return "this version of scikit-learn does not have it"
    return ""


def is_of_here(case: Estimator) -> bool:
    """Whether this version of scikit-learn has it."""
    return not case.generations or GENERATION in case.generations


def run(cases: Sequence[Estimator], n_rows: int) -> list[Result]:
    """Fits and exports the cases, serves them together and compares."""
    results, fitted = [], {}
    with tempfile.TemporaryDirectory() as scratch:
        for case in cases:
            result = Result(case)
            results.append(result)
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    fitted[case.name] = _export(case, result, n_rows, Path(scratch))
            except ExportError as error:
                result.failure = str(error)
        with serving(Path(scratch)) as url:
            for result in results:
                if result.failure:
                    continue
                model, described, rows = fitted[result.case.name]
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    _compare(result, model, described, rows, url)
    return results


def _export(case: Estimator, result: Result, n_rows: int, directory: Path) -> tuple[Any, Outputs, pd.DataFrame]:
    train, y, test = frames(case, n_rows)
    model = case.make()
    model.fit(train) if y is None else model.fit(train, y)
    path = export(
        model,
        name=case.name,
        version="1.0.0",
        inputs=train,
        models_dir=directory,
        golden_rows=12,
        fields={label: {"nullable": True} for label in train.columns if train[label].isna().any()},
        created="2024-02-29T12:00:00Z",
        **case.options,
    )
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    result.precision = manifest["model"]["precision"]
    features, inner = train.to_numpy(dtype=np.float64), getattr(model, "regressor_", model)
    described = describe(inner, features)
    result.way = build_graph(inner, features, described).way
    return model, described, test


def _compare(result: Result, model: Any, described: Outputs, rows: pd.DataFrame, url: str) -> None:
    sent = [{k: None if np.isnan(v) else float(v) for k, v in row.items()} for row in rows.to_dict("records")]
    answers: dict[str, list[Any]] = {"predictions": [], "probabilities": []}
    at = 0
    for size in BATCHES:
        part = sent[at : at + size]
        at += size
        if part:
            found = post(f"{url}/v1/models/{result.case.name}/predict", {"inputs": part})
            answers["predictions"] += found["predictions"]
            answers["probabilities"] += found.get("probabilities") or []
    result.rows = len(answers["predictions"])
    frame = rows.iloc[: result.rows]
    absolute, relative = TOLERANCES[result.precision]
    if described.kind == "prediction":
        numbers = np.asarray(model.predict(frame), dtype=np.float64).reshape(len(frame), -1)
        got = np.asarray(answers["predictions"], dtype=np.float64).reshape(len(frame), -1)
    else:
        labels, probabilities = described.answers(model, frame, lambda v: v)
        expected = [json_label(label) for label in labels]
        result.wrong_labels = sum(a != b for a, b in zip(expected, answers["predictions"]))
        if probabilities is None or described.keys is None:
            return
        numbers = probabilities
        got = np.array([[row[key] for key in described.keys] for row in answers["probabilities"]])
    difference = np.abs(got - numbers)
    result.absolute = float(difference.max())
    # Of numbers that are next to nothing the relative difference says nothing.
    sizes = np.maximum(np.abs(numbers), 1e-6 * np.abs(numbers).max())
    result.relative = float((difference / sizes).max())
    result.outside = int((difference > absolute + relative * np.abs(numbers)).any(axis=1).sum())


def json_label(label: Any) -> Any:
    """A label as the answer has it."""
    return label.item() if isinstance(label, np.generic) else label


def post(url: str, body: Mapping[str, Any]) -> Any:
    """The answer to a POST of JSON."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


@contextlib.contextmanager
def serving(models: Path) -> Iterator[str]:
    """A server of all models of a directory; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    first = next(iter(sorted(path.name for path in models.iterdir())), "")
    environment = {
        **os.environ,
        "PORT": str(port),
        "ORT_DISABLE_TELEMETRY": "1",
        "SEAWORTHY__MODELS__DIR": str(models),
        "SEAWORTHY__MODELS__DEFAULT": first,
        "SEAWORTHY__LOG__PREDICTIONS": "none",
        "SEAWORTHY__SERVER__DRAIN_DELAY_MS": "0",
    }
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [binary(), "serve"], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=errors
        )
        try:
            url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 300
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health/ready", timeout=5) as answer:
                    if answer.status == 200:
                        break
                if process.poll() is not None or time.monotonic() > deadline:
                    errors.seek(0)
                    raise RuntimeError(f"the server is not ready:\n{errors.read().decode(errors='replace')}")
                time.sleep(0.1)
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def render(results: Sequence[Result]) -> str:
    """The page."""
    lines = [
        "# Estimators",
        "",
        "<!-- Written by `make estimators`; do not edit. -->",
        "",
        "Each is fitted on made-up rows, exported, served by one `seaworthy serve`, and asked over HTTP in batches of",
        f"1 to {max(BATCHES)} rows that the fit did not see. Labels are equal in every row. **way** says who writes",
        "the graph: the exporter itself, or skl2onnx. **absolute** and **relative** are the largest differences to",
        "Python's `predict_proba`, or to `predict` of a regressor; the relative one is of numbers that are not next to",
        "nothing beside the largest. A difference is within 1e-12 and 1e-12 relative for a graph in float64, 1e-6 and",
        "1e-5 relative in float32; 0 means the same bits.",
        "",
    ]
    found = []
    for library in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{library} {importlib.metadata.version(library)}")
    lines += [", ".join(found) + ".", ""]
    for family in dict.fromkeys(result.case.family for result in results):
        lines += [
            f"## {family}",
            "",
            "| estimator | answer | way | type | rows | absolute | relative |",
            "|---|---|---|---|---|---|---|",
        ]
        notes = []
        for result in results:
            case = result.case
            if case.family != family:
                continue
            numbers = [f"{result.absolute:.1e}", f"{result.relative:.1e}"] if case.kind != "label" else ["", ""]
            numbers = ["0" if number == "0.0e+00" else number for number in numbers]
            cells = [case.title, case.kind, result.way, result.precision, str(result.rows), *numbers]
            lines.append("| " + " | ".join(cells) + " |")
            if case.note:
                notes.append(f"- {case.title}: {case.note}")
        lines += ["", *notes, *([""] if notes else [])]
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the cases; the exit code is 1 when one fails."""
    parser = argparse.ArgumentParser(prog="python -m parity.estimators", description=__doc__)
    parser.add_argument("--only", default="", metavar="PATTERN", help="a regular expression that the name must contain")
    parser.add_argument("--rows", type=int, default=sum(BATCHES), help="how many each is asked")
    parser.add_argument("--table", type=Path, default=None, metavar="FILE", help="write the table")
    options = parser.parse_args(arguments)
    logging.getLogger("seaworthy_export").setLevel(logging.WARNING)
    of_here = [case for case in CASES if is_of_here(case)]
    wanted = [case for case in of_here if re.search(options.only, case.name)]
    if not wanted:
        print(f"no estimator matches {options.only!r}; there are: {', '.join(case.name for case in of_here)}")
        return 1
    lacking = {case.name: why for case in wanted if (why := available(case))}
    for name, why in lacking.items():
        print(f"skipped: {name}: {why}")
    results = run([case for case in wanted if case.name not in lacking], options.rows)
    for result in results:
        said = "ok" if result.good else "FAILED"
        print(
            f"{said:6} {result.case.name}: {result.way}, {result.precision}, {result.rows} rows, absolute "
            f"{result.absolute:.2g}, relative {result.relative:.2g}, wrong labels {result.wrong_labels}, "
            f"outside {result.outside}{': ' + result.failure if result.failure else ''}"
        )
    good = all(result.good for result in results)
    if options.table is not None and (lacking or not good):
        print(f"{options.table} is left as it is: a case failed or was skipped")
    elif options.table is not None:
        options.table.write_text(render(results), encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
