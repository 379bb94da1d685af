"""What a case is, and how it is run and compared.

A case is an unfitted transformer, what to fit it on and what to ask it. It is fitted, read by the exporter and run by
`seaworthy transform`; the rows asked go there as a client would send them. The original answers the same rows, made
into a frame of the types that it was fitted on. Each cell must be the same, and a row must be refused exactly where the
original raises when given that one row.

Strings, integers and missing values must be equal. A float must be within the relative tolerance; where large numbers
cancel no library keeps that, so a cell outside it is held to what rounding explains (see `slack`), and is counted.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import tempfile
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Union

import numpy as np
import pandas as pd
import sklearn

from seaworthy_export import ExportError, UnsupportedStepError, read_pipeline
from seaworthy_export.context import CATEGORY
from seaworthy_export.errors import NothingAcceptedError, WrongConverterError
from seaworthy_export.exporter import Reading
from seaworthy_export.schema import Schema
from seaworthy_export.schema import _cell as cell_as_sent
from seaworthy_export.values import is_missing

from . import slack
from .draw import Draw

ROOT = Path(__file__).resolve().parents[2]
REDRAWS = 40
GENERATION = "current" if int(sklearn.__version__.split(".")[1]) >= 5 else "2023"
LIBM = (
    "NumPy takes functions from SVML where the processor has AVX-512 and from the C library elsewhere; their last bits "
    "differ"
)
Value = Union[None, float, int, str]


@dataclass
class Case:
    """One transformer, what it is fitted on, and what it is asked.

    Attributes:
        transformer: unfitted; a class of its own or a pipeline.
        X_train: what it is fitted on.
        X_test: what it is asked; infinite numbers are sent as missing, since JSON has no word for them.
        y: the target for the fit.
        tolerance: of numbers, relative; 0 asks for the same float64.
        slack: what rounding within the class explains in each cell of a row, beside what `slack.of` finds.
        reason: of a tolerance that is not the default, or of `slack`.
        fit_kwargs: more arguments of `fit`.
        fields: overrides of the derived schema, as `export` takes them.
        names: whether names are compared; False where the original names what it does not give.
        refusable: the exporter may refuse this one with `UnsupportedStepError`; it is counted.
        fit: how to fit, for what is not fitted by `fit(X, y)`.
        transform: how to ask, for what has no `transform` of frames.

    """

    transformer: Any
    X_train: pd.DataFrame
    X_test: pd.DataFrame
    y: Any = None
    tolerance: float = 1e-12
    slack: Callable[[Any, pd.DataFrame], Sequence[float]] | None = None
    reason: str = ""
    fit_kwargs: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    names: bool = True
    refusable: bool = False
    fit: Callable[[Any, pd.DataFrame, Any], Any] | None = None
    transform: Callable[[Any, pd.DataFrame], Any] | None = None


Generator = Callable[[Draw], Case]


@dataclass(frozen=True)
class Registered:
    """A class and the generator of its cases."""

    name: str
    family: str
    generations: tuple[str, ...]
    generate: Generator
    note: str


REGISTRY: dict[str, Registered] = {}


def parity(
    name: str,
    *,
    family: str,
    generations: Sequence[str] = ("current", "2023"),
    note: str = "",
) -> Callable[[Generator], Generator]:
    """Registers the decorated generator for a class, by the name under which its converter is registered.

    Args:
        name: such as `sklearn.preprocessing.MinMaxScaler`; a text in brackets after it tells several generators of
            one class apart.
        family: the heading in docs/transformers.md.
        generations: of the libraries, `current` and `2023`, that have the class.
        note: for the table: what the export refuses, or what differs.

    """

    def register(generate: Generator) -> Generator:
        if name in REGISTRY:
            raise ValueError(f"two generators are registered for {name}")
        REGISTRY[name] = Registered(name, family, tuple(generations), generate, note)
        return generate

    return register


class MismatchError(Exception):
    """A row, column or name that is not the original's."""


@dataclass
class Outcome:
    """What came of one case.

    Attributes:
        rows: that were compared.
        refused: rows that the original raises on.
        difference: the largest relative one of the cells within the tolerance.
        absolute: the largest one of the cells outside of it.
        cells: floats compared.
        cancelled: cells outside the tolerance that rounding explains.
        edges: cells where the last bit decides of a bin, or of rows that are equally near.
        redraws: draws that the library itself would not fit.
        unsupported: the reason where the exporter refused what it may refuse.
        names: how the names were compared, of `NAMES`.

    """

    rows: int = 0
    refused: int = 0
    difference: float = 0.0
    absolute: float = 0.0
    cells: int = 0
    cancelled: int = 0
    edges: int = 0
    redraws: int = 0
    unsupported: str = ""
    tolerance: float = 0.0
    reason: str = ""
    names: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    failure: str = ""
    seconds: float = 0.0


def seed_of(name: str, seed: int, case: int, attempt: int) -> list[int]:
    """What a draw is seeded with: nothing but what the command line says and the name."""
    return [seed, zlib.crc32(name.encode()), case, attempt]


def run_case(registered: Registered, seed: int, case: int) -> Outcome:
    """Draws, fits, exports, runs and compares one case. What the library itself refuses to fit is drawn again."""
    problem = ""
    for attempt in range(REDRAWS):
        draw = Draw(seed_of(registered.name, seed, case, attempt))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                drawn = registered.generate(draw)
            except Exception:
                return Outcome(failure=f"the generator itself raises:\n{_traceback()}")
            try:
                _fit(drawn)
                # What cannot transform what it was fitted on has nothing to be exported.
                trained = _transform(drawn, drawn.X_train.copy())
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            outcome = Outcome(
                redraws=attempt, tolerance=drawn.tolerance, reason=drawn.reason,
                parameters=_parameters(drawn.transformer), steps=_steps(drawn.transformer),
            )  # fmt: skip
            try:
                _compare(drawn, draw, trained, outcome)
            except NothingAcceptedError as error:
                problem = str(error)
                continue
            except UnsupportedStepError as error:
                if drawn.refusable and not isinstance(error, WrongConverterError):
                    outcome.unsupported = str(error)
                else:
                    outcome.failure = f"the exporter refuses it: {error}\n{_described(drawn)}"
            except (MismatchError, ExportError) as error:
                outcome.failure = f"{error}\n{_described(drawn)}"
            except Exception:
                outcome.failure = f"{_traceback()}\n{_described(drawn)}"
        return outcome
    return Outcome(failure=f"{REDRAWS} draws in turn could not be fitted; the last: {problem}", redraws=REDRAWS)


def _traceback() -> str:
    """Where it happened: the last frames are enough, the seed finds the rest."""
    return traceback.format_exc(limit=-4).rstrip()


def _fit(case: Case) -> None:
    if case.fit is not None:
        case.fit(case.transformer, case.X_train.copy(), case.y)
    else:
        case.transformer.fit(case.X_train.copy(), case.y, **case.fit_kwargs)


def _transform(case: Case, frame: pd.DataFrame) -> Any:
    return case.transform(case.transformer, frame) if case.transform else case.transformer.transform(frame)


def _parameters(transformer: Any) -> dict[str, str]:
    try:
        parameters = transformer.get_params(deep=False)
    except Exception:
        return {}
    return {key: repr(value)[:60] for key, value in parameters.items()}


def _steps(transformer: Any) -> list[str]:
    """The classes within a pipeline."""
    parts = getattr(transformer, "steps", None) or getattr(transformer, "transformers", None)
    parts = parts or getattr(transformer, "transformer_list", None) or []
    found = [type(transformer).__name__]
    for part in parts:
        if not isinstance(part[1], str) and part[1] is not None:
            found += _steps(part[1])
    return found


def _described(case: Case) -> str:
    dtypes = ", ".join(f"{name!r}: {dtype}" for name, dtype in case.X_train.dtypes.items())
    return f"  transformer: {case.transformer!r}\n  fitted on {len(case.X_train)} rows of {{{dtypes}}}"


# --- comparing -----------------------------------------------------------------------------------------------------


def _compare(case: Case, draw: Draw, trained: Any, outcome: Outcome) -> None:
    fields = {name: {"nullable": True, **case.fields.get(name, {})} for name in case.X_train.columns}
    for name, entry in fields.items():
        if "type" not in entry and case.X_train[name].isna().all():
            entry["type"] = _type_of(case.X_train[name].dtype)
    reading = read_pipeline(case.transformer, case.X_train, fields=fields)
    rows = [_sent(case.X_test, position, reading.schema.fields) for position in range(len(case.X_test))]
    schema = reading.schema
    outcome.names = _compare_names(case, trained, reading)
    batch = draw.choice([1, 3, 1024])
    whole = _whole(case, rows, schema, draw.integer(0, len(rows) - 1))
    if whole is not None:
        try:
            _compare_rows(case, reading, rows, schema, whole, batch, outcome)
            return
        except MismatchError:
            pass  # what the original gives a row among others may not be what it gives the row alone
    alone = [_alone(case, row, schema) for row in rows]
    _compare_rows(case, reading, rows, schema, alone, batch, outcome)


def _compare_rows(
    case: Case,
    reading: Reading,
    rows: Sequence[Mapping[str, Any]],
    schema: Schema,
    expected: Sequence[list[Value] | None],
    batch: int,
    outcome: Outcome,
) -> None:
    """Compares what the original gives with what Seaworthy does; `outcome` is filled in once all are the same."""
    width = len(reading.columns)
    for position, cells in enumerate(expected):
        if cells is not None and len(cells) != width:
            raise MismatchError(f"row {position}: the original gives {len(cells)} columns, the export {width}")
    spec, codes = _numeric(reading, expected)
    refused = cells_compared = cancelled = edges = 0
    largest = largest_absolute = 0.0
    # How many rows are computed together must not matter.
    found = run_transform(spec, rows, batch=batch)
    for position, (wanted, got) in enumerate(zip(expected, found)):
        if (wanted is None) != ("errors" in got):
            raise MismatchError(
                f"row {position}: the original "
                + (f"raises ({_error(case, rows[position], schema)})" if wanted is None else f"gives {wanted}")
                + f", Seaworthy gives {_shown(got)}\n  row: {_shown(rows[position])}\n{_steps_text(spec)}"
            )
        if wanted is None:
            refused += 1
            continue
        explained: slack.Slack | None = None
        for column, (e, f) in enumerate(zip(wanted, got["features"])):
            known = codes.get(column)
            if known is not None and e is not None:
                e = float(known.index(e))
            cells_compared += isinstance(e, float)
            difference = distance(e, f)
            if difference <= case.tolerance:
                largest = max(largest, difference)
                continue
            absolute = (
                abs(e - float(f)) if isinstance(e, (int, float)) and f is not None and known is None else math.inf
            )
            if absolute < math.inf:
                if explained is None:
                    explained = slack.of(case, schema.frame_of([rows[position]]), width)
                small = isinstance(e, float) and absolute <= slack.JUMP * max(1.0, abs(e))
                if small and absolute <= explained.bounds[column]:
                    largest_absolute = max(largest_absolute, absolute)
                    cancelled += 1
                    continue
                if absolute <= explained.bounds[column] or explained.gives(column, float(f), case.tolerance):
                    edges += 1
                    continue
            shown = f
            if known is not None and isinstance(f, float):
                shown = known[int(f)] if f >= 0 else "none of the values that the original gives in this column"
            raise MismatchError(
                f"row {position}, column {column} `{reading.columns[column].name}`: "
                f"the original gives {wanted[column]!r}, Seaworthy gives {shown!r} "
                f"(relative difference {difference:.3g}, tolerance {case.tolerance:g}; absolute {absolute:.3g}, "
                f"rounding explains {explained.bounds[column] if explained is not None else 0:.3g})"
                f"\n  row: {_shown(rows[position])}\n{_steps_text(spec)}"
            )
    outcome.rows, outcome.refused, outcome.difference = len(rows), refused, largest
    outcome.cells, outcome.cancelled, outcome.absolute = cells_compared, cancelled, largest_absolute
    outcome.edges = edges


def distance(expected: Value, found: Any) -> float:
    """The relative difference of two cells; infinite when one is missing or infinite and the other is not that."""
    if isinstance(found, str):
        found = float(found)
    if expected is None or found is None:
        return 0.0 if expected is found else math.inf
    if isinstance(expected, str):
        return math.inf
    if expected == found:
        return 0.0
    if isinstance(expected, int):  # of an integer nothing may be lost
        return math.inf
    if math.isinf(expected) or math.isinf(found):
        return math.inf
    return float(abs(expected - found) / max(abs(expected), 5e-324))


def _type_of(dtype: Any) -> str:
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return "bool"
    if pd.api.types.is_integer_dtype(dtype):
        return "int"
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return "datetime"
    return "float" if pd.api.types.is_float_dtype(dtype) else "string"


def _sent(frame: pd.DataFrame, position: int, fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row as a client would send it."""
    row = {}
    for entry in fields:
        row[entry["name"]] = cell_as_sent(frame[entry["name"]].iloc[position], entry["type"])
    return row


def _whole(
    case: Case, rows: Sequence[Mapping[str, Any]], schema: Schema, checked: int
) -> list[list[Value] | None] | None:
    """What the original gives for the rows as one frame, which is quicker than to ask each alone.

    None when it raises or drops a row, or when the row `checked` differs alone, for alone is how a service asks.
    """
    try:
        output = _transform(case, schema.frame_of(rows))
    except Exception:
        return None
    whole = _cells(output)
    if len(whole) != len(rows) or not same(_alone(case, rows[checked], schema), whole[checked], case):
        return None
    return list(whole)


def same(alone: list[Value] | None, among: list[Value], case: Case) -> bool:
    """Whether the original says the same of a row alone as of the row among others."""
    if alone is None or len(alone) != len(among):
        return False
    for a, b in zip(alone, among):
        if isinstance(a, str) or isinstance(b, str):
            if a != b:
                return False
        # The type, too, may depend on the other rows.
        elif isinstance(a, int) != isinstance(b, int) or distance(a, b) > case.tolerance:
            return False
    return True


def _alone(case: Case, row: Mapping[str, Any], schema: Schema) -> list[Value] | None:
    try:
        output = _transform(case, schema.frame_of([row]))
    except Exception:
        return None
    cells = _cells(output)
    return cells[0] if len(cells) == 1 else None  # a row that is dropped has no answer


def _error(case: Case, row: Mapping[str, Any], schema: Schema) -> str:
    try:
        cells = _cells(_transform(case, schema.frame_of([row])))
    except Exception as error:
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[0] if lines else ''}"
    return f"{len(cells)} rows for one"


def _cells(output: Any) -> list[list[Value]]:
    """What a transformer gives as rows of cells."""
    if hasattr(output, "toarray"):
        output = output.toarray()
    if isinstance(output, pd.DataFrame):
        columns = [list(output.iloc[:, i]) for i in range(output.shape[1])]
        return [[_cell(column[row]) for column in columns] for row in range(len(output))]
    array = np.asarray(output)
    if array.ndim == 1:
        array = array.reshape(-1, 1)
    return [[_cell(value) for value in row] for row in array.tolist()]


def _cell(value: Any) -> Value:
    if is_missing(value):
        return None
    if isinstance(value, (bool, int, np.bool_, np.integer)):
        return int(value)
    if isinstance(value, (float, np.number)):
        return float(value)
    if isinstance(value, str):
        return str(value)
    raise TypeError(f"a cell that no feature can be: {value!r}")


def _numeric(reading: Reading, expected: Sequence[list[Value] | None]) -> tuple[dict[str, Any], dict[int, list[Value]]]:
    """The specification, with a lookup at its end for each column that holds categories: features are numbers.

    The lookup gives the position among the values of the original, and -1 for any other: nothing is lost.
    """
    spec = json.loads(json.dumps(reading.spec))
    codes: dict[int, list[Value]] = {}
    entries = []
    for position, column in enumerate(reading.columns):
        if column.kind != CATEGORY:
            continue
        known: list[Value] = []
        for cells in expected:
            if cells is not None and cells[position] is not None and cells[position] not in known:
                known.append(cells[position])
        codes[position] = known
        entries.append(
            {
                "column": column.name, "keys": known, "values": [float(i) for i in range(len(known))],
                "unseen": {"value": -1.0}, "missing": "keep",
            }
        )  # fmt: skip
    if entries:
        spec["pipeline"].append({"op": "map", "name": "comparison", "columns": entries})
    return spec, codes


NAMES = {
    "equal": "",
    "repeated": "the original gives a name twice; those that it gives once were equal",
    "frame": "`get_feature_names_out` raises or names other columns than the frame has; those of the frame were equal",
    "none": "the original has no names",
    "off": "the original names columns that it does not give",
}
"""How names were compared, and what the table says of it."""


def _compare_names(case: Case, trained: Any, reading: Reading) -> str:
    """Compares with the columns of the frame that the original gives, else with `get_feature_names_out`."""
    if not case.names:
        return "off"
    said, given = _names(case, trained)
    wanted = said if given is None else given
    if wanted is None:
        return "none"
    found = [column.name for column in reading.columns]
    # A column in the artifact needs a name of its own, which the original does not always give.
    once = Counter(wanted)
    if len(wanted) != len(found) or any(once[w] == 1 and w != f for w, f in zip(wanted, found)):
        raise MismatchError(f"the names of the features: the original's are {wanted}, the export's are {found}")
    if len(once) < len(wanted):
        return "repeated"
    return "equal" if said == wanted or not hasattr(case.transformer, "get_feature_names_out") else "frame"


def _names(case: Case, trained: Any) -> tuple[list[str] | None, list[str] | None]:
    """The names that the original says, and those of the frame that it gives."""
    said = given = None
    # It, or a step within it, may have none.
    with contextlib.suppress(Exception):
        said = [str(name) for name in case.transformer.get_feature_names_out()]
    if isinstance(trained, pd.DataFrame) and any(isinstance(name, str) for name in trained.columns):
        given = [str(name) for name in trained.columns]
    return said, given


def _shown(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)


def _steps_text(spec: Mapping[str, Any]) -> str:
    lines = [json.dumps(step, ensure_ascii=False) for step in spec["pipeline"]]
    return "  steps:\n" + "\n".join(f"    {line[:600]}{'…' if len(line) > 600 else ''}" for line in lines)


# --- the Rust side -------------------------------------------------------------------------------------------------


def binary() -> str:
    """The `seaworthy` that is compared: SEAWORTHY_BIN, else the debug build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return os.environ.get("SEAWORTHY_BIN", str(target / "debug" / "seaworthy"))


def run_transform(spec: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], batch: int) -> list[dict[str, Any]]:
    """The answers of `seaworthy transform`, one a row: `{"features": […]}` or `{"errors": […]}`."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "spec.json"
        path.write_text(json.dumps(spec, allow_nan=False), encoding="utf-8")
        done = subprocess.run(
            [binary(), "transform", str(path), "-", "--batch", str(batch)],
            input="".join(json.dumps(row, allow_nan=False) + "\n" for row in rows),
            capture_output=True, encoding="utf-8", check=False,
            # The variable saves the process from starting itself again to set it.
            env={**os.environ, "ORT_DISABLE_TELEMETRY": "1"}, cwd=ROOT,
        )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(rows):
        raise MismatchError(
            f"`seaworthy transform` ends with {done.returncode} and {len(answers)} answers for {len(rows)} rows: "
            f"{done.stderr.strip()}\n{_steps_text(spec)}"
        )
    return answers
