"""Cases of feature-engine's transformers of dates."""

from __future__ import annotations

from typing import Any

import pandas as pd
from feature_engine.datetime import DatetimeFeatures

from .draw import Draw
from .harness import Case, parity

PARTS = [
    "month", "quarter", "semester", "year", "week", "day_of_week", "day_of_month", "day_of_year", "weekend",
    "month_start", "month_end", "quarter_start", "quarter_end", "year_start", "year_end", "leap_year", "days_in_month",
    "hour", "minute", "second",
]  # fmt: skip
FORMATS = ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%m/%d/%Y", "%Y/%m/%d"]


def dates(draw: Draw, missing: float, text: bool = False, first: str = "1700-01-01") -> tuple[pd.Series, pd.Series]:
    train, test = draw.datetimes(
        missing=missing, first=draw.choice([first, "1960-01-01", "2019-12-20"]), last="2030-01-10"
    )
    pair = []
    unit = draw.choice(["ns", "us", "s"]) if int(pd.__version__.split(".")[0]) > 1 else "ns"
    zone = draw.choice([None, None, None, "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
    format = draw.choice(FORMATS)
    for series in (train, test):
        if draw.chance(0.4):
            series = series + pd.to_timedelta(draw.rng.integers(0, 10**6, size=len(series)), unit="us")
        if text:
            series = series.dt.strftime(format).astype(object)
        else:
            series = series.astype(f"datetime64[{unit}]")
            if zone is not None:
                series = series.dt.tz_localize("UTC").dt.tz_convert(zone)
        pair.append(series)
    return pair[0], pair[1]


def frames(
    draw: Draw, least: int = 1, text: float = 0.25, missing: float = 0.1, first: str = "1700-01-01"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    columns: dict[str, Any] = {}
    for name in draw.names(draw.integer(least, 3)):
        columns[name] = dates(draw, draw.choice([0.0, missing]), draw.chance(text), first)
    if draw.chance(0.4):
        columns["n"] = draw.floats()
    return draw.frames(columns)


@parity("feature_engine.datetime.DatetimeFeatures", family="datetime")
def datetime_features(draw: Draw) -> Case:
    train, test = frames(draw)
    variables = [name for name in train.columns if name != "n"]
    chosen = draw.choice([None, "all", draw.sample(PARTS, draw.integer(1, 8))])
    return Case(
        DatetimeFeatures(
            variables=draw.choice([None, variables]), features_to_extract=chosen, drop_original=True,
            missing_values=draw.choice(["raise", "ignore"]), utc=draw.choice([None, None, True]),
        ),
        train, test,
    )  # fmt: skip


@parity("feature_engine.datetime.DatetimeSubtraction", family="datetime", generations=["current"])
def datetime_subtraction(draw: Draw) -> Case:
    from feature_engine.datetime import DatetimeSubtraction

    # Beyond 292 years the nanoseconds of a difference overflow in pandas, which then raises or gives nonsense.
    train, test = frames(draw, least=2, text=0.1, first="1800-01-01")
    variables = [name for name in train.columns if name != "n"]
    unit = draw.choice(["D", "Y", "M", "W", "h", "m", "s", "ms", "us", "ns"])
    return Case(
        DatetimeSubtraction(
            variables=variables[:1], reference=variables[1:], output_unit=unit, drop_original=True,
            missing_values=draw.choice(["raise", "ignore"]), utc=draw.choice([None, True]),
        ),
        train, test,  # the library's own names leave a dropped reference in
    )  # fmt: skip


@parity("feature_engine.datetime.DatetimeOrdinal", family="datetime", generations=["current"])
def datetime_ordinal(draw: Draw) -> Case:
    from feature_engine.datetime import DatetimeOrdinal

    train, test = frames(draw)
    variables = [name for name in train.columns if name != "n"]
    return Case(
        DatetimeOrdinal(
            variables=draw.choice([None, variables]), missing_values=draw.choice(["raise", "ignore"]),
            drop_original=True, start_date=draw.choice([None, "2000-01-01", "1970-05-17 12:00"]),
        ),
        train, test,
    )  # fmt: skip
