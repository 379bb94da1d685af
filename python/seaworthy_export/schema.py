"""The schema of a raw row, derived from the training rows and corrected by hand.

Knows nothing of steps and estimators. Also the way between rows as a client sends them and frames as the pipeline takes
them, in both directions.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .errors import SchemaError
from .values import Json, is_integer, is_missing, json_scalar

TYPES = ("int", "float", "string", "bool", "datetime")
OVERRIDES = (
    "type", "nullable", "required", "default", "aliases", "categories", "minimum", "maximum", "enforce", "sensitive",
    "description", "example",
)  # fmt: skip
MAX_CATEGORIES = 1000

Row = dict[str, Json]


@dataclass(frozen=True)
class Schema:
    """The fields, and the training rows with the types in which the pipeline will be asked to predict."""

    fields: list[dict[str, Any]]
    frame: pd.DataFrame
    holes: Mapping[str, Any] = field(default_factory=dict)
    """What a missing value is in columns of objects, where it is not NaN: None or pd.NA, as in the training rows."""

    def field(self, name: str) -> dict[str, Any]:
        """The field of this name."""
        return next(entry for entry in self.fields if entry["name"] == name)

    def row(self, position: int) -> Row:
        """A training row as a client would send it."""
        cells = (self.frame[field["name"]].iloc[position] for field in self.fields)
        return {field["name"]: _cell(cell, field["type"]) for field, cell in zip(self.fields, cells)}

    def frame_of(self, rows: Sequence[Mapping[str, Json]]) -> pd.DataFrame:
        """Rows as the frame that the pipeline takes, see `rows_to_frame`."""
        return rows_to_frame(rows, self.frame.dtypes.to_dict(), self.holes)


def rows_to_frame(
    rows: Sequence[Mapping[str, Json]], dtypes: Mapping[str, Any], holes: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """JSON rows as a frame with these columns and data types.

    A missing value is NaN, as `read_csv` has it, or what `holes` says for a column of objects; a column of integers in
    which one is missing becomes float64, as pandas does it.
    """
    columns = {}
    for name, dtype in dtypes.items():
        values = [row[name] for row in rows]
        if pd.api.types.is_datetime64_any_dtype(dtype):
            columns[name] = _dates(values, dtype)
            continue
        plain = isinstance(dtype, np.dtype)
        if plain and dtype.kind in "iub" and any(value is None for value in values):
            dtype = np.dtype("float64" if dtype.kind != "b" else "object")
        if plain and dtype.kind in "fO":
            hole = (holes or {}).get(name, np.nan) if dtype.kind == "O" else np.nan
            values = [hole if value is None else value for value in values]
        columns[name] = pd.Series(values, dtype=dtype)
    return pd.DataFrame(columns)


def derive_schema(
    inputs: pd.DataFrame,
    columns: Sequence[str],
    fields: Mapping[str, Mapping[str, Any]] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> Schema:
    """The schema of these columns of the training rows.

    A column's type follows from its data type; `object` columns are looked into. `nullable` is whether a value is
    missing, `required` its opposite. `fields` overrides any key of any field, `aliases` are `{other name: field}`.
    """
    fields, aliases = fields or {}, aliases or {}
    _require_known(fields, columns, "fields")
    _require_known(aliases.values(), columns, "aliases")
    specs, series = [], {}
    for name in columns:
        overrides = dict(fields.get(name, {}))
        unknown = set(overrides) - set(OVERRIDES)
        if unknown:
            raise SchemaError(
                f"field `{name}`: no such key: {', '.join(sorted(unknown))}; there are {', '.join(OVERRIDES)}"
            )
        also = [alias for alias, field in aliases.items() if field == name]
        spec, column = _derive_field(name, inputs[name], overrides, also)
        specs.append(spec)
        series[name] = column
    _require_unique_names(specs)
    frame = pd.DataFrame(series).reset_index(drop=True)
    holes = {name: _hole(frame[name]) for name in frame if pd.api.types.is_object_dtype(frame[name].dtype)}
    return Schema(specs, frame, {name: hole for name, hole in holes.items() if not isinstance(hole, float)})


def _require_known(names: Iterable[str], columns: Sequence[str], what: str) -> None:
    for name in names:
        if name not in columns:
            near = difflib.get_close_matches(str(name), [str(column) for column in columns], n=3)
            meant = f"; did you mean {', '.join(near)}?" if near else ""
            raise SchemaError(f"{what}: `{name}` is no column that the pipeline takes{meant}")


def _require_unique_names(specs: Sequence[Mapping[str, Any]]) -> None:
    owner: dict[str, str] = {}
    for spec in specs:
        for name in [spec["name"], *spec.get("aliases", [])]:
            if name in owner:
                raise SchemaError(f"`{name}` is a name or an alias of both `{owner[name]}` and `{spec['name']}`")
            owner[name] = spec["name"]


def _derive_field(
    name: str, column: pd.Series, overrides: dict[str, Any], aliases: list[str]
) -> tuple[dict[str, Any], pd.Series]:
    kind, series, discrete = _typed(name, column, overrides.get("type"))
    cells = [_cell(value, kind) for value in series]
    known = [cell for cell in cells if cell is not None]
    nullable = bool(overrides.get("nullable", len(known) < len(cells)))
    spec: dict[str, Any] = {
        "name": name,
        "type": kind,
        "nullable": nullable,
        "required": bool(overrides.get("required", not nullable)),
    }
    if "default" in overrides and overrides["default"] is not None:
        spec["default"] = _checked(name, "default", overrides["default"], kind)
    if not spec["required"] and not nullable and "default" not in spec:
        raise SchemaError(
            f"field `{name}` is neither required nor nullable, and has no default: what is it when absent?"
        )
    every_alias = [*aliases, *(alias for alias in overrides.get("aliases", []) if alias not in aliases)]
    if every_alias:
        spec["aliases"] = every_alias
    derived: dict[str, Any] = {}
    if known and (kind == "string" or discrete):
        distinct = sorted(set(known))
        if len(distinct) <= MAX_CATEGORIES:
            derived["categories"] = distinct
    if known and kind in ("int", "float"):
        derived["minimum"], derived["maximum"] = min(known), max(known)
    if known:
        derived["example"] = _typical(known)
    if overrides.get("sensitive"):
        # The point of a sensitive field is that its values are not written down.
        derived.pop("example", None)
    for key in ("categories", "minimum", "maximum", "example"):
        value = overrides.get(key, derived.get(key))
        if value is None:
            continue
        if key == "categories":
            spec[key] = sorted(_checked(name, key, entry, kind) for entry in value)
        elif key in ("minimum", "maximum") and kind not in ("int", "float"):
            raise SchemaError(f"field `{name}`: `{key}` is for int and float, not {kind}")
        else:
            spec[key] = _checked(
                name, key, value, "float" if key in ("minimum", "maximum") and kind == "float" else kind
            )
    for key in ("enforce", "sensitive"):
        if overrides.get(key):
            spec[key] = True
    if overrides.get("description"):
        spec["description"] = str(overrides["description"])
    return spec, series


def _hole(column: pd.Series) -> Any:
    """What a missing value is in a column of objects: None or pd.NA where all are so, else NaN."""
    kinds = {type(value).__name__: value for value in column if is_missing(value)}
    return kinds.popitem()[1] if set(kinds) in ({"NoneType"}, {"NAType"}) else np.nan


def _typical(known: Sequence[Any]) -> Any:
    """The most frequent value, for numbers the middle one; the earliest of equals."""
    if isinstance(known[0], float) or (is_integer(known[0]) and not isinstance(known[0], bool)):
        return sorted(known)[(len(known) - 1) // 2]
    counts: dict[Any, int] = {}
    for value in known:
        counts[value] = counts.get(value, 0) + 1
    return max(counts, key=lambda value: counts[value])


def _typed(name: str, column: pd.Series, wanted: str | None) -> tuple[str, pd.Series, bool]:
    """The type of a field, its column as the pipeline is given it, and whether its integers are categories."""
    if wanted is not None and wanted not in TYPES:
        raise SchemaError(f"field `{name}`: this version exports the types {', '.join(TYPES)}, not `{wanted}`")
    discrete = False
    if isinstance(column.dtype, pd.CategoricalDtype):
        # A service knows strings and numbers; a frame with categories would turn an unseen one into a missing value.
        column, discrete = column.astype(column.cat.categories.dtype if not column.isna().any() else object), True
    kind = _kind(name, column, wanted)
    if pd.api.types.is_object_dtype(column.dtype):
        # Not Series.map, which would make integers of a column of integer objects; the pipeline may tell them apart.
        hole = _hole(column)
        column = pd.Series([hole if is_missing(value) else value for value in column], column.index, dtype=object)
        discrete = discrete or kind == "int"
    discrete = discrete and kind == "int"
    if "datetime" in (kind, wanted) and wanted is not None and wanted != kind:
        raise SchemaError(f"field `{name}` is said to be {wanted}, and holds {kind}; convert the column before")
    if wanted is None or wanted == kind:
        return kind, _canonical(column, kind), discrete
    if wanted == "string":
        strings = [np.nan if is_missing(value) else str(value) for value in column]
        return "string", pd.Series(strings, column.index, dtype=object), False
    if kind == "string":
        raise SchemaError(
            f"field `{name}` is said to be {wanted}, and holds strings such as {column.dropna().iloc[0]!r}; "
            "strings are never parsed as numbers"
        )
    if wanted == "bool":
        raise SchemaError(f"field `{name}` is said to be bool, and holds {kind}; convert the column with astype(bool)")
    if wanted == "float":
        return "float", column.astype("float64"), False
    fractions = [value for value in column.dropna() if float(value) != int(value)]
    if fractions:
        raise SchemaError(f"field `{name}` is said to be int, and holds {fractions[0]!r}")
    if column.isna().any():
        return "int", column, False  # stays float64, pandas' way to hold integers with missing values
    return "int", column.astype("int64"), False


def _kind(name: str, column: pd.Series, wanted: str | None) -> str:
    dtype = column.dtype
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return "datetime"
    if pd.api.types.is_bool_dtype(dtype) and not pd.api.types.is_object_dtype(dtype):
        return "bool"
    if pd.api.types.is_integer_dtype(dtype):
        return "int"
    if pd.api.types.is_float_dtype(dtype):
        return "float"
    if not pd.api.types.is_object_dtype(dtype) and pd.api.types.is_string_dtype(dtype):
        return "string"
    if not pd.api.types.is_object_dtype(dtype):
        raise SchemaError(
            f"column `{name}` has the type {dtype}, which no field can have\n"
            "hint: turn it into numbers, strings or dates before the pipeline is fitted"
        )
    kinds: dict[str, object] = {}
    for value in column:
        if is_missing(value):
            continue
        if isinstance(value, (bool, np.bool_)):
            kind = "bool"
        elif is_integer(value):
            kind = "int"
        elif isinstance(value, (float, np.floating)):
            kind = "float"
        elif isinstance(value, str):
            kind = "string"
        else:
            raise SchemaError(f"column `{name}` holds {value!r} (a {type(value).__name__}), which no field can hold")
        kinds.setdefault(kind, value)
    if set(kinds) == {"int", "float"}:
        return "float"
    if len(kinds) > 1 and wanted != "string":
        examples = ", ".join(f"{kind} ({value!r})" for kind, value in kinds.items())
        raise SchemaError(
            f"column `{name}` holds values of several types: {examples}\n"
            f"hint: make them one before the pipeline is fitted, or make all "
            f"strings with the type `string` for `{name}`"
        )
    if not kinds and wanted is None:
        raise SchemaError(
            f"column `{name}` holds nothing but missing values; say its type with fields={{{name!r}: {{'type': …}}}}"
        )
    return next(iter(kinds), wanted or "string")


def _canonical(column: pd.Series, kind: str) -> pd.Series:
    """The column with 64 bits; extension types and objects stay what they are, for the pipeline was fitted on them."""
    dtype = column.dtype
    if isinstance(dtype, np.dtype):
        if kind == "int" and dtype.kind in "iu":
            return column.astype("int64")
        if kind == "float" and dtype.kind == "f":
            return column.astype("float64")
    return column


def _dates(values: Sequence[Any], dtype: Any) -> pd.Series:
    """ISO 8601 as dates of a column's type: what a client sends with an offset is turned to UTC."""
    dates = [pd.NaT if value is None else pd.Timestamp(value) for value in values]
    zone = getattr(dtype, "tz", None)
    dates = [date if date is pd.NaT or date.tz is None else date.tz_convert("UTC").tz_localize(None) for date in dates]
    if zone is None:
        return pd.Series(dates, dtype=dtype)
    return pd.to_datetime(pd.Series(dates), utc=True).dt.tz_convert(zone).astype(dtype)


def _cell(value: Any, kind: str) -> Json:
    if kind == "datetime":
        return None if is_missing(value) else _iso(pd.Timestamp(value))
    scalar = json_scalar(value) if not (isinstance(value, float) and np.isinf(value)) else None
    if scalar is None:
        return None
    if kind == "float":
        return float(scalar)
    if kind == "int":
        return int(scalar)
    return bool(scalar) if kind == "bool" else scalar


def _is_date(text: str) -> bool:
    try:
        pd.Timestamp(text)
    except ValueError:
        return False
    return text[4:5] == "-" and text[7:8] == "-"


def _iso(date: pd.Timestamp) -> str:
    """A date as a client sends it: in UTC when it has a time zone; without the clock when that stands at midnight."""
    if date.tz is not None:
        return f"{date.tz_convert('UTC').tz_localize(None).isoformat(timespec='microseconds').replace('.000000', '')}Z"
    if date == date.normalize():
        return str(date.strftime("%Y-%m-%d"))
    return str(date.isoformat(timespec="microseconds").replace(".000000", ""))


def _checked(name: str, key: str, value: Any, kind: str) -> Any:
    """A value given by hand, as the type of its field; what does not fit is refused."""
    try:
        scalar = json_scalar(value)
    except TypeError as error:
        raise SchemaError(f"field `{name}`: `{key}`: {error}") from error
    fits = {
        "int": is_integer(scalar) and not isinstance(scalar, bool),
        "float": isinstance(scalar, (int, float)) and not isinstance(scalar, bool),
        "string": isinstance(scalar, str),
        "bool": isinstance(scalar, bool),
        "datetime": isinstance(scalar, str) and _is_date(scalar),
    }[kind]
    if not fits:
        raise SchemaError(f"field `{name}` is {kind}, so its `{key}` cannot be {value!r}")
    return float(scalar) if kind == "float" else scalar  # type: ignore[arg-type]
