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

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Callable, cast

import numpy as np
import pandas as pd
import sklearn
from scipy import sparse
from sklearn.utils import _safe_indexing

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
        if case.transform is not None:
            leaves: list[tuple[Any, Any, Rest]] = [(None, frame, lambda value: case.transform(case.transformer, value))]
        else:
            leaves = list(_leaves(case.transformer, frame, lambda value: value))
        for leaf, value, rest in leaves:
            # What the original does not do with numbers so moved explains nothing.
            with contextlib.suppress(Exception):
                _move(slack, _copies(value), rest, JUMP)
            own = OWN.get(type(leaf).__name__)
            if own is not None:
                after = leaf.transform(value)
                with contextlib.suppress(Exception):
                    _move(slack, _copies(after, own(leaf, value)), _after(rest), math.inf)
        if case.slack is not None:
            slack.bounds += np.asarray(case.slack(case.transformer, frame), dtype=float)
    return slack


Rest = Callable[[Any], Any]


def _after(rest: Any) -> Rest:
    """What computes the rest from what the leaf gives."""
    return cast(Rest, rest.after if isinstance(rest, _Leaf) else rest)


@dataclass(frozen=True)
class _Leaf:
    """A transformer and what is computed from what it gives."""

    transformer: Any
    after: Rest

    def __call__(self, value: Any) -> Any:
        return self.after(self.transformer.transform(value))


def _leaves(transformer: Any, value: Any, after: Rest) -> Iterator[tuple[Any, Any, Rest]]:
    """The transformers within a pipeline or columns, what goes into each, and what computes the rest from there."""
    if transformer is None or isinstance(transformer, str):
        return
    if isinstance(getattr(transformer, "steps", None), list):
        steps = [step for _, step in transformer.steps if step is not None and not isinstance(step, str)]
        for position, step in enumerate(steps):
            yield from _leaves(step, value, _Chain(steps[position + 1 :], after))
            value = step.transform(value)
    elif hasattr(transformer, "output_indices_"):
        whole = transformer.transform(value)
        for name, branch, columns in transformer.transformers_:
            block = transformer.output_indices_.get(name)
            if block is not None and not isinstance(branch, str):
                weight = (transformer.transformer_weights or {}).get(name, 1.0)
                part = _safe_indexing(value, columns, axis=1)
                yield from _leaves(branch, part, _Block(whole, block, weight, after))
    elif hasattr(transformer, "transformer_list"):
        whole, start = transformer.transform(value), 0
        for name, branch in transformer.transformer_list:
            if branch == "drop":
                continue
            n = (value if branch == "passthrough" else branch.transform(value)).shape[1]
            weight = (transformer.transformer_weights or {}).get(name, 1.0)
            yield from _leaves(branch, value, _Block(whole, slice(start, start + n), weight, after))
            start += n
    else:
        yield transformer, value, _Leaf(transformer, after)


@dataclass(frozen=True)
class _Chain:
    """The steps that follow, then what follows them."""

    steps: Sequence[Any]
    after: Rest

    def __call__(self, value: Any) -> Any:
        for step in self.steps:
            value = step.transform(value)
        return self.after(value)


@dataclass(frozen=True)
class _Block:
    """What a branch gives, among what the others give, then what follows."""

    whole: Any
    block: slice
    weight: float
    after: Rest

    def __call__(self, value: Any) -> Any:
        n, (start, stop) = value.shape[0], (self.block.start, self.block.stop)
        if sparse.issparse(self.whole):
            sides = [sparse.vstack([side] * n) for side in (self.whole[:, :start], self.whole[:, stop:])]
            return self.after(sparse.hstack([sides[0], sparse.csr_matrix(value) * self.weight, sides[1]]).tocsr())
        part = _array(value) * self.weight
        if isinstance(self.whole, pd.DataFrame):
            copies = self.whole.iloc[[0] * n].reset_index(drop=True)
            for column in range(start, stop):
                copies.isetitem(column, part[:, column - start])
        else:
            copies = np.repeat(np.asarray(self.whole)[:1], n, axis=0)
            copies[:, start:stop] = part
        return self.after(copies)


def _move(slack: Slack, moved: Any, rest: Rest, jump: float) -> None:
    """Adds how much the result moves with each of the copies but the first."""
    if moved is None:
        return
    result = _array(rest(moved))
    width = len(slack.bounds)
    if result.shape[1] != width:
        return
    change = np.abs(result[1:] - result[0])
    change[~(change <= jump * np.maximum(np.abs(result[0]), np.abs(result[1:])) + jump)] = 0.0
    # Up and down: the greater of the two.
    slack.bounds += change.reshape(2, -1, width).max(axis=0).sum(axis=0)
    slack.answers = np.concatenate([slack.answers, result[1:]])


def _copies(value: Any, moves: Any = None) -> Any:
    """The row itself, then for each of its numbers a copy with that number moved up, then all of them moved down.

    `moves` says by how much; without, by `MOVE` of each.
    """
    row = value.toarray()[0] if sparse.issparse(value) else None
    if isinstance(value, pd.DataFrame):
        row = np.array(
            [
                float(value.iloc[0, i]) if pd.api.types.is_float_dtype(dtype) and _sound(value.iloc[0, i]) else 0.0
                for i, dtype in enumerate(value.dtypes)
            ]
        )
    elif row is None:
        array = np.asarray(value)
        if array.dtype.kind != "f" or array.ndim != 2:
            return None
        row = np.where(np.isfinite(array[0]), array[0], 0.0)
    sizes = np.abs(row) * MOVE if moves is None else np.asarray(moves, dtype=float)
    columns = np.flatnonzero(np.isfinite(sizes) & (sizes > 0))
    n = len(columns)
    if n == 0:
        return None
    if sparse.issparse(value):
        at = (np.arange(1, 1 + 2 * n), np.tile(columns, 2))
        change = sparse.csr_matrix((np.r_[sizes[columns], -sizes[columns]], at), shape=(1 + 2 * n, value.shape[1]))
        return type(value)(sparse.vstack([value] * (1 + 2 * n)) + change)
    if isinstance(value, pd.DataFrame):
        copies = value.iloc[[0] * (1 + 2 * n)].reset_index(drop=True)
        for i, column in enumerate(columns):
            cells = np.full(1 + 2 * n, row[column])
            cells[1 + i] += sizes[column]
            cells[1 + n + i] -= sizes[column]
            copies.isetitem(int(column), pd.Series(cells, dtype=value.dtypes.iloc[column]))
        return copies
    copies = np.repeat(np.asarray(value)[:1], 1 + 2 * n, axis=0)
    for i, column in enumerate(columns):
        copies[1 + i, column] += sizes[column]
        copies[1 + n + i, column] -= sizes[column]
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


# --- classes that lose more than the last bits of what goes in -----------------------------------------------------


def _neighbours(imputer: Any, value: Any) -> Any:
    """Of `KNNImputer`: distances come as `x·x - 2 x·y + y·y` from BLAS, off by units in the last place of `x·x`.

    So do the weights 1 / distance, and which of the rows that are equally near are taken.
    """
    train, row = imputer._fit_X, np.asarray(value, dtype=float)[0]
    shared = np.where(np.isnan(train) | np.isnan(row), 0.0, 1.0)
    x, y = np.nan_to_num(row) * shared, np.nan_to_num(train) * shared
    # Scaled up for the columns that are not shared; rows that share none are the last to be taken.
    up = len(row) / shared.sum(axis=1)
    squares = np.where(shared.any(axis=1), ((x - y) ** 2).sum(axis=1) * up, np.inf)
    lost = MOVE * up * (np.nansum(row * row) + np.nansum(train * train, axis=1))
    moves = np.zeros(len(row))
    for column in np.flatnonzero(np.isnan(row)):
        donors = np.flatnonzero(~np.isnan(train[:, column]))
        if not len(donors):
            continue
        donors = donors[np.argsort(squares[donors], kind="stable")]
        k = min(imputer.n_neighbors, len(donors))
        last = squares[donors[k - 1]]
        values = train[donors, column]
        if imputer.weights == "distance":
            near = donors[:k]
            weights = 1 / np.sqrt(np.maximum(squares[near], lost[near]))
            share = lost[near] / (2 * np.maximum(squares[near], lost[near]))
            mean = (weights * values[:k]).sum() / weights.sum()
            moves[column] = (weights * share * np.abs(values[:k] - mean)).sum() / weights.sum()
        tied = np.abs(squares[donors] - last) <= lost[donors] + lost[donors[k - 1]]
        if tied.sum() > 1 and tied[k:].any():
            moves[column] += values[tied].max() - values[tied].min()
    empty = np.isnan(train).all(axis=0)
    kept = moves if getattr(imputer, "keep_empty_features", False) else moves[~empty]
    return np.r_[kept, np.zeros(imputer.transform(value).shape[1] - len(kept))]


def _power(transformer: Any, value: Any) -> Any:
    """Of `PowerTransformer` before 1.3: Yeo-Johnson as `((x + 1) ** lambda - 1) / lambda`, which cancels near 0."""
    scale = transformer._scaler.scale_ if transformer.standardize else 1.0
    exponents = transformer.lambdas_
    row = np.asarray(value, dtype=float)[0]
    part = np.where(row >= 0, exponents, 2 - exponents)
    with np.errstate(all="ignore"):
        return MOVE * (np.abs(row) + 1) ** part / np.abs(part) / scale


OWN: dict[str, Callable[[Any, Any], Any]] = {"KNNImputer": _neighbours}
if int(sklearn.__version__.split(".")[0]) == 1 and int(sklearn.__version__.split(".")[1]) < 3:
    OWN["PowerTransformer"] = _power
"""How far each of the outputs of a class is off by rounding within it."""
