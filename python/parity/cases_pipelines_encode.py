"""Pipelines around encoders: after imputers and rare labels, in branches, before scalers."""

from __future__ import annotations

from typing import Any

import feature_engine.encoding as encoding
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

from .draw import Draw
from .harness import Case, parity


def _encoder(draw: Draw) -> Any:
    if draw.chance():
        unknown = draw.choice(["error", "ignore", "infrequent_if_exist"])
        drop = draw.choice([None, "first", "if_binary"])
        minimum = draw.choice([None, 2, 0.2])
        return OneHotEncoder(handle_unknown=unknown, drop=drop, min_frequency=minimum, sparse_output=False)
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=draw.choice([-1, float("nan")]))


@parity("random pipelines of scikit-learn's encoders", family="pipelines")
def sklearn_encoders(draw: Draw) -> Case:
    names = draw.names(4)
    # In scikit-learn's imputers pd.NA raises.
    types = {name: draw.choice(["object", "object", "str", "category"]) for name in names[:2]}
    # As to None see `cases_compose`.
    columns = {
        name: draw.categories(missing=draw.choice([0.0, 0.1]), unseen=0.1, dtype=types[name], none=False)
        for name in types
    }
    columns.update({name: draw.numbers(missing=0.1, nullable=False) for name in names[2:]})
    train, test = draw.frames(columns)
    imputer = SimpleImputer(strategy=draw.choice(["most_frequent", "constant"]), fill_value="missing")
    encode = Pipeline([("impute", imputer), ("encode", _encoder(draw))])
    if draw.chance(0.3):
        encode = FeatureUnion([("one", encode), ("two", Pipeline([("impute", imputer), ("encode", _encoder(draw))]))])
    numbers = Pipeline([("impute", SimpleImputer()), ("scale", StandardScaler())])
    rest = draw.choice(["drop", "passthrough"])
    chosen = names[2:] if draw.chance(0.7) else names[2:3]
    branches = ColumnTransformer(
        [("words", encode, names[:2]), ("numbers", numbers, chosen)], remainder=rest,
        verbose_feature_names_out=draw.chance(0.8),
    )  # fmt: skip
    steps: list[Any] = [("branches", branches)]
    if draw.chance(0.4):
        steps.append(("scale", MinMaxScaler()))
    pipeline = Pipeline(steps)
    if draw.chance(0.3):
        pipeline.set_output(transform="pandas")
    return Case(pipeline, train, test)


@parity("random pipelines of feature-engine's encoders", family="pipelines")
def feature_engine_encoders(draw: Draw) -> Case:
    from feature_engine.imputation import CategoricalImputer

    names = draw.names(3)
    columns = {name: draw.categories(missing=draw.choice([0.0, 0.1]), unseen=0.1, dtype="object") for name in names[:2]}
    columns.update({name: draw.floats(extremes=False) for name in names[2:]})
    train, test = draw.frames(columns)
    rare = encoding.RareLabelEncoder(tol=draw.choice([0.05, 0.2]), n_categories=1)
    encoder = draw.choice(
        [
            encoding.OneHotEncoder(drop_last=draw.chance()), encoding.MeanEncoder(),
            encoding.OrdinalEncoder(encoding_method="ordered"), encoding.CountFrequencyEncoder(),
            encoding.DecisionTreeEncoder(cv=2, random_state=0),
        ]
    )  # fmt: skip
    draw.rows(20)
    steps = [("impute", CategoricalImputer()), ("rare", rare), ("encode", encoder), ("scale", StandardScaler())]
    case = Case(Pipeline(steps), train, test, y=draw.target("float").iloc[: len(train)])
    case.refusable = True  # words that feature-engine takes for dates are left as they are
    return case
