"""The training distribution of each field, feature and output, kept for drift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .schema import Schema
from .values import is_missing, json_scalar

FORMAT = "seaworthy-profile/1"
MAX_BINS = 20
MAX_VALUES = 100


def build_profile(
    schema: Schema, features: Mapping[str, NDArray[np.float64]], outputs: Mapping[str, Any]
) -> dict[str, Any]:
    """The contents of `profile.json`."""
    fields = {}
    for field in schema.fields:
        column = schema.frame[field["name"]]
        categorical = field["type"] == "string" or "categories" in field
        fields[field["name"]] = category_profile(list(column)) if categorical else number_profile(_numbers(column))
    return {
        "format": FORMAT,
        "rows": len(schema.frame),
        "fields": fields,
        "features": {name: number_profile(values) for name, values in features.items()},
        "outputs": {
            name: number_profile(np.asarray(values, dtype=np.float64))
            if np.asarray(values).dtype.kind == "f"
            else category_profile(list(values))
            for name, values in outputs.items()
        },
    }


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    # Dates count as the server holds them: in microseconds since 1970.
    dates = pd.api.types.is_datetime64_any_dtype(column.dtype)
    numbers = (value.timestamp() * 1e6 if dates and not is_missing(value) else value for value in column)
    return np.array([np.nan if is_missing(value) else float(value) for value in numbers], dtype=np.float64)


def number_profile(values: NDArray[np.float64]) -> dict[str, Any]:
    """Range, moments and a histogram whose edges are quantiles, where these are distinct.

    Infinite values count as missing: they have no place in a bin.
    """
    finite = values[np.isfinite(values)]
    missing = int(len(values) - len(finite))
    if len(finite) == 0:
        return {
            "type": "number", "missing": missing, "minimum": None, "maximum": None, "mean": None, "std": None,
            "edges": [], "counts": [],
        }  # fmt: skip
    edges = _edges(finite)
    if edges[0] == edges[-1]:
        counts = np.array([len(finite)])
    else:
        # Bins are closed on the right, the first one on both sides.
        bins = np.clip(np.searchsorted(edges, finite, side="left") - 1, 0, len(edges) - 2)
        counts = np.bincount(bins, minlength=len(edges) - 1)
    with np.errstate(over="ignore"):
        mean, std = float(np.mean(finite)), float(np.std(finite))
    return {
        "type": "number",
        "missing": missing,
        "minimum": float(edges[0]),
        "maximum": float(edges[-1]),
        "mean": mean if np.isfinite(mean) else None,
        "std": std if np.isfinite(std) else None,
        "edges": [float(edge) for edge in edges],
        "counts": [int(count) for count in counts],
    }


def _edges(finite: NDArray[np.float64]) -> NDArray[np.float64]:
    distinct = np.unique(finite + 0.0)
    if len(distinct) == 1:
        return np.repeat(distinct, 2)
    if len(distinct) <= MAX_BINS:
        # Counts, flags and codes: a bin for each value.
        return np.concatenate([distinct[:1], _between(distinct[:-1], distinct[1:]), distinct[-1:]])
    # Quantiles among the values that occur, so that integers stay integers and edges are exact.
    ordered = np.sort(finite + 0.0)
    edges = np.unique(ordered[np.arange(MAX_BINS + 1) * (len(ordered) - 1) // MAX_BINS])
    if len(edges) <= MAX_BINS and np.count_nonzero(finite == distinct[0]) * MAX_BINS >= len(finite):
        # Many values are the least one, mostly zeros: they get a bin of their own instead of hiding among their
        # neighbours.
        edges = np.insert(edges, 1, _between(distinct[:1], distinct[1:2]))
    return np.asarray(edges, dtype=np.float64)


def _between(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = low + (high - low) / 2
    # Neighbouring floats have nothing between them; the lower one then closes the bin.
    return np.where(middle < high, middle, low)


def category_profile(values: Sequence[Any]) -> dict[str, Any]:
    """The most frequent values with their counts; the rest is one number."""
    counts: dict[Any, int] = {}
    missing = 0
    for value in values:
        if is_missing(value):
            missing += 1
        else:
            scalar = json_scalar(value)
            counts[scalar] = counts.get(scalar, 0) + 1
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], str(entry[0])))
    kept = ranked[:MAX_VALUES]
    return {
        "type": "category",
        "missing": missing,
        "values": [value for value, _ in kept],
        "counts": [count for _, count in kept],
        "other": sum(count for _, count in ranked[MAX_VALUES:]),
    }
