"""Golden rows: which training rows are kept as proof, and what Python says of each.

Every row is run alone, as a service would be asked, through the pipeline itself. Rows that must fail are only recorded
after Python has failed on them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

from .context import Step
from .outputs import Outputs
from .schema import Row, Schema
from .values import is_missing, json_scalar

ERRORS_PER_CODE = 4
_CANDIDATES = 5000
UNHEARD_OF = "Unheard-of"


@dataclass(frozen=True)
class Predictor:
    """The fitted pipeline in two halves, and what is done to its output."""

    preprocess: Callable[[Any], Any]
    estimator: Any
    postprocess: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    outputs: Outputs

    def run(self, frame: Any) -> tuple[NDArray[np.float64], list[Any], NDArray[np.float64] | None]:
        """The features of a frame in float64, predictions as JSON values, and probabilities where there are any."""
        matrix = self.preprocess(frame)
        return (as_matrix(matrix), *self.outputs.answers(self.estimator, matrix, self.postprocess))


def as_matrix(features: Any) -> NDArray[np.float64]:
    """What a pipeline gives to its estimator, as a matrix of float64; missing is NaN."""
    if hasattr(features, "toarray"):
        features = features.toarray()
    if hasattr(features, "to_numpy"):
        features = features.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(features, dtype=np.float64)


@dataclass(frozen=True)
class Answer:
    """What Python gave for one row: numbers, or the reason why there are none."""

    features: list[float | None] | None = None
    output: dict[str, Any] | None = None
    error: str | None = None


def answer(predictor: Predictor, schema: Schema, row: Mapping[str, Any], labels: Sequence[str] | None) -> Answer:
    """Runs one row alone. An output that is not finite is an error, as the server has it."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            matrix, predictions, probabilities = predictor.run(schema.frame_of([row]))
            features = matrix[0]
    except Exception as error:  # whatever the pipeline raises is its way to refuse the row
        lines = str(error).strip().splitlines()
        return Answer(error=lines[0] if lines else type(error).__name__)
    output: dict[str, Any] = {"prediction": predictions[0]}
    values = predictions[0] if isinstance(predictions[0], list) else [predictions[0]]
    numbers = [value for value in values if isinstance(value, float)]
    if probabilities is not None and labels is not None:
        numbers += list(probabilities[0])
        output["probabilities"] = {label: float(p) for label, p in zip(labels, probabilities[0])}
    if not all(math.isfinite(number) for number in numbers):
        return Answer(error="the output is not finite")
    # An infinite feature can still give a finite output; JSON cannot hold it, so such a row proves nothing.
    if np.isinf(features).any():
        return Answer(error="a feature is infinite")
    return Answer([None if np.isnan(value) else float(value) for value in features], output)


def choose_rows(schema: Schema, budget: int) -> list[int]:
    """Positions of training rows that together show as much as possible.

    Each value of each category, a missing value of each field and both ends of each range count once; rows are taken
    greedily, then evenly over the data until the budget is used up.
    """
    n_rows = len(schema.frame)
    candidates = sorted(
        {*np.linspace(0, n_rows - 1, min(n_rows, _CANDIDATES)).astype(int).tolist(), *_extremes(schema)}
    )
    shows: dict[int, set[tuple[int, Any]]] = {position: set() for position in candidates}
    for index, field in enumerate(schema.fields):
        column = schema.frame[field["name"]]
        discrete = field["type"] in ("string", "bool") or "categories" in field
        known = [value for value in column if not is_missing(value)]
        ends = {} if discrete or not known else {min(known): "minimum", max(known): "maximum"}
        for position in candidates:
            value = column.iloc[position]
            if is_missing(value):
                shows[position].add((index, None))
            elif discrete:
                shows[position].add((index, json_scalar(value)))
            elif value in ends:
                shows[position].add((index, ends[value]))
    chosen: list[int] = []
    remaining = set().union(*shows.values()) if shows else set()
    while remaining and len(chosen) < budget:
        best = max(candidates, key=lambda position: (len(shows[position] & remaining), -position))
        if not shows[best] & remaining:
            break
        remaining -= shows[best]
        chosen.append(best)
    spread = np.linspace(0, n_rows - 1, min(n_rows, 4 * budget)).astype(int).tolist()
    rest = [position for position in dict.fromkeys(spread) if position not in chosen]
    wanted = max(budget - len(chosen), 0)
    if wanted and rest:
        picks = np.linspace(0, len(rest) - 1, min(wanted, len(rest))).astype(int).tolist()
        chosen += [rest[pick] for pick in dict.fromkeys(picks)]
    return sorted(chosen)


def _extremes(schema: Schema) -> Iterable[int]:
    """Positions of the rows with the least and greatest value of each number, and a missing value of each field."""
    for field in schema.fields:
        column = schema.frame[field["name"]]
        missing = np.flatnonzero(column.isna().to_numpy())
        if len(missing):
            yield int(missing[0])
        if field["type"] in ("int", "float") and len(missing) < len(column):
            values = np.array([np.nan if is_missing(value) else float(value) for value in column])
            yield int(np.nanargmin(values))
            yield int(np.nanargmax(values))


def golden_lines(
    predictor: Predictor,
    schema: Schema,
    steps: Sequence[Step],
    budget: int,
    labels: Sequence[str] | None,
) -> list[dict[str, Any]]:
    """The lines of `golden.jsonl`: rows that succeed, of the training data and made up, then rows that must fail."""
    base_position = next(
        (p for p in range(len(schema.frame)) if answer(predictor, schema, schema.row(p), labels).error is None), 0
    )
    base = schema.row(base_position)

    def ask(row: Row) -> Answer:
        return answer(predictor, schema, row, labels)

    errors: list[dict[str, Any]] = []
    unseen: list[dict[str, Any]] = []
    for code, field, value in _failures(schema, steps):
        count = sum(line["error"]["code"] == code for line in errors)
        row = {**base, field: value}
        if count < ERRORS_PER_CODE and not _enforced(schema, field, value):
            found = ask(row)
            if found.error is not None and found.features is None:
                errors.append({"input": row, "error": {"field": field, "code": code}})
            elif code == "unseen_category" and found.error is None and len(unseen) < ERRORS_PER_CODE:
                unseen.append({"input": row, "features": found.features, "output": found.output})
    errors = errors[: max(budget // 3, 1)]
    unseen = unseen[: max(budget // 8, 1)]
    tables: list[dict[str, Any]] = []
    for row in _table_rows(schema, steps, base, lambda row: ask(row).error is None):
        found = ask(row)
        if found.error is None and len(tables) < max(budget // 8, 1):
            tables.append({"input": row, "features": found.features, "output": found.output})
    lines: list[dict[str, Any]] = []
    for position in choose_rows(schema, max(budget - len(errors) - len(unseen) - len(tables), 1)):
        row = schema.row(position)
        found = ask(row)
        if found.error is None:
            lines.append({"input": row, "features": found.features, "output": found.output})
    return lines + unseen + tables + errors


def _table_rows(schema: Schema, steps: Sequence[Step], base: Row, succeeds: Callable[[Row], bool]) -> Iterable[Row]:
    """Rows with the keys of tables that no training row has, and with values that no table has.

    Without them a changed entry of a table would go unnoticed until a client sends its key. One row shows an entry of
    each field; of a field only values are taken with which the base row still succeeds.
    """
    entries: dict[str, list[Any]] = {}
    for field in schema.fields:
        name, kind = field["name"], field["type"]
        if kind not in ("string", "int") or field.get("enforce"):
            continue
        known = {json_scalar(value) for value in schema.frame[name] if not is_missing(value)}
        wanted: list[Any] = []
        for step in steps:
            for entry in step.get("columns", ()) if step["op"] in ("map", "expand") else ():
                if isinstance(entry, dict) and entry.get("column") == name:
                    wanted += [key for key in entry["keys"] if type(key) is (str if kind == "string" else int)]
        if wanted:
            wanted.append(UNHEARD_OF if kind == "string" else max(wanted) + 1)
        fresh = [value for value in dict.fromkeys(wanted) if value not in known]
        entries[name] = [value for value in fresh if succeeds({**base, name: value})]
    for position in range(max(map(len, entries.values()), default=0)):
        yield {**base, **{name: values[position] for name, values in entries.items() if position < len(values)}}


def _enforced(schema: Schema, name: str, value: Any) -> bool:
    """Whether the schema refuses the value before the pipeline sees it."""
    return value is not None and bool(schema.field(name).get("enforce"))


def _failures(schema: Schema, steps: Sequence[Step]) -> Iterable[tuple[str, str, Any]]:
    """Changes to a row that are likely to make it fail: the code to expect, the field and the value."""
    for field in schema.fields:
        if not field["nullable"]:
            yield "null", field["name"], None
    for field in schema.fields:
        if field["nullable"]:
            yield "missing_value", field["name"], None
    for field in schema.fields:
        if field["type"] == "string":
            yield "unseen_category", field["name"], UNHEARD_OF
        elif field["type"] == "int" and "categories" in field:
            yield "unseen_category", field["name"], max(field["categories"]) + 1
    types = {field["name"]: field["type"] for field in schema.fields}
    changed: set[str] = set()
    for step in steps:
        if step["op"] == "check":
            for refusal, value in (("not_positive", 0), ("negative", -1), ("zero", 0)):
                for column in step["columns"]:
                    # Only while the column still holds what came in is it known which raw value fails.
                    if refusal in step["refuse"] and types.get(column) in ("int", "float") and column not in changed:
                        yield "out_of_domain", column, float(value) if types[column] == "float" else value
        elif step["op"] not in ("drop", "select", "copy"):
            for entry in step.get("columns", [step]):
                changed.add(entry if isinstance(entry, str) else entry.get("output", entry.get("column")))
