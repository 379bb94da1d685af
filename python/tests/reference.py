"""A reading of docs/artifact.md in plain Python: artifact and raw rows in, predictions or error codes out.

Written from the document alone. It shares no code with the exporter, so that the tests compare three things with each
other: the fitted Python pipeline, what the exporter wrote, and what the format says it means. One row at a time, one
value at a time; speed is no concern.

To let another implementation stand in for it, give `SEAWORTHY_INTERPRETER` a command: it is called with the artifact's
directory, reads rows as NDJSON from standard input, and answers each with a line `{"features": […], "output": {…}}` or
`{"error": {"field": …, "code": …}}`.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

INT64 = 2**64


class RowError(Exception):
    def __init__(self, code: str, field: str | None) -> None:
        super().__init__(f"{code} at {field}")
        self.code, self.field = code, field


class Cell:
    """A value with the raw fields that it was computed from, and the field whose unseen category made it missing."""

    def __init__(self, value: Any, origins: frozenset[str], unseen: str | None = None) -> None:
        self.value, self.origins, self.unseen = value, origins, unseen


def missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def wrap(number: int) -> int:
    return (number + INT64 // 2) % INT64 - INT64 // 2


class Interpreter:
    def __init__(self, directory: Path) -> None:
        self.manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        path = directory / self.manifest["model"]["file"]
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.order = [field["name"] for field in self.manifest["inputs"]]

    def run(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self.answer(row) for row in rows]

    def answer(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            features = self.features(row)
            return {"features": [None if math.isnan(f) else f for f in features], "output": self.output(features)}
        except RowError as error:
            return {"error": {"field": error.field, "code": error.code}}

    # --- the row ---------------------------------------------------------------------------------------------------

    def decode(self, row: dict[str, Any]) -> dict[str, Cell]:
        cells = {}
        for field in self.manifest["inputs"]:
            name = field["name"]
            found = [key for key in [name, *field.get("aliases", [])] if key in row]
            if len(found) > 1:
                raise RowError("duplicate_key", name)
            if not found and field.get("required", True):
                raise RowError("missing", name)
            value = row[found[0]] if found else field.get("default")
            cells[name] = Cell(self.cell(field, value), frozenset([name]))
        return cells

    def cell(self, field: dict[str, Any], value: Any) -> Any:
        name, kind = field["name"], field["type"]
        if value is None:
            if not field.get("nullable", False):
                raise RowError("null", name)
            return None if kind == "string" else math.nan
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = {"int": number, "float": number, "string": isinstance(value, str), "bool": isinstance(value, bool)}[kind]
        if not fits:
            raise RowError("type", name)
        if kind == "int":
            if value != int(value):
                raise RowError("not_integer", name)
            value = int(value)
            if wrap(value) != value:
                raise RowError("out_of_range", name)
        elif kind == "float":
            value = float(value)
        if field.get("enforce", False):
            if "minimum" in field and value < field["minimum"]:
                raise RowError("minimum", name)
            if "maximum" in field and value > field["maximum"]:
                raise RowError("maximum", name)
            if "categories" in field and value not in field["categories"]:
                raise RowError("category", name)
        return int(value) if kind == "bool" else value

    # --- the pipeline ----------------------------------------------------------------------------------------------

    def features(self, row: dict[str, Any]) -> list[float]:
        frame = self.decode(row)
        for step in self.manifest["pipeline"]:
            frame = getattr(self, "op_" + step["op"])(frame, step)
        cells = [frame[name] for name in self.manifest["features"]]
        assert not any(isinstance(cell.value, str) for cell in cells), "a feature is a category"
        return [math.nan if missing(cell.value) else float(cell.value) for cell in cells]

    def refuse(self, cell: Cell, code: str) -> None:
        if code == "missing_value" and cell.unseen is not None:
            raise RowError("unseen_category", cell.unseen)
        raise RowError(code, self.first(cell))

    def first(self, cell: Cell) -> str:
        return next(name for name in self.order if name in cell.origins)

    def op_check(self, frame: dict[str, Cell], step: dict[str, Any]) -> dict[str, Cell]:
        for name in step["columns"]:
            cell = frame[name]
            value = cell.value
            if missing(value):
                if "missing" in step["refuse"]:
                    self.refuse(cell, "missing_value")
                continue
            if step["refuse"] == ["missing"]:
                continue
            assert not isinstance(value, str), f"{step['name']} checks a category for {step['refuse']}"
            if "infinite" in step["refuse"] and math.isinf(value):
                self.refuse(cell, "infinite_value")
            low, high = step.get("between", (None, None))
            outside = (low is not None and value < low) or (high is not None and value > high)
            domain = {"not_positive": value <= 0, "negative": value < 0, "zero": value == 0, "outside": outside}
            if any(domain[refusal] for refusal in step["refuse"] if refusal in domain):
                self.refuse(cell, "out_of_domain")
        return frame

    def op_fill(self, frame: dict[str, Cell], step: dict[str, Any]) -> dict[str, Cell]:
        for entry in step["columns"]:
            cell = frame[entry["column"]]
            if missing(cell.value):
                frame[entry["column"]] = Cell(entry["value"], cell.origins)
        return frame

    def op_indicate_missing(self, frame: dict[str, Cell], step: dict[str, Any]) -> dict[str, Cell]:
        for entry in step["columns"]:
            cell = frame[entry["column"]]
            assert entry["output"] not in frame
            frame[entry["output"]] = Cell(int(missing(cell.value)), cell.origins)
        return frame

    def op_combine(self, frame: dict[str, Cell], step: dict[str, Any]) -> dict[str, Cell]:
        def operand(side: dict[str, Any]) -> Cell:
            return frame[side["column"]] if "column" in side else Cell(side["constant"], frozenset())

        left, right = operand(step["left"]), operand(step["right"])
        own = step["output"] in (step["left"].get("column"), step["right"].get("column"))
        assert own or step["output"] not in frame
        unseen = left.unseen or right.unseen
        origins = left.origins | right.origins
        if missing(left.value) or missing(right.value):
            frame[step["output"]] = Cell(math.nan, origins, unseen)
            return frame
        a, b = left.value, right.value
        if isinstance(a, int) and isinstance(b, int) and step["operator"] != "divide":
            value: Any = wrap({"add": a + b, "subtract": a - b, "multiply": a * b}[step["operator"]])
        else:
            with np.errstate(all="ignore"):
                x, y = np.float64(a), np.float64(b)
                value = float(getattr(np, step["operator"])(x, y))
        frame[step["output"]] = Cell(value, origins, unseen)
        return frame

    def op_drop(self, frame: dict[str, Cell], step: dict[str, Any]) -> dict[str, Cell]:
        for name in step["columns"]:
            del frame[name]
        return frame

    def op_select(self, frame: dict[str, Cell], step: dict[str, Any]) -> dict[str, Cell]:
        return {name: frame[name] for name in step["columns"]}

    def op_copy(self, frame: dict[str, Cell], step: dict[str, Any]) -> dict[str, Cell]:
        for entry in step["columns"]:
            assert entry["output"] not in frame
            frame[entry["output"]] = frame[entry["column"]]
        return frame

    def op_function(self, frame: dict[str, Cell], step: dict[str, Any]) -> dict[str, Cell]:
        for name in step["columns"]:
            cell = frame[name]
            if not missing(cell.value):
                frame[name] = Cell(function(step["function"], cell.value), cell.origins)
        return frame

    def op_threshold(self, frame: dict[str, Cell], step: dict[str, Any]) -> dict[str, Cell]:
        for entry in step["columns"]:
            cell = frame[entry["column"]]
            if not missing(cell.value):
                frame[entry["column"]] = Cell(1.0 if cell.value > entry["threshold"] else 0.0, cell.origins)
        return frame

    def op_map(self, frame: dict[str, Cell], step: dict[str, Any]) -> dict[str, Cell]:
        for entry in step["columns"]:
            cell = frame[entry["column"]]
            output = entry.get("output", entry["column"])
            assert output == entry["column"] or output not in frame
            assert len(entry["keys"]) == len(entry["values"]) == len(set(entry["keys"]))
            origin = self.first(cell)
            if missing(cell.value):
                if entry["missing"] == "error":
                    self.refuse(cell, "missing_value")
                value = cell if entry["missing"] == "keep" else Cell(entry["missing"]["value"], cell.origins)
            else:
                # A string never equals a number, and 20 equals 20.0: Python's own comparison.
                hits = [v for k, v in zip(entry["keys"], entry["values"]) if k == cell.value]
                if hits:
                    value = Cell(hits[0], cell.origins)
                elif entry["unseen"] == "error":
                    raise RowError("unseen_category", origin)
                elif entry["unseen"] == "missing":
                    value = Cell(None, cell.origins, origin)
                elif entry["unseen"] == "keep":
                    value = cell
                else:
                    value = Cell(entry["unseen"]["value"], cell.origins)
            frame[output] = value
        return frame

    def op_expand(self, frame: dict[str, Cell], step: dict[str, Any]) -> dict[str, Cell]:
        for entry in step["columns"]:
            cell, width = frame[entry["column"]], len(entry["outputs"])
            assert len(entry["keys"]) == len(entry.get("rows", entry.get("ones"))) == len(set(entry["keys"]))
            hits = [at for at, key in enumerate(entry["keys"]) if not missing(cell.value) and key == cell.value]
            unseen = None if missing(cell.value) or hits else self.first(cell)
            other = entry["missing" if missing(cell.value) else "unseen"]
            row: list[Any] = [0.0] * width
            if hits and "rows" in entry:
                row = entry["rows"][hits[0]]
            elif hits and entry["ones"][hits[0]] is not None:
                row[entry["ones"][hits[0]]] = 1.0
            elif not hits and other == "error":
                if unseen is None:
                    self.refuse(cell, "missing_value")
                raise RowError("unseen_category", unseen)
            elif not hits and other == "missing":
                row = [None] * width
            elif not hits and other != "zeros":
                row = other["row"]
            for name, value in zip(entry["outputs"], row):
                assert name not in frame
                frame[name] = Cell(None, cell.origins, unseen) if value is None else Cell(value, cell.origins)
        return frame

    def op_affine(self, frame: dict[str, Cell], step: dict[str, Any]) -> dict[str, Cell]:
        for entry in step["columns"]:
            cell = frame[entry["column"]]
            if not missing(cell.value):
                frame[entry["column"]] = Cell(affine(entry, float(cell.value)), cell.origins)
        return frame

    # --- the estimator ---------------------------------------------------------------------------------------------

    def output(self, features: list[float]) -> dict[str, Any]:
        model, outputs = self.manifest["model"], self.manifest["outputs"]
        signature = model["inputs"][0]
        with np.errstate(over="ignore"):
            tensor = np.array([features], dtype=np.float64).astype(signature["type"])
        kind, spec = next(iter(outputs.items()))
        raw = self.session.run([spec["tensor"]], {signature["name"]: tensor})[0].astype(np.float64).ravel().tolist()
        if kind == "label":
            return {"prediction": spec["labels"][int(raw[0])]}
        if kind == "prediction":
            for step in self.manifest["postprocess"]:
                raw = [function(step["function"], v) if step["op"] == "function" else affine(step, v) for v in raw]
        if not all(map(math.isfinite, raw)):
            raise RowError("output_not_finite", None)
        if kind == "prediction":
            return {"prediction": raw if "names" in spec else raw[0]}
        labels, threshold = spec["labels"], spec["threshold"]
        probabilities = {str(k): p for k, p in zip(labels, raw)}
        if kind == "multilabel":
            return {"prediction": [k for k, p in zip(labels, raw) if p > threshold], "probabilities": probabilities}
        best = raw.index(max(raw)) if threshold is None else int(raw[1] >= threshold)
        if "label" in spec:
            best = int(self.session.run([spec["label"]], {signature["name"]: tensor})[0].ravel()[0])
        return {"prediction": labels[best], "probabilities": probabilities}


def function(name: str, value: float) -> float:
    with np.errstate(all="ignore"):
        return float(getattr(np, name)(np.float64(value)))


def affine(entry: dict[str, Any], value: float) -> float:
    with np.errstate(all="ignore"):
        x = np.float64(value)
        if "subtract" in entry:
            x = x - entry["subtract"]
        if "divide" in entry:
            x = x / entry["divide"]
        if "multiply" in entry:
            x = x * entry["multiply"]
        if "add" in entry:
            x = x + entry["add"]
        if "clip" in entry and not np.isnan(x):
            x = min(max(x, entry["clip"][0]), entry["clip"][1])
        return float(x)


class Command:
    """Another implementation, behind a command."""

    def __init__(self, directory: Path, command: str) -> None:
        self.directory, self.command = directory, command

    def run(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        done = subprocess.run(
            [*shlex.split(self.command), str(self.directory)],
            input="".join(json.dumps(row) + "\n" for row in rows),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [json.loads(line) for line in done.stdout.splitlines()]


def open_artifact(directory: Path) -> Interpreter | Command:
    command = os.environ.get("SEAWORTHY_INTERPRETER")
    return Command(directory, command) if command else Interpreter(directory)


def close(found: float | None, expected: float | None, tolerance: dict[str, float]) -> bool:
    if found is None or expected is None:
        return found is expected
    return abs(found - expected) <= tolerance["absolute"] + tolerance["relative"] * abs(expected)


def differences(directory: Path) -> list[str]:
    """What of an artifact's own proof is not reproduced."""
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    lines = [json.loads(line) for line in (directory / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    found = []
    if len(lines) != manifest["golden"]["rows"]:
        found.append(f"{len(lines)} golden rows, the manifest says {manifest['golden']['rows']}")
    answers = open_artifact(directory).run([line["input"] for line in lines])
    for number, (line, answer) in enumerate(zip(lines, answers)):
        if "error" in line:
            if answer.get("error") != line["error"]:
                found.append(f"row {number}: expected {line['error']}, found {answer}")
            continue
        if "error" in answer:
            found.append(f"row {number}: expected numbers, found {answer['error']}")
            continue
        for name, f, e in zip(manifest["features"], answer["features"], line["features"]):
            if not close(f, e, manifest["golden"]["features"]):
                found.append(f"row {number}: {name} is {f!r}, expected {e!r}")
        tolerance = manifest["golden"]["output"]
        f, e = answer["output"], line["output"]
        if isinstance(e["prediction"], list) and "probabilities" not in e:
            for a, b in zip(f["prediction"], e["prediction"]):
                if not close(a, b, tolerance):
                    found.append(f"row {number}: prediction {a!r}, expected {b!r}")
        elif isinstance(e["prediction"], float) and "probabilities" not in e:
            if not close(f["prediction"], e["prediction"], tolerance):
                found.append(f"row {number}: prediction {f['prediction']!r}, expected {e['prediction']!r}")
        else:
            if f["prediction"] != e["prediction"]:
                found.append(f"row {number}: label {f['prediction']!r}, expected {e['prediction']!r}")
            for label, p in e.get("probabilities", {}).items():
                if not close(f["probabilities"][label], p, tolerance):
                    found.append(f"row {number}: p({label}) is {f['probabilities'][label]!r}, expected {p!r}")
    return found
