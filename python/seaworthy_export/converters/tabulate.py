"""Encoders as tables: what a fitted encoder makes of every value that it can tell apart, found by asking it.

Most encoders are functions of one value: a category goes to a number, or to a row of numbers. Instead of reading each
class's private tables, and each version's, the encoder itself is run on every category that it knows, on one that it
does not know, and on a missing value. What comes out, or what it raises, is the table. That each output depends on one
column alone, and a row on no other row, is verified.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Union

import numpy as np
import pandas as pd

from ..context import CATEGORY, FLOAT, Column, Context, Label, Outcome
from ..values import is_integer, is_missing, json_scalar

Row = tuple[Any, ...]
Answer = Union[Row, Exception]
Known = Callable[[Label], Iterable[Any]]

# Nobody calls a category so.
_UNSEEN = ("\x01 never seen", "\x02 nor this one")
# A column that held nothing but missing values is one of numbers to some steps, which then read text as numbers.
_NUMBERS = ("-7.001953125e-77", "nan")
_ATTEMPTS = 100


def tabulate(
    step: Any,
    ctx: Context,
    encoded: Sequence[Label],
    known: Known,
    *,
    names: Mapping[Any, str] | None = None,
    blocks: Mapping[Label, Sequence[int]] | None = None,
) -> None:
    """Emits a step that encodes each of some columns by itself, whatever its class.

    `known` gives the categories of a column, besides those of the training rows; `blocks` the positions of the outputs
    that are computed from a column, where it is known beforehand; `names` the names of the outputs by position.
    """
    asker = Asker(step, ctx)
    labels = asker.labels
    inputs = [ctx.column(label) for label in encoded]
    passed = {at: column for at, column in enumerate(asker.sources) if column is not None and column not in inputs}
    own = [at for at in range(len(labels)) if at not in passed]
    tables: list[_Table] = []
    for label, column in zip(encoded, inputs):
        wanted = own if blocks is None else list(blocks[label])
        tables.append(_Table(asker, column, wanted, known(label)))
    owners = _owners(ctx, tables, own, labels) if blocks is None else [list(blocks[label]) for label in encoded]
    outputs: dict[int, Column] = dict(passed)
    for table, owned in zip(tables, owners):
        outputs.update(table.emit(ctx, owned, [_name(table.column, labels[at], at, names) for at in owned]))
    ctx.keep([outputs[at] for at in range(len(labels))])
    if asker.is_frame:
        ctx.relabel(labels)


def _name(column: Column, label: Any, at: int, names: Mapping[Any, str] | None) -> str:
    """The name of an output: as the library has it, with the name of the input as the artifact has that."""
    name = str(label) if names is None else names[at]
    for prefix in (str(column.label), f"x{column.label}"):
        if name.startswith(prefix):
            return column.name + name[len(prefix) :]
    return name


def _owners(ctx: Context, tables: Sequence[_Table], own: Sequence[int], labels: Sequence[Any]) -> list[list[int]]:
    """For each table the outputs that depend on its column. Constants go where their name says, or to the first."""
    owned: list[list[int]] = [[] for _ in tables]
    for at in own:
        varying = [i for i, table in enumerate(tables) if table.varies(at)]
        if len(varying) > 1:
            ctx.unsupported(
                f"its output {labels[at]!r} depends on several columns at once: "
                + ", ".join(repr(tables[i].column.label) for i in varying)
            )
        if not varying:
            named = [i for i, table in enumerate(tables) if str(labels[at]).startswith(str(table.column.label))]
            varying = [max(named, key=lambda i: len(str(tables[i].column.label)))] if named else [0]
        owned[varying[0]].append(at)
    return owned


class Asker:
    """Runs a fitted step on rows that differ in one column only."""

    def __init__(self, step: Any, ctx: Context) -> None:
        self.step, self.ctx = step, ctx
        self.base, first = self._find_base()
        self.is_frame = isinstance(first, pd.DataFrame)
        self.labels: list[Any] = list(first.columns) if self.is_frame else list(range(first.shape[1]))
        # The columns that go through under their own names; what an array's columns were is not said.
        self.sources: list[Column | None] = [self._source(label) for label in self.labels]

    def _source(self, label: Any) -> Column | None:
        if not self.is_frame:
            return None
        named = [column for column in self.ctx.columns if column.label == label]
        if not named and isinstance(label, str) and label[:1] == "x" and label[1:].isdigit():
            named = [column for column in self.ctx.columns if column.label == int(label[1:])]
        return named[0] if named else None

    def _find_base(self) -> tuple[Any, Any]:
        frame = self.ctx.frame
        problem: object = "there are none"
        for at in range(min(len(frame), _ATTEMPTS)):
            base = frame.iloc[[at]] if isinstance(frame, pd.DataFrame) else frame[[at]]
            try:
                return base, self.run(base)
            except Exception as error:  # whatever it raises is its way to refuse the row
                problem = error
        return self.ctx.unsupported(f"it transforms none of the training rows: {problem}")

    def run(self, frame: Any) -> Any:
        """What it makes of a frame: a frame, or a matrix."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            after = self.step.transform(frame)
        if hasattr(after, "toarray"):
            after = after.toarray()
        if isinstance(after, pd.Series) or getattr(after, "ndim", 2) == 1:
            after = np.asarray(after).reshape(-1, 1)
        return after

    def ask(self, column: Column, values: Sequence[Any], outputs: Sequence[int]) -> list[Answer]:
        """What becomes of each value: the outputs, or the exception."""
        if not values:
            return []
        try:
            after = self.run(self._frame(column, values))
            if isinstance(after, pd.DataFrame):
                cells = [[_number(value) for value in after.iloc[:, at].astype(object)] for at in outputs]
            else:
                cells = [[_number(value) for value in after[:, at].tolist()] for at in outputs]
        except _NotNumberError as error:
            self.ctx.unsupported(str(error))
        except Exception as error:  # likewise
            if len(values) == 1:
                return [error]
            return [answer for value in values for answer in self.ask(column, [value], outputs)]
        return list(zip(*cells)) if cells else [()] * len(values)

    def _frame(self, column: Column, values: Sequence[Any]) -> Any:
        at = [c.name for c in self.ctx.columns].index(column.name)
        hole = any(is_missing(value) for value in values)
        if not isinstance(self.base, pd.DataFrame):
            frame = np.repeat(self.base, len(values), axis=0)
            if frame.dtype.kind in "iub" and hole:
                frame = frame.astype(np.float64 if frame.dtype.kind != "b" else object)
            elif frame.dtype.kind == "U":
                frame = frame.astype(object)
            frame[:, at] = values
            return frame
        frame = self.base.iloc[[0] * len(values)].reset_index(drop=True)
        dtype = self.base.dtypes.iloc[at]
        if isinstance(dtype, np.dtype):
            if dtype.kind in "iub" and hole:
                dtype = np.dtype("float64" if dtype.kind != "b" else "object")
            if dtype.kind != "O":
                values = [np.nan if is_missing(value) else value for value in values]
        frame.isetitem(at, pd.Series(list(values), dtype=dtype))
        return frame


class _NotNumberError(Exception):
    """An output that is no number."""


def _number(value: Any) -> Any:
    scalar = json_scalar(value)
    if isinstance(scalar, str):
        raise _NotNumberError(f"it gives {scalar!r}, which is not a number")
    return int(scalar) if isinstance(scalar, bool) else scalar


class _Table:
    """What becomes of every value of one column."""

    def __init__(self, asker: Asker, column: Column, outputs: Sequence[int], known: Iterable[Any]) -> None:
        self.column, self.outputs = column, list(outputs)
        ctx = asker.ctx
        keys = _distinct([*ctx.values(column.label), *known], column)
        answers = asker.ask(column, keys, self.outputs)
        for at in sorted({0, len(keys) // 2, len(keys) - 1} & set(range(len(keys)))):
            (alone,) = asker.ask(column, [keys[at]], self.outputs)
            if not _same(alone, answers[at]):
                ctx.unsupported(f"what it makes of {keys[at]!r} in {column.label!r} depends on the other rows")
        self.unseen: Answer | None = None
        others = asker.ask(column, _unseen(column, keys), self.outputs)
        if others:
            self.unseen = others[0]
            if not all(_same(other, others[0]) for other in others):
                ctx.unsupported(f"what it makes of an unseen value in {column.label!r} depends on that value")
        holes = holes_of(ctx.values(column.label))
        self.missing, *others = (asker.ask(column, [hole], self.outputs)[0] for hole in holes)
        if not all(_same(other, self.missing) for other in others):
            ctx.unsupported(f"it tells several kinds of missing values in {column.label!r} apart: {holes}")
        self.keys: list[Any] = []
        self.rows: list[Row] = []
        for key, answer in zip(keys, answers):
            if self.unseen is not None and _same(answer, self.unseen):
                continue
            if isinstance(answer, Exception):
                ctx.unsupported(f"it raises for {key!r} in {column.label!r}, and not for an unseen value: {answer}")
            self.keys.append(key)
            self.rows.append(answer)
        self.refuses_infinite = False
        if column.kind == FLOAT:
            for infinite in asker.ask(column, [np.inf], self.outputs) + asker.ask(column, [-np.inf], self.outputs):
                if isinstance(infinite, Exception):
                    self.refuses_infinite = True
                elif self.unseen is None or not _same(infinite, self.unseen):
                    ctx.unsupported(f"it makes something of an infinite value in {column.label!r}")

    def varies(self, output: int) -> bool:
        at = self.outputs.index(output)
        rows = [*self.rows, *(other for other in (self.unseen, self.missing) if isinstance(other, tuple))]
        return any(row[at] != rows[0][at] for row in rows)

    def emit(self, ctx: Context, owned: Sequence[int], names: Sequence[str]) -> dict[int, Column]:
        column, label = self.column, self.column.label
        picks = [self.outputs.index(at) for at in owned]
        if self.refuses_infinite:
            ctx.check([label], "infinite")

        def part(row: Row) -> list[Any]:
            return [row[pick] for pick in picks]

        rows = [part(row) for row in self.rows]
        if len(owned) == 1 and names[0] == column.name:
            unseen: Outcome = "error"
            if isinstance(self.unseen, tuple):
                value = part(self.unseen)[0]
                unseen = "missing" if value is None else {"value": value}
            missing: Outcome = "error"
            if isinstance(self.missing, tuple):
                value = part(self.missing)[0]
                missing = "keep" if value is None else {"value": value}
            ctx.map(label, self.keys, [row[0] for row in rows], unseen=unseen, missing=missing)
            return {owned[0]: next(c for c in ctx.columns if c.name == column.name)}

        def other(answer: Answer | None) -> Any:
            if not isinstance(answer, tuple):
                return "error"
            row = part(answer)
            if all(value == 0 for value in row):
                return "zeros"
            return "missing" if all(value is None for value in row) else row

        ones = _ones(rows)
        before = len(ctx.columns)
        ctx.expand(
            label, names, self.keys, rows=rows if ones is None else None, ones=ones,
            unseen=other(self.unseen), missing=other(self.missing),
        )  # fmt: skip
        return dict(zip(owned, ctx.columns[before:]))


def _ones(rows: Sequence[Sequence[Any]]) -> list[int | None] | None:
    """For each row the only 1 among zeros; None where a row is not so."""
    ones: list[int | None] = []
    for row in rows:
        hot = [at for at, value in enumerate(row) if value != 0]
        if len(hot) > 1 or any(row[at] != 1 for at in hot):
            return None
        ones.append(hot[0] if hot else None)
    return ones


def holes_of(values: Iterable[Any]) -> list[Any]:
    """The missing values as they arrive in a column of objects: NaN, unless they are None or pd.NA there."""
    kinds = {type(value).__name__ for value in values if is_missing(value)}
    known: dict[str, Any] = {"NAType": pd.NA, "NoneType": None}
    return [
        known.get(kind, np.nan) for kind in sorted(kinds & {*known} | ({"float"} if kinds - {*known} else set()))
    ] or [np.nan]


def _same(one: Answer, other: Answer) -> bool:
    if isinstance(one, Exception) or isinstance(other, Exception):
        return isinstance(one, Exception) and isinstance(other, Exception)
    return one == other


def _distinct(values: Iterable[Any], column: Column) -> list[Any]:
    """The values that a cell of the column can have, each once: by value, as tables compare."""
    distinct: dict[Any, Any] = {}
    for value in values:
        if is_missing(value):
            continue
        if isinstance(value, (float, np.floating)) and np.isinf(value):
            continue
        if isinstance(value, str) != (column.kind == CATEGORY) and not (
            column.kind == CATEGORY and isinstance(value, (int, float, np.number))
        ):
            continue  # a number is never found in a column of strings, nor the other way round
        try:
            json_scalar(value)
        except TypeError:
            continue
        if column.kind == "int" and not (is_integer(value) or float(value).is_integer()):
            continue
        distinct.setdefault(value, value)
    return list(distinct.values())


def _unseen(column: Column, keys: Sequence[Any]) -> list[Any]:
    """Values of the column's type that are not among the keys; none where there can be none."""
    dtype = str(column.dtype).lower()
    if dtype in ("bool", "boolean"):
        return []
    if column.kind == CATEGORY:
        return [*_UNSEEN, *(() if keys else _NUMBERS)]
    numbers = [int(key) for key in keys if abs(key) < 2**31] or [0]
    if dtype in ("int8", "uint8", "int16", "uint16"):
        free = [value for value in range(128) if value not in keys]
        return free[:2]
    least, greatest = min(numbers), max(numbers)
    return [greatest + 1, greatest + 1001, *([] if dtype.startswith("u") else [least - 777])]
