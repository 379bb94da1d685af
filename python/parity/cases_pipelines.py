"""Random pipelines: from three to ten steps of all families, each fitting what the ones before it give.

A pipeline is grown: a step is drawn that takes what is there, tried on the training rows, and kept if it works. The
result is a fresh pipeline, that one is fitted, exported and compared as any other class is.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from feature_engine.datetime import DatetimeFeatures
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from .draw import Draw
from .harness import Case, parity
from .steps import FAMILIES, times_of

MOST_COLUMNS = 60
ATTEMPTS = 60
LEAST = 3
WORDS = ("red", "blue", "Été", "日本語", "a", "nan", "NONE", "x__y", "1")
"""Few, so that the words of text come again."""


def columns(draw: Draw) -> dict[str, tuple[pd.Series, pd.Series]]:
    """From two to seven columns of all kinds; most hold numbers."""
    found = {}
    for name in draw.names(draw.integer(2, 7)):
        missing = draw.choice([0.0, 0.0, 0.2])
        kind = draw.choice(["number"] * 5 + ["category"] * 3 + ["time", "text"])
        if kind == "number":
            found[name] = draw.numbers(missing=missing, positive=draw.chance(0.3), nullable=False)
        elif kind == "category":
            found[name] = draw.categories(missing=missing, dtype=draw.choice(["object", "object", "str"]))
        elif kind == "time":
            found[name] = draw.datetimes(missing=missing)
        else:
            found[name] = draw.strings(words=WORDS)
    return found


@parity("random pipelines", family="pipelines")
def random_pipeline(draw: Draw) -> Case:
    draw.rows(20)
    train, test = draw.frames(columns(draw))
    target = draw.target(draw.choice(["float", "float", "binary"]))
    wanted = draw.integer(3, 10)
    steps: list[tuple[str, Any]] = []
    value: Any = train
    for attempt in range(5 * ATTEMPTS):
        if len(steps) == wanted or (attempt >= ATTEMPTS and len(steps) >= LEAST):
            break
        framed = isinstance(value, pd.DataFrame)
        family = draw.choice([name for name in FAMILIES if (name == "matrix") != framed])
        name = draw.choice(list(FAMILIES[family]))
        made = FAMILIES[family][name](draw, value)
        if made is None:
            continue
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                after = clone(made).fit(value, target).transform(value)
        except Exception:  # a step that does not go here
            continue
        if not 0 < after.shape[1] <= MOST_COLUMNS or after.shape[0] < len(train):
            continue
        if isinstance(after, pd.DataFrame) and after.columns.duplicated().any():
            continue
        if isinstance(after, np.ndarray) and after.dtype == object and framed and times_of(value):
            continue  # no feature is a time, and nothing takes it out of an array
        steps.append((f"{name}{attempt}", made))
        value = after
    times = times_of(value) if isinstance(value, pd.DataFrame) else []
    if times:  # no feature is a time
        steps.append(("rest", DatetimeFeatures(times, ["year", "day_of_year"], missing_values="ignore")))
    return Case(Pipeline(steps), train, test, target, refusable=True)
