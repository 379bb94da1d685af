"""Converters of feature-engine's transformers of dates, versions 1.5 to 1.9.

A column of dates is a field of the type `datetime`. A column of strings that the transformer parses stays one of
strings: it is read by the format that its training values have, which pandas guesses from each request anew.
"""

from __future__ import annotations

import datetime as clock
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..context import DATETIME, Constant, Context, Label
from ..registry import register_converter
from ..values import is_missing

# Formats that are read without doubt, in the order in which they are tried.
_FORMATS = (
    "ISO8601", "%Y-%m-%d %H:%M", "%Y/%m/%d", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S",
    "%m-%d-%Y", "%Y%m%d", "%Y.%m.%d",
)  # fmt: skip
_DAY_FIRST = (
    "ISO8601", "%d/%m/%Y", "%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d-%m-%Y", "%d-%m-%Y %H:%M:%S", "%d.%m.%Y",
    "%d.%m.%Y %H:%M:%S",
)  # fmt: skip


@register_converter("feature_engine.datetime.DatetimeFeatures")
def convert_datetime_features(step: Any, ctx: Context) -> None:
    """Parts of the calendar and the clock as new columns, variable by variable."""
    if step.variables == "index":
        ctx.unsupported("it takes the dates from the index, which a request does not have", "make the index a column")
    labels: list[Label] = list(step.variables_)
    if step.missing_values == "raise":
        ctx.check(labels, "missing")
    for label in labels:
        # Only names are taken over: the values of the parts are those of pandas.
        parts: dict[Label, str] = {f"{label}_{part}": part for part in step.features_to_extract_}
        dates = _Dates(step, ctx, label)
        ctx.datetime(label, parts, **dates.reading)
        _missing_as_pandas(ctx, parts)
    if step.drop_original:
        ctx.drop(labels)


def _missing_as_pandas(ctx: Context, parts: dict[Label, str]) -> None:
    """The flags of a missing date are numbers: comparisons with it are false."""
    for output, part in parts.items():
        if part == "semester":
            ctx.fill({output: 2})
        elif part == "weekend":
            ctx.fill({output: 1})
        elif part.endswith(("_start", "_end")) or part == "leap_year":
            ctx.fill({output: 0})
        elif part in ("week", "days_in_month"):
            # pandas cannot turn a missing one into an integer.
            ctx.check([output], "missing")


@register_converter("feature_engine.datetime.DatetimeSubtraction")
def convert_datetime_subtraction(step: Any, ctx: Context) -> None:
    """Each variable minus each reference, in units."""
    units = {
        "D": 86400e6, "W": 7 * 86400e6, "h": 3600e6, "m": 60e6, "s": 1e6, "ms": 1e3, "us": 1.0, "μs": 1.0, "ns": 1e-3,
    }  # fmt: skip
    nanoseconds = int(np.timedelta64(1, step.output_unit).astype("timedelta64[ns]").astype("int64"))
    unit = units.get(step.output_unit, nanoseconds / 1000.0)
    if nanoseconds == 0:
        ctx.unsupported(f"its unit is {step.output_unit!r}, of which pandas makes 0 nanoseconds", "use 'ns'")
    labels: list[Label] = list(dict.fromkeys([*step.variables_, *step.reference_]))
    if step.missing_values == "raise":
        ctx.check(labels, "missing")
    clocks = {}
    for label in labels:
        clocks[label] = f"{label}_microseconds"
        dates = _Dates(step, ctx, label)
        dates.reading.pop("zone", None)  # a difference does not depend on where the clock stands
        ctx.datetime(label, {clocks[label]: "microseconds"}, **dates.reading)
    names = step.new_variables_names or [f"{v}_sub_{r}" for r in step.reference_ for v in step.variables_]
    pairs = [(variable, reference) for reference in step.reference_ for variable in step.variables_]
    for name, (variable, reference) in zip(names, pairs):
        ctx.combine("subtract", clocks[variable], clocks[reference], name)
        ctx.affine({name: {"divide": unit}})
    ctx.drop(clocks.values())
    if step.drop_original:
        ctx.drop(labels)


@register_converter("feature_engine.datetime.DatetimeOrdinal")
def convert_datetime_ordinal(step: Any, ctx: Context) -> None:
    """The day's number, from 0001-01-01 or from `start_date` on."""
    labels: list[Label] = list(step.variables_)
    if step.missing_values == "raise":
        ctx.check(labels, "missing")
    for label in labels:
        output = f"{label}_ordinal"
        ctx.datetime(label, {output: "ordinal"}, **_Dates(step, ctx, label).reading)
        if step.start_date_ordinal_ is not None:
            ctx.combine("subtract", output, Constant(int(step.start_date_ordinal_) - 1), output)
    if step.drop_original:
        ctx.drop(labels)


class _Dates:
    """How a column is read as dates: the arguments of `Context.datetime`."""

    def __init__(self, step: Any, ctx: Context, label: Label) -> None:
        self.reading: dict[str, Any] = {}
        column = ctx.column(label)
        utc = getattr(step, "utc", None)
        if column.kind != DATETIME:
            self.reading["formats"] = _formats(step, ctx, label)
            return
        zone = getattr(column.dtype, "tz", None)
        if zone is not None and not utc:
            changes = zone_changes(zone)
            if changes["offsets"] != [0]:
                self.reading["zone"] = changes


def _formats(step: Any, ctx: Context, label: Label) -> Sequence[str]:
    given = getattr(step, "format", None)
    if given is not None:
        return [_known_format(ctx, given)]
    if getattr(step, "yearfirst", False):
        ctx.unsupported("yearfirst=True reads dates by guessing", "say the format, or parse the dates before")
    values = [value for value in ctx.values(label) if not is_missing(value)]
    if not all(isinstance(value, str) for value in values):
        ctx.unsupported(f"the column {label!r} holds neither dates nor text")
    day_first = bool(getattr(step, "dayfirst", False))
    formats = _DAY_FIRST if day_first else _FORMATS
    found = [format for format in formats if values and all(_has(value, format) for value in values)]
    if found:
        return found[:1]
    return ctx.unsupported(
        f"the dates in {label!r}, such as {values[0] if values else None!r}, have no format known here",
        "parse them with pd.to_datetime before the pipeline is fitted, so that the field is a datetime",
    )


def _known_format(ctx: Context, format: str) -> str:
    if format == "ISO8601":
        return format
    directives = {format[i + 1] for i in range(len(format) - 1) if format[i] == "%"}
    if not directives <= set("YmdHMSf%"):
        ctx.unsupported(f"its format {format!r} has directives other than %Y %m %d %H %M %S %f")
    return format


def _has(value: str, format: str) -> bool:
    try:
        if format == "ISO8601":
            text = value.replace("Z", "")
            clock.datetime.fromisoformat(text)
            return len(text) >= 10 and text[4] == "-" and len(text) not in (13,) and "+" not in text
        clock.datetime.strptime(value, format)
        return True
    except ValueError:
        return False


def zone_changes(zone: Any, first: int = 1700, last: int = 2100) -> dict[str, list[int]]:
    """The offsets of a time zone from UTC in seconds, and the seconds since 1970 at which they change.

    They are asked of pandas day by day: the libraries of zones differ about years long past, and about those to come.
    """

    def offset(second: int) -> int:
        return int(pd.Timestamp(second, unit="s", tz="UTC").tz_convert(zone).utcoffset().total_seconds())

    day = 86400
    start, end = (int(pd.Timestamp(f"{year}-01-01", tz="UTC").timestamp()) for year in (first, last))
    days = pd.date_range(pd.Timestamp(start, unit="s"), pd.Timestamp(end, unit="s"), freq="D", tz="UTC")
    local = days.tz_convert(zone).tz_localize(None) - days.tz_localize(None)
    seconds = np.asarray(local.total_seconds()).round().astype(int)
    changes, offsets = [], [int(seconds[0])]
    for at in np.flatnonzero(np.diff(seconds)):
        low, high = start + int(at) * day, start + (int(at) + 1) * day
        while high - low > 1:
            middle = (low + high) // 2
            if offset(middle) == offsets[-1]:
                low = middle
            else:
                high = middle
        changes.append(high)
        offsets.append(offset(high))
    return {"changes": changes, "offsets": offsets}
