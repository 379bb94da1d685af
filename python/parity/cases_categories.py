"""Cases of what compares, matches and samples categories, by feature-engine."""

from __future__ import annotations

from typing import Any

import pandas as pd
from feature_engine.encoding import StringSimilarityEncoder
from feature_engine.imputation import RandomSampleImputer
from feature_engine.preprocessing import MatchCategories, MatchVariables
from feature_engine.selection import DropFeatures
from sklearn.pipeline import Pipeline

from .draw import Draw
from .harness import Case, parity


@parity("feature_engine.encoding.StringSimilarityEncoder", family="encode")
def string_similarity_encoder(draw: Draw) -> Case:
    options: dict[str, Any] = {"missing_values": draw.choice(["raise", "impute", "impute", "ignore"])}
    if draw.chance(0.3):
        options["top_categories"] = draw.integer(1, 4)
    train, test = draw.category_frames(missing=draw.choice([0.0, 0.15]), unseen=0.3)
    if draw.chance(0.3):
        train["number"], test["number"] = draw.floats()
        if draw.chance():
            options.update(variables=list(train.columns), ignore_format=True)
    if draw.chance(0.3):
        name = draw.choice([n for n in train.columns if n != "number"])
        options["keywords"] = {name: ["cat", "straße", "", "a b c", "1"][: draw.integer(1, 5)]}
    return Case(StringSimilarityEncoder(**options), train, test)


@parity("feature_engine.preprocessing.MatchCategories", family="preprocessing")
def match_categories(draw: Draw) -> Case:
    share = draw.choice([0.0, 0.15])
    train, test = draw.category_frames(missing=share, unseen=0.2)
    options: dict[str, Any] = {"missing_values": draw.choice(["raise", "ignore", "ignore"])}
    if draw.chance(0.3):
        train["code"], test["code"] = draw.categories(integers=1.0, missing=share)
        options["ignore_format"] = True
    return Case(MatchCategories(**options), train, test)


@parity("feature_engine.preprocessing.MatchVariables", family="preprocessing")
def match_variables(draw: Draw) -> Case:
    train, test = draw.category_frames(missing=draw.choice([0.0, 0.15]), unseen=0.2, integers=0.2)
    for name in ("number", "count", "flag"):
        if draw.chance():
            pair = {"number": draw.floats, "count": draw.ints, "flag": draw.bools}[name]
            train[name], test[name] = pair(missing=draw.choice([0.0, 0.1]) if name != "flag" else 0.0)
    options: dict[str, Any] = {"missing_values": draw.choice(["raise", "ignore", "ignore"]), "verbose": False}
    if "match_dtypes" in MatchVariables().get_params():
        options["match_dtypes"] = draw.chance(0.3)
    options["fill_value"] = draw.choice([float("nan"), 0, 2.5])
    matcher = MatchVariables(**options)
    refusable = bool(options.get("match_dtypes"))
    if draw.chance(0.6) or train.shape[1] < 2:
        return Case(matcher, train, test, refusable=refusable)
    # Fitted apart, so that it meets a frame that lacks some columns and has others.
    gone, unknown = [train.columns[0]], list(train.columns[1:][: draw.integer(0, 1)])
    pipeline = Pipeline([("drop", DropFeatures(gone)), ("match", matcher)])

    def fit(pipeline: Any, frame: Any, _: Any) -> Any:
        pipeline.steps[0][1].fit(frame)
        pipeline.steps[1][1].fit(frame.drop(columns=unknown))

    return Case(pipeline, train, test, fit=fit, refusable=refusable)


def _each_alone(step: Any, frame: pd.DataFrame) -> pd.DataFrame:
    """The seed is set once for a frame: what a row is given depends on how many come before it."""
    return pd.concat([step.transform(frame.iloc[[row]].reset_index(drop=True)) for row in range(len(frame))])


@parity("feature_engine.imputation.RandomSampleImputer", family="impute")
def random_sample_imputer(draw: Draw) -> Case:
    train, test = draw.category_frames(missing=draw.choice([0.0, 0.2, 0.5]), integers=0.2)
    for name in ("number", "count"):
        if draw.chance():
            pair = draw.floats if name == "number" else draw.ints
            train[name], test[name] = pair(missing=draw.choice([0.0, 0.1, 0.3]))
    variables = None if draw.chance() else draw.sample(list(train.columns), draw.integer(1, train.shape[1]))
    step = RandomSampleImputer(variables=variables, random_state=draw.choice([0, 1, 42, 2**31]))
    return Case(Pipeline([("impute", step)]) if draw.chance(0.3) else step, train, test, transform=_each_alone)


@parity("feature_engine.imputation.RandomSampleImputer (a seed for each row)", family="impute")
def random_sample_imputer_by_row(draw: Draw) -> Case:
    draw.rows(5)
    train, test = draw.category_frames(missing=draw.choice([0.2, 0.5]), integers=0.2)
    train["number"], test["number"] = draw.floats(missing=0.3, extremes=False)
    train["count"], test["count"] = draw.ints(missing=draw.choice([0.0, 0.3]))
    seeds = {}
    for name in ("seed", "other seed"):
        low = draw.choice([0, 0, 1, -3])
        pair = (
            draw.ints(low=low, high=draw.choice([5, 1000, 2**31])) if draw.chance() else draw.floats(low=low, high=1e6)
        )
        train[name], test[name] = seeds[name] = pair
    chosen = draw.sample([*seeds, "count", "number"], draw.integer(1, 3))
    variables = None if draw.chance() else draw.sample(list(train.columns), draw.integer(1, train.shape[1]))
    step = RandomSampleImputer(
        variables=variables, random_state=chosen[0] if len(chosen) == 1 else chosen, seed="observation",
        seeding_method=draw.choice(["add", "multiply"]),
    )  # fmt: skip
    return Case(step, train, test)
