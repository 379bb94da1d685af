"""How a converter emits steps: a small typed builder that follows the columns through the pipeline.

A converter sees columns by their *labels*, the names that the Python object uses; the builder translates them to the
names in the artifact, which are unique throughout a pipeline. Beside the steps it keeps the kind of each column, so
that a step that would mean something else in the artifact is refused here and not discovered by wrong numbers.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, NoReturn, Union, cast

import numpy as np
import pandas as pd

from .errors import ExportError, UnknownStepError, UnsupportedStepError, WrongConverterError
from .registry import find_converter, known_near, known_parent
from .text import Text
from .values import class_name, is_integer, is_missing, is_number, json_scalar

Label = Hashable
Step = dict[str, Any]
Outcome = Union[str, Mapping[str, Any]]

REFUSALS = ("missing", "infinite", "not_positive", "negative", "zero", "outside")
OPERATORS = ("add", "subtract", "multiply", "divide", "floor_divide", "modulo", "power")
FUNCTIONS = (
    "log", "log10", "log2", "log1p", "exp", "expm1", "sqrt", "cbrt", "square", "reciprocal", "absolute", "negative",
    "arcsin", "arcsinh", "sin", "cos", "tanh", "floor", "ceil", "rint", "sign", "tan", "arccos", "arctan", "sinh",
    "cosh", "arccosh", "arctanh", "exp2", "trunc", "radians", "degrees",
)  # fmt: skip

INT, FLOAT, CATEGORY, DATETIME = "int", "float", "category", "datetime"
MAX_DENSE = 2000
"""Sparse matrices with more columns stay sparse while the pipeline is read."""
_FEW = 64
_DTYPES = {INT: np.dtype("int64"), FLOAT: np.dtype("float64"), CATEGORY: np.dtype(object)}
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Column:
    """A column at one point of the pipeline."""

    name: str
    """Its name in the artifact."""
    label: Label
    """What the Python object calls it: a column label of the frame, or a position in an array."""
    kind: str
    """How the artifact holds it: `int`, `float`, `category` or `datetime`."""
    dtype: Any
    """The type it has in Python."""


@dataclass(frozen=True)
class Constant:
    """A number as an operand of `Context.combine`."""

    value: float


@dataclass
class State:
    """What is shared by all contexts of one conversion."""

    steps: list[Step] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    """Every column that exists in the artifact's frame now, in order."""
    prefix: str = ""
    """What the names of new columns begin with: the branches that they are made in."""
    touched: tuple[Any, set[str]] = (None, set())
    """The entries of the last step that columns were added to, and all columns that they name."""
    counts: set[str] = field(default_factory=set)
    """Columns of a bag of words, which are neither missing nor infinite; a check would take one out of its row."""


@dataclass(frozen=True)
class _Replaced:
    """The label of a column whose label another one has got since."""

    label: Label


class Context:
    """What a converter is given beside the fitted object.

    Attributes:
        path: where the step stands, such as `preprocess/num/scaler`.
        frame: the training rows as they arrive at the step: a DataFrame, or an array after most scikit-learn steps.
        columns: the columns at this point, in order; kept up to date as steps are emitted.

    """

    def __init__(self, state: State, path: str, step: Any, frame: Any, columns: Sequence[Column]) -> None:
        self.path = path
        self.frame = frame
        self.columns = list(columns)
        self._state = state
        self._source = class_name(step)
        self._known: dict[Label, int] = {}

    # --- columns ---------------------------------------------------------------------------------------------------

    @property
    def labels(self) -> list[Label]:
        """The labels of the columns, in order."""
        return [column.label for column in self.columns]

    def column(self, label: Label) -> Column:
        """The column with this label; the error lists those there are."""
        at = self._position(label)
        if at is not None:
            return self.columns[at]
        # feature-engine calls the columns of an array x0, x1, …
        if (
            isinstance(label, str)
            and label[:1] == "x"
            and label[1:].isdigit()
            and self.labels == [*range(len(self.columns))]
        ):
            position = int(label[1:])
            if position < len(self.columns):
                return self.columns[position]
        raise ExportError(
            f"{self._where()} refers to the column {label!r}, which does not exist there; the columns are: "
            + ", ".join(repr(column.label) for column in self.columns)
        )

    def _position(self, label: Label) -> int | None:
        """Where the first column with this label stands: there may be a million, so they are not searched each time."""
        if len(self.columns) <= _FEW:
            return next((at for at, column in enumerate(self.columns) if column.label == label), None)
        at = self._known.get(label)
        if at is None or at >= len(self.columns) or self.columns[at].label != label:
            self._known = {column.label: at for at, column in reversed(list(enumerate(self.columns)))}
            at = self._known.get(label)
        return at

    def name(self, label: Label) -> str:
        """The name in the artifact of the column with this label."""
        return self.column(label).name

    def plain_name(self, label: Label) -> str:
        """That name without the branches that the column is in."""
        name, prefix = self.name(label), self._state.prefix
        return name[len(prefix) :] if name.startswith(prefix) else name

    def values(self, label: Label) -> Any:
        """The training values of a column as they arrive at the step, a Series."""
        position = self.columns.index(self.column(label))
        if isinstance(self.frame, pd.DataFrame):
            return self.frame.iloc[:, position]
        # The type is said, because pandas 3 would make strings of objects, and NaN of None.
        return pd.Series(self.frame[:, position], dtype=self.frame.dtype if self.frame.dtype.kind != "U" else object)

    def unsupported(self, problem: str, hint: str = "") -> NoReturn:
        """Ends the export: the step cannot be expressed. `hint` says what to do instead."""
        raise UnsupportedStepError(f"{self._where()}: {problem}" + (f"\nhint: {hint}" if hint else ""))

    def wrong(self, left: str, given: str) -> NoReturn:
        """Ends the export: the converter does not do what the step does."""
        raise WrongConverterError(
            f"{self._where()}: its converter leaves {left}, but its `transform` gives {given}\n"
            "hint: correct the converter: it must emit what `transform` does, column by column"
        )

    def _where(self) -> str:
        return f"step `{self.path or 'pipeline'}` ({self._source})"

    def _unique(self, name: str) -> str:
        taken = set(self._state.live)
        name = self._state.prefix + name
        unique, number = name, 2
        while unique in taken:
            unique, number = f"{name}_{number}", number + 1
        return unique

    def _append(self, column: Column) -> None:
        if isinstance(self.frame, pd.DataFrame):
            # Whoever asks for the label from here on means the new column; `assign` gives it the place of the old one.
            self.columns = [
                replace(c, label=_Replaced(c.label)) if c.label == column.label else c for c in self.columns
            ]
        self.columns.append(column)
        self._state.live.append(column.name)

    def _replace(self, column: Column, **changes: Any) -> None:
        at = self._position(column.label)
        if at is None or self.columns[at] != column:
            at = self.columns.index(column)
        self.columns[at] = replace(column, **changes)
        self._state.counts.discard(column.name)

    def _number(self, label: Label, what: str) -> Column:
        column = self.column(label)
        if column.kind in (CATEGORY, DATETIME):
            held = "categories" if column.kind == CATEGORY else "dates"
            self.unsupported(f"`{what}` takes numbers, but the column {label!r} holds {held} at this point")
        return column

    # --- steps -----------------------------------------------------------------------------------------------------

    def _emit(self, op: str, columns: Sequence[Any], **parameters: Any) -> None:
        """Appends a step, or adds the columns to the step just before when that does the same to other columns."""

        def touched(entry: Any) -> set[str]:
            if isinstance(entry, str):
                return {entry}
            return {entry["column"], entry.get("output", entry["column"]), *entry.get("outputs", ())}

        head = {"op": op, "name": self.path, "source": self._source}
        steps = self._state.steps
        if steps and op not in ("select", "drop"):
            last = steps[-1]
            if {key: value for key, value in last.items() if key != "columns"} == {**head, **parameters}:
                if self._state.touched[0] is not last["columns"]:
                    self._state.touched = last["columns"], set().union(*map(touched, last["columns"]))
                before, names = self._state.touched[1], set().union(*map(touched, columns))
                if names.isdisjoint(before):
                    last["columns"].extend(columns)
                    before |= names
                    return
        steps.append({**head, "columns": list(columns), **parameters})

    def check(
        self, labels: Iterable[Label], *refuse: str, between: tuple[float | None, float | None] | None = None
    ) -> None:
        """Makes a row an error when one of the columns holds what is refused.

        `missing` goes for any column; `infinite`, `not_positive`, `negative` and `zero` are left out for columns of
        categories, which cannot hold such values. `outside` is what is not `between` the two bounds, one of which may
        be None.
        """
        more = {} if between is None else {"between": [self._bound(bound) for bound in between]}
        unknown = [refusal for refusal in refuse if refusal not in REFUSALS]
        if unknown or not refuse:
            raise ValueError(f"check refuses {', '.join(REFUSALS)}; got {refuse}")
        wanted = [refusal for refusal in REFUSALS if refusal in refuse]
        for label in labels:
            column = self.column(label)
            if column.name in self._state.counts and set(wanted) <= {"missing", "infinite"}:
                continue
            applicable = wanted if column.kind in (INT, FLOAT) else [r for r in wanted if r == "missing"]
            if applicable and not (column.kind == INT and applicable == ["infinite"]):
                self._emit("check", [column.name], refuse=applicable, **more)

    def fill(self, values: Mapping[Label, Any]) -> None:
        """Missing becomes the value, as `fillna(values)`."""
        for label, value in values.items():
            column = self.column(label)
            scalar = self._scalar(value, "the fill value")
            if scalar is None:
                continue
            if (column.kind == CATEGORY) == isinstance(scalar, str):
                self._emit("fill", [{"column": column.name, "value": scalar}])
                if column.kind == INT and not is_integer(scalar):
                    self._replace(column, kind=FLOAT)
            elif isinstance(scalar, str):
                self.unsupported(
                    f"the column {label!r} holds numbers, and its missing values are filled with {scalar!r}",
                    f"fill them with a number, or make the field a string: fields={{{label!r}: {{'type': 'string'}}}}",
                )
            else:
                self.unsupported(
                    f"the column {label!r} holds strings, and its missing values are filled with the number {scalar!r}",
                    "fill them with a string",
                )

    def indicate_missing(self, outputs: Mapping[Label, Label]) -> None:
        """A new column of integers for each entry, at the end: 1 where the column is missing, else 0."""
        for label, output in outputs.items():
            name = self._unique(str(output))
            self._emit("indicate_missing", [{"column": self.name(label), "output": name}])
            self._append(Column(name, output, INT, np.dtype("int64")))

    def combine(
        self,
        operator: str,
        left: Label | Constant,
        right: Label | Constant,
        output: Label,
        *,
        by_zero: float | None = None,
    ) -> None:
        """`output = left operator right`, with the types of pandas: two integers give an integer, but for `divide`.

        Operands are labels, or numbers as `Constant(1)`. `output` may be the label of an operand, which it then
        replaces; otherwise it is a new column at the end, which takes the place of another one with that label when the
        step is done. `by_zero` is what a division by zero gives, if not what
        IEEE 754 says.
        """
        more = {} if by_zero is None else {"by_zero": self._scalar(float(by_zero), "by_zero")}
        if operator not in OPERATORS:
            raise ValueError(f"operator is one of {', '.join(OPERATORS)}; got {operator!r}")
        kinds: list[str] = []
        operands: list[dict[str, Any]] = []
        for operand in (left, right):
            if isinstance(operand, Constant):
                value = self._scalar(operand.value, "a constant")
                kinds.append(INT if is_integer(value) else FLOAT)
                operands.append({"constant": value})
            else:
                column = self._machine_number(operand, operator)
                kinds.append(column.kind)
                operands.append({"column": column.name})
        kind = INT if kinds == [INT, INT] and operator in ("add", "subtract", "multiply") else FLOAT
        existing = [c for c in self.columns if c.label == output and {"column": c.name} in operands]
        name = existing[0].name if existing else self._unique(str(output))
        self._state.steps.append(
            {
                "op": "combine", "name": self.path, "source": self._source, "operator": operator,
                "left": operands[0], "right": operands[1], "output": name, **more,
            }
        )  # fmt: skip
        if existing:
            self._replace(existing[0], kind=kind)
        else:
            self._append(Column(name, output, kind, np.dtype("int64" if kind == INT else "float64")))

    def _machine_number(self, label: Label, what: str) -> Column:
        """A column that Python computes with in 64 bits, of the same kind in the artifact.

        Python objects and narrow types are refused: their arithmetic is neither int64's nor float64's.
        """
        column = self._number(label, what)
        dtype = str(column.dtype).lower()
        if dtype not in ("int64", "float64"):
            self.unsupported(
                f"`{what}` on the column {column.label!r} of type {column.dtype}: Python would not compute "
                "in 64 bits there",
                "cast it to int64 or float64 before the pipeline is fitted",
            )
        if column.kind == INT and dtype == "float64":
            # pandas holds integers with missing values as float64, the artifact does not.
            self.affine({label: {"multiply": 1.0}})
        return self.column(label)

    def drop(self, labels: Iterable[Label]) -> None:
        """Removes columns."""
        found = [self.column(label) for label in labels]
        # Those that stood in their places before go with them.
        replaced = {_Replaced(column.label) for column in found}
        gone = [*found, *(column for column in self.columns if column.label in replaced)]
        if gone:
            self._emit("drop", [column.name for column in gone])
            names = {column.name for column in gone}
            self.columns = [column for column in self.columns if column.name not in names]
            self._state.live = [name for name in self._state.live if name not in names]
            self._state.counts -= names

    def select(self, labels: Iterable[Label]) -> None:
        """Keeps these columns, in this order."""
        self._keep([self.column(label) for label in labels], self.columns)

    def keep(self, columns: Sequence[Column]) -> None:
        """Keeps these columns, in this order; like `select`, where labels are not enough to tell columns apart."""
        self._keep(columns, self.columns)

    def _keep(self, chosen: Sequence[Column], scope: Sequence[Column]) -> None:
        # Columns outside this step's view belong to other branches and stay.
        inside = {column.name for column in [*scope, *chosen]}
        keep = [name for name in self._state.live if name not in inside] + [column.name for column in chosen]
        if keep != self._state.live:
            self._emit("select", keep)
        self._state.live = keep
        self._state.counts &= set(keep)
        self.columns = list(chosen)

    def assign(self) -> None:
        """Of columns with one label keeps the last, in the place and under the name of the first, as pandas assigns."""
        labels = [c.label.label if isinstance(c.label, _Replaced) else c.label for c in self.columns]
        last = dict(zip(labels, self.columns))
        first = dict(zip(reversed(labels), reversed(self.columns)))
        self.keep(list(last.values()))
        for label, column in last.items():
            if column is not first[label]:
                name = first[label].name
                self._emit("copy", [{"column": column.name, "output": name}])
                self._state.live.append(name)
                if column.name in self._state.counts:
                    self._state.counts.add(name)
                new = replace(column, name=name)
                scope = [*self.columns, new]
                self._keep([new if c is column else c for c in self.columns], scope)

    def relabel(self, labels: Sequence[Label]) -> None:
        """Says what Python calls the columns from here on; changes nothing in the artifact."""
        if len(labels) != len(self.columns):
            raise ValueError(f"{len(labels)} labels for {len(self.columns)} columns")
        self.columns = [replace(column, label=label) for column, label in zip(self.columns, labels)]

    def relabel_dtype(self, dtype: str) -> None:
        """Says that Python holds all columns in this type from here on; changes nothing in the artifact."""
        self.columns = [replace(column, dtype=np.dtype(dtype)) for column in self.columns]

    def copy(self, label: Label, output: Label) -> None:
        """A second column with the same values, at the end."""
        column = self.column(label)
        name = self._unique(str(output))
        self._emit("copy", [{"column": column.name, "output": name}])
        self._append(replace(column, name=name, label=output))

    def function(self, labels: Iterable[Label], function: str) -> None:
        """Applies the NumPy function of this name in place, in float64."""
        if function not in (*FUNCTIONS, "ndtri", "ndtr"):
            self.unsupported(f"the function `{function}` is not among {', '.join(FUNCTIONS)}")
        for label in labels:
            column = self._machine_number(label, function)
            if column.kind == INT and function == "reciprocal":
                self.unsupported(
                    f"NumPy's reciprocal of the integers of {label!r} is itself an integer, 0 nearly everywhere",
                    "fit the pipeline on a float column, or say fields={...: {'type': 'float'}}",
                )
            if column.kind == INT and function in ("square", "negative"):
                # NumPy stays with integers here, and wraps; so does `combine`.
                left: Label | Constant = label if function == "square" else Constant(0)
                self.combine("multiply" if function == "square" else "subtract", left, label, label)
                continue
            self._emit("function", [column.name], function=function)
            self._replace(column, kind=FLOAT)

    def threshold(self, thresholds: Mapping[Label, float]) -> None:
        """1.0 where the value is above the threshold, else 0.0; missing stays missing."""
        for label, threshold in thresholds.items():
            column = self._number(label, "threshold")
            value = self._scalar(threshold, "the threshold")
            self._emit("threshold", [{"column": column.name, "threshold": value}])
            self._replace(column, kind=FLOAT)

    def map(
        self,
        label: Label,
        keys: Sequence[Any],
        values: Sequence[Any],
        *,
        unseen: Outcome = "missing",
        missing: Outcome = "keep",
        output: Label | None = None,
    ) -> None:
        """Looks each value up among the keys.

        `unseen` is what becomes of another value: `"missing"`, `"keep"`, `"error"` or `{"value": v}`; `missing` what
        becomes of a missing one: `"keep"`, `"error"` or `{"value": v}`. With `output` the result is a new column at
        the end.
        """
        column = self.column(label)
        if len(keys) != len(values):
            raise ValueError(f"map takes as many values as keys; got {len(values)} and {len(keys)}")
        table: dict[Any, Any] = {}
        for key, value in zip(keys, values):
            scalar = self._scalar(key, "a key")
            if scalar is None:
                raise ValueError("a missing key is said with `missing`, not among the keys")
            # Keys are compared by value, so True, 1 and 1.0 are one key; as in a dict, the last value stands.
            table[int(scalar) if isinstance(scalar, bool) else scalar] = self._scalar(value, "a value")
        outcomes = {
            "unseen": self._outcome(unseen, ("missing", "keep", "error")),
            "missing": self._outcome(missing, ("keep", "error")),
        }
        results = list(table.values()) + [o["value"] for o in outcomes.values() if isinstance(o, dict)]
        kept = outcomes["unseen"] == "keep" and column.kind == CATEGORY
        category = any(isinstance(result, str) for result in results) or (kept and not any(map(is_number, results)))
        if outcomes["unseen"] == "keep" and not category:
            self.unsupported(f"the map of {label!r} keeps unseen values, and gives only numbers for the others")
        if category:
            kind = CATEGORY
        else:
            nulls = None in results or outcomes["unseen"] == "missing" or outcomes["missing"] == "keep"
            kind = FLOAT if nulls or not all(is_integer(result) for result in results) else INT
        entry: dict[str, Any] = {"column": column.name}
        if output is not None:
            entry["output"] = self._unique(str(output))
        entry.update(keys=list(table), values=list(table.values()), **outcomes)
        self._emit("map", [entry])
        if output is None:
            self._replace(column, kind=kind)
        else:
            self._append(Column(entry["output"], output, kind, column.dtype))

    def expand(
        self,
        label: Label,
        outputs: Sequence[Label],
        keys: Sequence[Any],
        *,
        rows: Sequence[Sequence[Any]] | None = None,
        ones: Sequence[int | None] | None = None,
        unseen: str | Sequence[Any] = "zeros",
        missing: str | Sequence[Any] = "zeros",
        split: Mapping[str, Any] | None = None,
    ) -> None:
        """Looks each value up among the keys, and writes a row of numbers to new columns at the end.

        `rows` has a row for each key, or `ones` the position of the output that is 1 while the others are 0 (None for
        none). `unseen` is what becomes of another value, `missing` what becomes of a missing one: `"zeros"`,
        `"missing"`, `"error"`, or a row. The column itself stays. With `split`,
        `{"separator": "|", "strip": True}`, each part of a text is looked up by itself, see docs/artifact.md.
        """
        column = self.column(label)
        if split is not None and column.kind != CATEGORY:
            self.unsupported(f"the column {label!r} holds numbers, and only a text can be split")
        if (rows is None) == (ones is None):
            raise ValueError("expand takes either rows or ones")
        given: Sequence[Any] = rows if ones is None else ones  # type: ignore[assignment]
        if len(keys) != len(given):
            raise ValueError(f"expand takes as many rows as keys; got {len(given)} and {len(keys)}")
        table: dict[Any, Any] = {}
        for key, row in zip(keys, given):
            scalar = self._scalar(key, "a key")
            if scalar is None:
                raise ValueError("a missing key is said with `missing`, not among the keys")
            if ones is None:
                table[scalar] = self._numbers(row, len(outputs))
            else:
                table[scalar] = None if row is None else int(row)
        others: dict[str, Any] = {}
        for what, outcome in (("unseen", unseen), ("missing", missing)):
            if not isinstance(outcome, str):
                others[what] = {"row": self._numbers(outcome, len(outputs))}
            elif outcome in ("zeros", "missing", "error"):
                others[what] = outcome
            else:
                raise ValueError(f"{what} is zeros, missing, error or a row; got {outcome!r}")
        if not outputs:
            # Nothing to write, but a value may still be refused.
            if "error" in (unseen, missing):
                guard = f"{column.name}_is_known"
                values: dict[str, Outcome] = {
                    what: "error" if other == "error" else {"value": 0} for what, other in others.items()
                }
                self.map(label, list(table), [0] * len(table), **values, output=guard)
                self.drop([guard])
            return
        names = self._new_names(outputs)
        numbers = [value for row in table.values() if ones is None for value in row]
        numbers += [value for other in others.values() if isinstance(other, dict) for value in other["row"]]
        whole = "missing" not in (unseen, missing) and all(is_integer(value) for value in numbers)
        dtype = np.dtype("int64" if whole else "float64")
        entry: dict[str, Any] = {"column": column.name, "outputs": names, "keys": list(table)}
        entry.update({"rows" if ones is None else "ones": list(table.values())}, **others)
        if split is not None:
            entry["split"] = dict(split)
        self._emit("expand", [entry])
        self.columns += [Column(name, output, INT if whole else FLOAT, dtype) for name, output in zip(names, outputs)]

    def similarity(
        self,
        label: Label,
        outputs: Sequence[Label],
        texts: Sequence[str],
        *,
        missing: str | Sequence[Any] = "missing",
    ) -> None:
        """How alike a text is to each of some texts, as difflib's `quick_ratio`: a new column for each, at the end.

        `missing` is what becomes of a missing value, as for `expand`.
        """
        column = self.column(label)
        if column.kind != CATEGORY:
            self.unsupported(f"`similarity` takes strings, but the column {label!r} holds numbers at this point")
        if len(outputs) != len(texts):
            raise ValueError(f"similarity takes as many texts as outputs; got {len(texts)} and {len(outputs)}")
        other = missing if isinstance(missing, str) else {"row": self._numbers(missing, len(outputs))}
        names = self._new_names(outputs)
        self._emit("similarity", [{"column": column.name, "outputs": names, "texts": list(texts), "missing": other}])
        self.columns += [Column(name, output, FLOAT, np.dtype("float64")) for name, output in zip(names, outputs)]

    def hash_category(self, labels: Sequence[Label], outputs: Sequence[Label], method: str) -> None:
        """How many of the values of a row hash to each of the outputs, which are new columns at the end."""
        columns = [self.column(label) for label in labels]
        for column in columns:
            if column.kind != CATEGORY:
                self.unsupported(f"`hash_category` takes strings, but the column {column.label!r} holds numbers here")
        names = self._new_names(outputs)
        self._emit("hash_category", [column.name for column in columns], outputs=names, method=method)
        self.columns += [Column(name, output, FLOAT, np.dtype("int64")) for name, output in zip(names, outputs)]

    def hash_features(
        self, keys: Mapping[Label, str | None], outputs: Sequence[Label], *, alternate_sign: bool = True
    ) -> None:
        """The fields of a row counted where MurmurHash3 says, as FeatureHasher: new columns at the end.

        `keys` has the columns with their keys; without one a text is hashed as it is.
        """
        entries = []
        for label, key in keys.items():
            column = self.column(label)
            if column.kind == DATETIME or (key is None and column.kind != CATEGORY):
                self.unsupported(f"it cannot hash the column {label!r} of type {column.dtype}")
            entries.append({"column": column.name, **({} if key is None else {"key": key})})
        names = self._many_names(outputs)
        self._state.live += names
        self._state.steps.append(
            {
                "op": "hash_features", "name": self.path, "source": self._source, "columns": entries,
                "hash": {"alternate_sign": alternate_sign}, "outputs": names,
            }
        )  # fmt: skip
        self.columns += [Column(name, output, FLOAT, np.dtype("float64")) for name, output in zip(names, outputs)]

    def sample(self, label: Label, values: Sequence[Any], seed: Label) -> None:
        """A missing value becomes one of the values, drawn by NumPy's legacy generator with the seed in `seed`."""
        column, seed_column = self.column(label), self._number(seed, "sample")
        plain = [self._scalar(value, "a value") for value in values]
        if any(isinstance(value, str) != (column.kind == CATEGORY) for value in plain):
            self.unsupported(f"the column {label!r} and the values drawn for it are not of one type")
        self._emit("sample", [{"column": column.name, "values": plain}], seed=seed_column.name)
        if column.kind == INT and not all(is_integer(value) for value in plain):
            self._replace(column, kind=FLOAT)

    def weigh(self, **parameters: Any) -> None:
        """Weighs the numbers that are not 0 by column and by norm, in all columns together: see docs/artifact.md."""
        given = {key: value for key, value in parameters.items() if value not in (None, False)}
        columns = [self._number(column.label, "weigh") for column in self.columns]
        self._emit_plain("weigh", columns=[column.name for column in columns], **given)
        self.columns = [replace(column, kind=FLOAT) for column in self.columns]

    def _many_names(self, outputs: Sequence[Label]) -> list[str]:
        """Names for many new columns, which may be a million."""
        taken = set(self._state.live)
        names = []
        for output in outputs:
            wanted = self._state.prefix + str(output)
            name, number = wanted, 2
            while name in taken:
                name, number = f"{wanted}_{number}", number + 1
            taken.add(name)
            names.append(name)
        return names

    def _new_names(self, outputs: Sequence[Label]) -> list[str]:
        names: list[str] = []
        for output in outputs:
            name = self._unique(str(output))
            names.append(name)
            self._state.live.append(name)
        return names

    def _numbers(self, row: Sequence[Any], width: int) -> list[Any]:
        if len(row) != width:
            raise ValueError(f"expand takes rows of {width} numbers; got {len(row)}")
        numbers = [self._scalar(value, "a number") for value in row]
        if any(isinstance(number, str) for number in numbers):
            raise ValueError("expand gives numbers; for strings use map")
        return numbers

    def map_dict(self, label: Label, mapping: Mapping[Any, Any], *, output: Label | None = None) -> None:
        """Looks each value up as `Series.map(mapping)` does: what is not in the mapping becomes missing."""
        if hasattr(mapping, "__missing__"):
            self.unsupported(
                f"the mapping of {label!r} is a {type(mapping).__name__}, which computes a value for a key "
                "that it lacks",
                "say what unseen values become with ctx.map(..., unseen={'value': ...})",
            )
        missing: Outcome = "keep"
        table = {}
        for key, value in mapping.items():
            if is_missing(key):
                missing = "keep" if is_missing(value) else {"value": value}
            else:
                table[key] = value
        self.map(label, list(table), list(table.values()), unseen="missing", missing=missing, output=output)

    def _outcome(self, outcome: Outcome, words: Sequence[str]) -> Any:
        if isinstance(outcome, str):
            if outcome not in words:
                raise ValueError(f"expected {', '.join(words)} or {{'value': …}}; got {outcome!r}")
            return outcome
        if set(outcome) != {"value"}:
            raise ValueError(f"expected {', '.join(words)} or {{'value': …}}; got {dict(outcome)!r}")
        value = self._scalar(outcome["value"], "a value")
        if value is None:
            raise ValueError("to leave a value missing, say so by the word")
        return {"value": value}

    def affine(self, parameters: Mapping[Label, Mapping[str, Any]]) -> None:
        """`((x - subtract) / divide) * multiply + add`, then `clip`, in float64 and in this order.

        Absent parts, and those that are None, are left out.
        """
        for label, parts in parameters.items():
            column = self._number(label, "affine")
            learned = [parts.get(part) for part in ("subtract", "divide", "multiply", "add")]
            if any(value is not None and is_missing(value) for value in learned):
                # Learned from nothing but missing values: whatever comes is missing from here on.
                self.map(label, [], [], unseen="missing", missing="keep")
                continue
            entry: dict[str, Any] = {"column": column.name}
            unknown = set(parts) - {"subtract", "divide", "multiply", "add", "clip"}
            if unknown:
                raise ValueError(f"affine has no {', '.join(sorted(unknown))}")
            for part in ("subtract", "divide", "multiply", "add"):
                if parts.get(part) is not None:
                    entry[part] = self._scalar(float(parts[part]), f"`{part}` of {label!r}")
            if parts.get("clip") is not None:
                bounds = [self._bound(bound) for bound in parts["clip"]]
                if bounds != [None, None]:  # learned from nothing but missing values, they bound nothing
                    entry["clip"] = bounds
            if len(entry) > 1:
                self._emit("affine", [entry])
            self._replace(column, kind=FLOAT)

    def _bound(self, value: Any) -> Any:
        return None if value is None else self._scalar(float(value), "a bound")

    def emit_each(
        self, op: str, label: Label, *, output: Label | None = None, kind: str = FLOAT, **parameters: Any
    ) -> None:
        """An operation on one number column, in its place, or with `output` to a new column at the end.

        `parameters` are those of the column's entry, as docs/artifact.md has them; arrays and NumPy scalars may be
        among them. `kind` is that of the result.
        """
        column = self._number(label, op)
        entry: dict[str, Any] = {"column": column.name}
        if output is not None:
            entry["output"] = self._unique(str(output))
        entry.update({key: self._plain(value, f"`{key}`") for key, value in parameters.items()})
        self._emit(op, [entry])
        if output is None:
            self._replace(column, kind=kind)
        else:
            self._append(Column(entry["output"], output, kind, _DTYPES[kind]))

    def emit_many(
        self,
        op: str,
        labels: Sequence[Label],
        outputs: Sequence[Label],
        *,
        keep: bool = False,
        single: bool = False,
        **parameters: Any,
    ) -> None:
        """An operation on several number columns that gives float columns, named `outputs`.

        The inputs are dropped and the outputs are what is left, after columns that are no inputs; with `keep` the
        outputs are added at the end. `single` is for operations that have one `output`, rather than `outputs`.
        """
        inputs = [self._number(label, op) for label in labels]
        consumed = set() if keep or single else {column.name for column in inputs}
        names: list[str] = []
        for output in outputs:
            taken = (set(self._state.live) - consumed) | set(names)
            wanted = self._state.prefix + str(output)
            name, number = wanted, 2
            while name in taken:
                name, number = f"{wanted}_{number}", number + 1
            names.append(name)
        target: dict[str, Any] = {"output": names[0]} if single else {"outputs": names}
        plain = {key: self._plain(value, f"`{key}`") for key, value in parameters.items()}
        self._state.steps.append(
            {
                "op": op, "name": self.path, "source": self._source, "columns": [column.name for column in inputs],
                **target, **plain,
            }
        )  # fmt: skip
        new = [Column(name, output, FLOAT, _DTYPES[FLOAT]) for name, output in zip(names, outputs)]
        scope = list(self.columns)
        self._state.live += [name for name in names if name not in self._state.live]
        if keep:
            self.columns += new
        else:
            used = {column.name for column in inputs}
            rest = [column for column in scope if column.name not in used]
            self._keep(rest + new, scope + new)

    def emit_in_place(self, op: str, labels: Sequence[Label], **parameters: Any) -> None:
        """An operation on several number columns together that replaces each of them."""
        columns = [self._number(label, op) for label in labels]
        plain = {key: self._plain(value, f"`{key}`") for key, value in parameters.items()}
        self._state.steps.append(
            {
                "op": op, "name": self.path, "source": self._source, "columns": [column.name for column in columns],
                **plain,
            }
        )  # fmt: skip
        for column in columns:
            self._replace(column, kind=FLOAT)

    def emit_spline(self, label: Label, outputs: Sequence[Label], **parameters: Any) -> None:
        """The B-splines of one number column, as new columns at the end."""
        column = self._number(label, "spline")
        plain = {key: self._plain(value, f"`{key}`") for key, value in parameters.items()}
        names: list[str] = []
        for output in outputs:
            names.append(self._unique(str(output)))
            self._append(Column(names[-1], output, FLOAT, _DTYPES[FLOAT]))
        self._state.steps.append(
            {
                "op": "spline", "name": self.path, "source": self._source, "column": column.name, "outputs": names,
                **plain,
            }
        )  # fmt: skip

    def _plain(self, value: Any, what: str) -> Any:
        if isinstance(value, np.ndarray):
            if value.dtype == np.float64 and np.isfinite(value).all():
                return value.tolist()
            value = value.tolist()
        if isinstance(value, (list, tuple)):
            return [self._plain(item, what) for item in value]
        if isinstance(value, dict):
            return {key: self._plain(item, what) for key, item in value.items()}
        return value if isinstance(value, bool) else self._scalar(value, what)

    def text(self, label: Label, functions: Text, *, output: Label | None = None) -> None:
        """Applies functions of text to each value: `ctx.text("cabin", Text().split(" ", 0).slice(0, 1))`.

        A number is written as `str` writes it first. With `output` the result is a new column at the end.
        """
        column = self.column(label)
        if not functions.functions:
            raise ValueError("the chain of functions is empty")
        if column.kind == DATETIME or pd.api.types.is_bool_dtype(column.dtype):
            self.unsupported(f"the column {label!r} of type {column.dtype} is not text")
        if column.kind == INT and str(column.dtype).startswith("float"):
            self.affine({label: {"multiply": 1.0}})  # pandas writes 1.0 there
            column = self.column(label)
        chain = []
        for function in functions.functions:
            if isinstance(function, dict):
                ((name, parameters),) = function.items()
                if name in ("append", "prepend") and "column" in parameters:
                    function = {name: {"column": self.name(parameters["column"])}}
            chain.append(function)
        kind = {"text": CATEGORY, "int": INT, "float": FLOAT}[functions.result]
        entry = {"column": column.name}
        if output is not None:
            entry["output"] = self._unique(str(output))
        self._emit("text", [entry], functions=chain)
        if output is None:
            self._replace(column, kind=kind)
        else:
            self._append(Column(entry["output"], output, kind, column.dtype))

    def datetime(
        self,
        label: Label,
        parts: Mapping[Label, str],
        *,
        formats: Sequence[str] | None = None,
        zone: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        """New columns of integers at the end, `{output: part}`: `year`, `month`, `weekend`, … of a column of dates.

        A column of text is read by `formats`: `"ISO8601"` or directives of `strptime`; a text that none reads is
        an error of the row. `zone` says where the clock stands: `changes` in seconds since 1970 UTC, and `offsets` in
        seconds.
        """
        column = self.column(label)
        if (column.kind == DATETIME) == (formats is not None) or column.kind in (INT, FLOAT):
            self.unsupported(f"the column {label!r} of type {column.dtype} does not hold dates")
        entries, columns = [], []
        for output, part in parts.items():
            name = self._unique(str(output))
            self._state.live.append(name)
            columns.append(Column(name, output, INT, np.dtype("int64")))
            entries.append({"part": part, "output": name})
        step: Step = {"op": "datetime", "name": self.path, "source": self._source, "column": column.name}
        if formats is not None:
            step["formats"] = list(formats)
        if zone is not None:
            step["zone"] = {key: list(values) for key, values in zone.items()}
        self._state.steps.append({**step, "outputs": entries})
        self.columns += columns

    def tokens(self, label: Label, outputs: Sequence[Label], **parameters: Any) -> None:
        """A bag of words: a new column at the end for each term, see `tokens` in docs/artifact.md."""
        column = self.column(label)
        if column.kind != CATEGORY:
            self.unsupported(f"the column {label!r} does not hold text")
        names = self._many_names(outputs)
        self._state.live += names
        self._state.counts.update(names)
        self._emit_plain("tokens", column=column.name, **parameters, outputs=names)
        self.columns += [Column(name, output, FLOAT, np.dtype("float64")) for name, output in zip(names, outputs)]

    def project(self, outputs: Sequence[Label], matrix: Any) -> None:
        """New columns at the end: all the columns times `matrix`, which has a row for each output.

        Among many columns those are left out that have no part in any output.
        """
        matrix, inputs = np.asarray(matrix, dtype=np.float64), list(self.columns)
        if len(inputs) > MAX_DENSE and matrix.any():
            used = np.flatnonzero(matrix.any(axis=0))
            matrix, inputs = matrix[:, used], [inputs[at] for at in used]
        names = []
        for output in outputs:
            names.append(self._unique(str(output)))
            self._state.live.append(names[-1])
        rows = matrix.tolist()
        self._emit_plain("project", columns=[column.name for column in inputs], outputs=names, matrix=rows)
        self.columns += [Column(name, output, FLOAT, np.dtype("float64")) for name, output in zip(names, outputs)]

    def _emit_plain(self, op: str, **parameters: Any) -> None:
        self._state.steps.append({"op": op, "name": self.path, "source": self._source, **parameters})

    def reweigh(self, **parameters: Any) -> bool:
        """Adds weights to the bag of words that the columns are, all of it and in order; false if they are not one."""
        steps = self._state.steps
        # The column of text is dropped after the step.
        at = -2 if len(steps) > 1 and steps[-1]["op"] == "drop" else -1
        last = steps[at] if steps else {}
        if last.get("op") != "tokens" or last["outputs"] != [column.name for column in self.columns]:
            return False
        if any(last.get(key) not in (None, False) for key in ("idf", "norm", "sublinear")):
            return False
        outputs = last.pop("outputs")
        last.update({key: value for key, value in parameters.items() if value not in (None, False)})
        last["outputs"] = outputs
        return True

    def _scalar(self, value: Any, what: str) -> Any:
        try:
            scalar = json_scalar(value)
        except TypeError as error:
            self.unsupported(f"{what}: {error}")
        if isinstance(scalar, bool):
            return int(scalar)
        if isinstance(scalar, int) and scalar not in _INT64:
            self.unsupported(f"{what} is {scalar}, which does not fit 64 bits")
        if isinstance(scalar, float) and math.isinf(scalar):
            self.unsupported(f"{what} is infinite")
        return scalar

    # --- steps inside steps ----------------------------------------------------------------------------------------

    def apply(self, step: Any, name: str) -> None:
        """Converts another fitted step, which takes all the columns as they are now, and goes on with its output."""
        self.frame, self.columns = convert_step(self._state, step, self._child(name), self.frame, self.columns)

    def apply_in_place(self, step: Any, name: str, labels: Sequence[Label]) -> None:
        """Converts another fitted step that takes some of the columns and puts its output in their place."""
        chosen = [self.column(label) for label in labels]
        positions = [self.columns.index(column) for column in chosen]
        _, after = convert_step(self._state, step, self._child(name), _take(self.frame, positions), chosen)
        if len(after) != len(chosen):
            self.unsupported(f"`{name}` gives {len(after)} columns for {len(chosen)}")
        for position, column in zip(positions, after):
            self.columns[position] = replace(column, label=self.columns[position].label)

    def apply_branches(
        self, branches: Sequence[tuple[str, Any, Sequence[int], float | None]], scalars: Collection[str] = ()
    ) -> None:
        """Converts fitted steps that each take some of the columns; their outputs, one after the other, are the result.

        A branch is its name, the step (or `"passthrough"`), the positions of its columns and its weight. Those named in
        `scalars` take their one column as a Series.
        """
        scope = list(self.columns)
        outputs: list[Column] = []
        outer = self._state.prefix
        for name, step, positions, weight in branches:
            inputs: list[Column] = []
            self._state.prefix = f"{outer}{name}__"
            for position in positions:
                self.columns = list(scope)
                plain = scope[position].name
                self.copy(scope[position].label, plain[len(outer) :] if plain.startswith(outer) else plain)
                inputs.append(replace(self.columns[-1], label=scope[position].label))
            taken = _take(self.frame, positions)
            if name in scalars:
                # A column selected by its name alone arrives as a Series, not as a frame.
                taken = taken.iloc[:, 0] if isinstance(taken, pd.DataFrame) else taken[:, 0]
            inner = Context(self._state, self._child(name), step, taken, inputs)
            if not (isinstance(step, str) and step == "passthrough"):
                inner.frame, inner.columns = convert_step(self._state, step, inner.path, inner.frame, inputs)
            if weight is not None:
                inner.affine({label: {"multiply": weight} for label in inner.labels})
            outputs += inner.columns
        self._state.prefix = outer
        self._keep(outputs, scope)
        # Labels of different branches may be equal; positions are not.
        self.columns = [replace(column, label=position) for position, column in enumerate(self.columns)]

    def _child(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


def convert_step(state: State, step: Any, path: str, frame: Any, columns: Sequence[Column]) -> tuple[Any, list[Column]]:
    """Emits the steps of one fitted object, runs it on the training rows, and returns what comes out of both.

    That both agree about the columns is checked; that they agree about the numbers is what golden rows are for.
    """
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return frame, list(columns)
    if isinstance(step, (str, type)) or not hasattr(step, "transform"):
        raise UnknownStepError(f"step `{path}` is {step!r}, which is not a fitted transformer: it has no `transform`")
    converter = find_converter(type(step))
    if converter is None:
        raise UnknownStepError(_unknown_step(step, path, columns))
    ctx = Context(state, path, step, frame, columns)
    _require_fitted(step, ctx)
    converter(step, ctx)
    return _reconcile(step, ctx, frame)


def _require_fitted(step: Any, ctx: Context) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(step)
    except NotFittedError:
        if hasattr(step, "steps") or hasattr(step, "transformer_list"):
            return  # its parts are asked in their turn: one that learns nothing makes the whole look unfitted
        # What learns nothing (a FunctionTransformer, most hand-written classes) has nothing to show for a fit.
        learns = any(key.endswith("_") and not key.startswith("_") for key in vars(step))
        if learns or type(step).__module__.split(".")[0] in ("sklearn", "feature_engine"):
            # A union learns by its parts, and its older versions do not know whether those are fitted.
            stateless = (
                "Binarizer", "FeatureHasher", "FeatureUnion", "FunctionTransformer", "HashingVectorizer", "Normalizer",
            )  # fmt: skip
            if type(step).__name__ not in stateless:
                ctx.unsupported("it is not fitted", "call pipeline.fit(X, y) before export(pipeline, ...)")
    except TypeError:
        pass  # not a scikit-learn estimator, but it transforms


def _reconcile(step: Any, ctx: Context, frame: Any) -> tuple[Any, list[Column]]:
    after = step.transform(frame)
    if isinstance(after, list) and all(isinstance(row, dict) for row in after):
        return after, list(ctx.columns)  # rows as dicts, whose keys are the labels
    if hasattr(after, "toarray"):
        # A bag of words stays sparse: there may be more terms than would fit.
        width = after.shape[1]
        if width == len(ctx.columns) and width > MAX_DENSE:
            after = after.tocsr()
            return after, [Column(c.name, i, c.kind, after.dtype) for i, c in enumerate(ctx.columns)]
        after = after.toarray()
    if isinstance(after, pd.Series) or getattr(after, "ndim", 2) == 1:
        after = np.asarray(after).reshape(-1, 1)
    width = after.shape[1]
    if isinstance(after, pd.DataFrame) and width < len(ctx.columns) and after.columns.is_unique:
        # A step that creates a column where one has that name already assigns to it: it keeps its place.
        ctx.assign()
    if width != len(ctx.columns):
        ctx.wrong(f"{len(ctx.columns)} columns ({reprlib.repr([c.label for c in ctx.columns])})", f"{width}")
    if not isinstance(after, pd.DataFrame):
        after = np.asarray(after)
        return after, [replace(c, label=i, dtype=after.dtype) for i, c in enumerate(ctx.columns)]
    labels = list(after.columns)
    if labels == ctx.labels:
        columns = list(ctx.columns)
    elif set(labels) == set(ctx.labels) and len(set(labels)) == width:
        columns = [ctx.column(label) for label in labels]
    elif all(isinstance(label, int) for label in ctx.labels) or not isinstance(frame, pd.DataFrame):
        columns = list(ctx.columns)
    elif find_converter(type(step)) and type(step).__module__.split(".")[0] == "sklearn":
        columns = list(ctx.columns)  # scikit-learn with set_output renames, but keeps the order
    else:
        ctx.wrong(f"the columns {reprlib.repr(ctx.labels)}", reprlib.repr(labels))
    return after, [replace(c, label=label, dtype=dtype) for c, label, dtype in zip(columns, labels, after.dtypes)]


def rename_columns(state: State, columns: Sequence[Column], names: Sequence[str]) -> list[Column]:
    """Gives the columns these names in the artifact, at the end of a conversion; no other column is kept."""

    def copied(columns: Sequence[Column], names: Sequence[str]) -> list[Column]:
        pairs = [(c.name, n) for c, n in zip(columns, names) if c.name != n]
        entries = [{"column": column, "output": name} for column, name in pairs]
        state.steps.append({"op": "copy", "name": "names", "columns": entries})
        state.steps.append({"op": "select", "name": "names", "columns": list(names)})
        state.counts = {n for c, n in zip(columns, names) if c.name in state.counts}
        state.live = list(names)
        return [replace(c, name=n) for c, n in zip(columns, names)]

    if [column.name for column in columns] == list(names):
        return list(columns)
    if any(c.name != n and n in state.live for c, n in zip(columns, names)):
        # A name that another column has now: by way of names that nothing has.
        taken = {*state.live, *names}
        columns = copied(columns, [next(f"{n}_{i}" for i in count() if f"{n}_{i}" not in taken) for n in names])
    return copied(columns, names)


_TEXT = ("CountVectorizer", "HashingVectorizer", "MultiLabelBinarizer", "TfidfVectorizer")


def as_taken(steps: Sequence[Any], frame: Any) -> Any:
    """Rows in the form in which the first of the steps takes them.

    A vectorizer of text and a MultiLabelBinarizer take a Series, the only column of the frame; a DictVectorizer
    takes dicts, and a FeatureHasher dicts, pairs or lists of strings.
    """
    first: Any = steps[0] if steps else None
    while hasattr(first, "steps") or hasattr(first, "transformer_list"):
        inner = first.steps if hasattr(first, "steps") else first.transformer_list
        first = inner[0][1] if inner else None
    name = type(first).__name__
    known = ("sklearn.feature_extraction", "sklearn.preprocessing._label")
    if isinstance(frame, pd.DataFrame) and type(first).__module__.startswith(known):
        if name in _TEXT and frame.shape[1] == 1:
            return frame.iloc[:, 0]
        if name == "DictVectorizer":
            return frame.to_dict("records")
        if name == "FeatureHasher":
            if first.input_type == "string":
                return [list(row) for row in frame.itertuples(index=False, name=None)]
            records = frame.to_dict("records")
            return records if first.input_type == "dict" else [list(record.items()) for record in records]
    return frame


def _take(frame: Any, positions: Sequence[int]) -> Any:
    if isinstance(frame, pd.Series):
        return frame
    return frame.iloc[:, list(positions)] if isinstance(frame, pd.DataFrame) else frame[:, list(positions)]


def _unknown_step(step: Any, path: str, columns: Sequence[Column]) -> str:
    cls = type(step)
    short, full = cls.__qualname__.rpartition(".")[2], class_name(cls)
    if "<locals>" in full:
        full, target = full, short  # only the class itself names a class inside a function
    else:
        target = f'"{full}"'
    known, parent = known_near(cls), known_parent(cls)
    function = "convert_" + "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(short))
    example = cast(
        Any, next((c.label for c in columns if c.kind == CATEGORY), columns[0].label if columns else "column")
    )
    lines = [f"step `{path}` is a `{full}`, and no converter is registered for that class."]
    if parent is not None:
        lines += [
            f"It is a subclass of `{class_name(parent)}`, which is known.",
            "If it transforms exactly like its parent, say so:",
            "",
            "    from seaworthy_export import converter_of, register_converter",
            f"    register_converter({target})(converter_of({parent.__name__}))",
        ]
    if known:
        lines.append("Known near it: " + ", ".join(f"`{name}`" for name in known) + ".")
    lines += [
        "A converter is one function that emits what `transform` does. Put it into a module, import that before",
        "the export (on the command line: --import that_module), and change its body to what your class does:",
        "",
        "    from seaworthy_export import Context, register_converter",
        "",
        f"    @register_converter({target})",
        f"    def {function}(step, ctx: Context) -> None:",
        f'        ctx.check([{example!r}], "missing")                # a row in which this is missing is an error',
        f'        ctx.map_dict({example!r}, {{"low": 1, "high": 2}})   # Series.map of a dict',
        "",
        "ctx has: check, fill, indicate_missing, combine, drop, select, copy, function, threshold, map, map_dict, "
        "affine,",
        f"and the columns at this point: {reprlib.repr([c.label for c in columns])}. See docs/exporter.md.",
    ]
    return "\n".join(lines)
