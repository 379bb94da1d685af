"""How far rounding alone may move a cell.

A sum in which large numbers cancel keeps few digits, in every library: `log(x) - log(y)` of near numbers, a column that
is scaled by its mean. There the last bit of a term, which BLAS, SVML and the C library round in ways of their own, is
worth more than any relative tolerance. So a cell outside the tolerance is held to the first-order bound on the error:
each number that goes into each step is moved by `MOVE` of itself, the original computes the rest from there, and what
comes of all these moves is added up. It is found by the original alone, from the row in question.

A number that falls on the edge of a bin goes to either side by its last bit. There no bound says anything; the answer
must then be one that the original itself gives after one of the moves.
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


class Slack:
    """What rounding explains in one row.

    Attributes:
        bounds: for each cell how far; 0 where nothing is known.
        answers: the rows that the original gives after the moves.

    """

    def __init__(self, width: int) -> None:
        self.bounds = np.zeros(width)
        self.answers = np.zeros((0, width))

    def gives(self, column: int, found: float, tolerance: float) -> bool:
        """Whether the original gives this after one of the moves."""
        return bool((np.abs(self.answers[:, column] - found) <= tolerance * abs(found)).any())


def of(case: Any, frame: pd.DataFrame, width: int) -> Slack:
    """What rounding explains in the row in `frame`."""
    slack = Slack(width)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            for value, rest in _stages(case, frame):
                _move(slack, value, rest, width)
        except Exception:  # what the original does not do with numbers so moved explains nothing
            pass
        if case.slack is not None:
            slack.bounds += np.asarray(case.slack(case.transformer, frame), dtype=float)
    return slack


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


def _move(slack: Slack, value: Any, rest: Sequence[Any], width: int) -> None:
    """Adds how much the result moves with each of the numbers of `value`."""
    moved = _copies(value)
    if moved is None:
        return
    for function in rest:
        moved = function(moved)
    result = _array(moved)
    if result.shape[1] != width:
        return
    change = np.abs(result[1:] - result[0])
    change[~(change <= JUMP * np.maximum(np.abs(result[0]), np.abs(result[1:])) + JUMP)] = 0.0
    # Up and down: the greater of the two.
    slack.bounds += change.reshape(2, -1, width).max(axis=0).sum(axis=0)
    slack.answers = np.concatenate([slack.answers, result[1:]])


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
