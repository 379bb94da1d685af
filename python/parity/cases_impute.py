"""Cases of the imputers and the indicators of missing values."""

from __future__ import annotations

from typing import Any

import pandas as pd
from feature_engine.imputation import AddMissingIndicator, CategoricalImputer, MeanMedianImputer
from feature_engine.selection import DropFeatures
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from .draw import Draw
from .harness import Case, parity


def without_times(transformer: Any, train: pd.DataFrame) -> Any:
    """The transformer, and after it the columns of times left out, since no feature can be one."""
    times = list(train.select_dtypes("datetime"))
    return Pipeline([("transformer", transformer), ("rest", DropFeatures(times))]) if times else transformer


@parity("sklearn.impute.SimpleImputer", family="impute")
def simple_imputer(draw: Draw) -> Case:
    strategy = draw.choice(["mean", "median", "most_frequent", "constant", "strings"])
    options: dict[str, object] = {"add_indicator": draw.chance(0.3)}
    if "keep_empty_features" in SimpleImputer().get_params():
        options["keep_empty_features"] = draw.chance(0.3)
    if strategy == "strings":
        strategy = draw.choice(["most_frequent", "constant"])
        if strategy == "constant" and draw.chance(0.7):
            options["fill_value"] = draw.choice(["missing", "", "Été", "0"])
        train, test = draw.category_frames(missing=draw.choice([0.0, 0.1, 0.3]))
        if draw.chance(0.3) and len(train.dropna()):
            train = train.dropna().reset_index(drop=True)  # a missing value is only in what is asked
    else:
        if strategy == "constant" and draw.chance(0.7):
            options["fill_value"] = draw.choice([0, -1, 3.5, 1e300])
        train, test = draw.number_frames(missing=draw.choice([0.0, 0.2, 0.5]))
    return Case(SimpleImputer(strategy=strategy, **options), train, test)


@parity("feature_engine.imputation.MeanMedianImputer", family="impute")
def mean_median_imputer(draw: Draw) -> Case:
    train, test = draw.number_frames(missing=draw.choice([0.0, 0.2, 0.5]))
    variables = None if draw.chance() else draw.sample(list(train.columns), draw.integer(1, train.shape[1]))
    return Case(MeanMedianImputer(imputation_method=draw.choice(["mean", "median"]), variables=variables), train, test)


@parity("feature_engine.imputation.CategoricalImputer", family="impute")
def categorical_imputer(draw: Draw) -> Case:
    options: dict[str, object] = {
        "imputation_method": draw.choice(["missing", "frequent"]),
        "fill_value": draw.choice(["Missing", "", "Été"]),
    }
    train, test = draw.category_frames(missing=draw.choice([0.0, 0.2, 0.5]), unseen=0.2)
    if draw.chance(0.3):
        first = draw.categories(missing=0.2, integers=1.0)
        train["code"], test["code"] = first
        options["ignore_format"] = True
        if draw.chance():
            options["fill_value"] = draw.choice([0, -1, 2.5])
    options["return_object"] = draw.chance(0.2)
    # A string into a column of numbers is refused.
    return Case(CategoricalImputer(**options), train, test, refusable="code" in train)


@parity("feature_engine.imputation.AddMissingIndicator", family="impute")
def add_missing_indicator(draw: Draw) -> Case:
    names = draw.names(draw.integer(1, 4))
    columns = {}
    for name in names:
        missing = draw.choice([0.0, 0.3])
        kinds: list[Any] = [draw.numbers, draw.numbers, draw.categories, draw.categories, draw.datetimes, draw.bools]
        columns[name] = draw.choice(kinds)(missing=missing)
    train, test = draw.frames(columns)
    variables = None if draw.chance() else draw.sample(names, draw.integer(1, len(names)))
    indicators = AddMissingIndicator(missing_only=draw.chance(), variables=variables)
    return Case(without_times(indicators, train), train, test)
