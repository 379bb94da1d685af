"""How far rounding alone may move a cell.

A sum in which large numbers cancel keeps few digits, in every library: `log(x) - log(y)` of near numbers, a column that
is scaled by its mean. There the last bit of a term, which BLAS, SVML and the C library round in ways of their own, is
worth more than any relative tolerance. So a cell outside the tolerance is held to the first-order bound on the error:
each number that goes into each step is moved by `MOVE` of itself, the original computes the rest from there, and what
comes of all these moves is added up. It is found by the original alone, from the row in question.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

MOVE = 2.0**-50
"""Of a number: 4 to 8 units in the last place, what NumPy says of its functions and a sum of a dozen terms may lose."""
JUMP = 1e-6
"""A move that changes a cell by more than this share of the cell is no rounding but a step from one bin to another."""


def of(case: Any, frame: pd.DataFrame, width: int) -> list[float]:
    """For each cell of the row in `frame` how far rounding explains a difference; 0 where nothing is known."""
    total = np.zeros(width)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            for value, rest in _stages(case, frame):
                total += _moved(value, rest, width)
        except Exception:  # what the original does not do with numbers so moved explains nothing
            pass
        if case.slack is not None:
            total += np.asarray(case.slack(case.transformer, frame), dtype=float)
    return [float(x) for x in total]


def _stages(case: Any, frame: pd.DataFrame) -> Any:
    """What goes into each step, and what computes the rest from there."""
    steps = getattr(case.transformer, "steps", None)
    if case.transform is not None or not isinstance(steps, list):
        yield (
            frame,
            [
                lambda value: (
                    case.transform(case.transformer, value) if case.transform else case.transformer.transform(value)
                )
            ],
        )
        return
    functions = [step.transform for _, step in steps if step is not None and not isinstance(step, str)]
    value: Any = frame
    for position, function in enumerate(functions):
        yield value, functions[position:]
        value = function(value)


def _moved(value: Any, rest: Sequence[Any], width: int) -> Any:
    """The sum over the numbers of `value` of how much the result moves with each."""
    moved = _copies(value)
    if moved is None:
        return np.zeros(width)
    for function in rest:
        moved = function(moved)
    result = _array(moved)
    if result.shape[1] != width:
        return np.zeros(width)
    change = np.abs(result[1:] - result[0])
    change[~(change <= JUMP * np.maximum(np.abs(result[0]), np.abs(result[1:])) + JUMP)] = 0.0
    # Up and down: the greater of the two.
    return change.reshape(2, -1, width).max(axis=0).sum(axis=0)


def _copies(value: Any) -> Any:
    """The row itself, then for each of its numbers a copy with that number moved up, then all of them moved down."""
    if sparse.issparse(value):
        dense = value.toarray()
        moved = _copies(dense)
        return None if moved is None else type(value)(moved)
    if isinstance(value, pd.DataFrame):
        columns = [
            i for i in range(value.shape[1])
            if pd.api.types.is_float_dtype(value.dtypes.iloc[i]) and _sound(value.iloc[0, i])
        ]  # fmt: skip
        if not columns:
            return None
        copies = value.iloc[[0] * (1 + 2 * len(columns))].reset_index(drop=True)
        for direction, sign in enumerate((1.0, -1.0)):
            for n, column in enumerate(columns):
                row = 1 + direction * len(columns) + n
                copies.iloc[row, column] = value.iloc[0, column] * (1.0 + sign * MOVE)
        return copies
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return None
    columns = [i for i in range(array.shape[1]) if _sound(array[0, i])]
    if not columns:
        return None
    copies = np.repeat(array[:1], 1 + 2 * len(columns), axis=0)
    for direction, sign in enumerate((1.0, -1.0)):
        for n, column in enumerate(columns):
            copies[1 + direction * len(columns) + n, column] *= 1.0 + sign * MOVE
    return copies


def _sound(number: Any) -> bool:
    return not pd.isna(number) and math.isfinite(number) and number != 0


def _array(result: Any) -> Any:
    if sparse.issparse(result):
        result = result.toarray()
    if isinstance(result, pd.DataFrame):
        result = result.apply(pd.to_numeric, errors="coerce")
        return result.to_numpy(dtype=float, na_value=np.nan)
    array = np.asarray(result)
    if array.dtype.kind not in "fiub":
        array = np.array(
            [[cell if isinstance(cell, (int, float)) else np.nan for cell in row] for row in array.tolist()]
        )
    array = array.astype(float)
    return array.reshape(-1, 1) if array.ndim == 1 else array
