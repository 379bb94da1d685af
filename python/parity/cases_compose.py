"""Cases of what is made of other transformers, of the choice of columns, and of the older classes of feature-engine."""

from __future__ import annotations

import numpy as np
import pandas as pd
from feature_engine.selection import DropFeatures
from feature_engine.transformation import LogTransformer
from feature_engine.wrappers import SklearnTransformerWrapper
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

from .draw import Draw
from .harness import LIBM, Case, parity


def number_step(draw: Draw) -> object:
    """A transformer of any columns of numbers."""
    return draw.choice(
        [
            StandardScaler(),
            MinMaxScaler(),
            MaxAbsScaler(),
            RobustScaler(),
            SimpleImputer(),
            SimpleImputer(add_indicator=True),
        ]
    )


def text_step() -> Pipeline:
    """A pipeline for columns of strings that gives numbers."""
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return Pipeline([("fill", SimpleImputer(strategy="constant", fill_value="none")), ("encode", encoder)])


@parity("sklearn.pipeline.Pipeline", family="compose")
def pipeline(draw: Draw) -> Case:
    steps = [(f"s{i}", number_step(draw) if draw.chance(0.8) else "passthrough") for i in range(draw.integer(1, 4))]
    made = Pipeline(steps)
    if draw.chance(0.3):
        made = Pipeline([("inner", made), ("last", StandardScaler())])
    if draw.chance(0.3):
        made.set_output(transform="pandas")
    return Case(made, *draw.number_frames(missing=draw.choice([0.0, 0.2])))


@parity("sklearn.compose.ColumnTransformer", family="compose")
def column_transformer(draw: Draw) -> Case:
    numbers = {f"n{i}": draw.numbers(missing=draw.choice([0.0, 0.2])) for i in range(draw.integer(1, 4))}
    # Not None: pandas 3 leaves it in a frame of None alone and makes NaN of it among strings, so that the original
    # answers by the other rows.
    texts = {f"t {i}": draw.categories(missing=draw.choice([0.0, 0.2]), none=False) for i in range(draw.integer(0, 3))}
    everything = {**numbers, **texts}
    train, test = draw.frames({name: everything[name] for name in draw.sample(list(everything), len(everything))})
    names = list(train.columns)

    def chosen(columns: list[str]) -> object:
        form = draw.choice(["names", "positions", "mask", "callable", "slice", "negative"])
        positions = [names.index(column) for column in columns]
        if form == "positions":
            return positions
        if form == "negative":
            return [position - len(names) for position in positions]
        if form == "mask":
            return [name in columns for name in names]
        if form == "callable":
            return _Chooser(columns)
        if form == "slice" and positions == list(range(min(positions), max(positions) + 1)):
            return slice(min(positions), max(positions) + 1)
        return columns

    transformers: list[tuple[str, object, object]] = []
    for i in range(draw.integer(1, 3)):
        columns = draw.sample(list(numbers), draw.integer(1, len(numbers)))
        inner = draw.choice([number_step(draw), number_step(draw), "passthrough", "drop"])
        transformers.append((f"num{i}", inner, chosen(columns)))
    if texts:
        transformers.append(("text", text_step(), chosen(draw.sample(list(texts), draw.integer(1, len(texts))))))
    named = {name for _, _, columns in transformers for name in _named(columns, names)}
    rest = [name for name in names if name not in named]
    remainder: object = draw.choice(["drop", "passthrough"])
    if all(name in numbers for name in rest) and draw.chance(0.3):
        remainder = StandardScaler()
    weights = {transformers[0][0]: draw.choice([2.0, 0.1, -1.0])} if draw.chance(0.2) else None
    made = ColumnTransformer(
        transformers, remainder=remainder, transformer_weights=weights, sparse_threshold=0,
        verbose_feature_names_out=draw.chance(0.7),
    )  # fmt: skip
    if draw.chance(0.3):
        made.set_output(transform="pandas")
    return Case(made, train, test, refusable=True)


class _Chooser:
    """A callable that picks columns; a class, so that it can be named in a message."""

    def __init__(self, columns: list[str]) -> None:
        self.columns = columns

    def __call__(self, frame: pd.DataFrame) -> list[str]:
        return [name for name in frame.columns if name in self.columns]

    def __repr__(self) -> str:
        return f"chooser of {self.columns}"


def _named(columns: object, names: list[str]) -> list[str]:
    if isinstance(columns, _Chooser):
        return columns.columns
    if isinstance(columns, slice):
        return names[columns]
    if isinstance(columns, list) and columns and isinstance(columns[0], bool):
        return [name for name, taken in zip(names, columns) if taken]
    assert isinstance(columns, list)
    return [names[c] if isinstance(c, int) else c for c in columns]


@parity("sklearn.pipeline.FeatureUnion", family="compose")
def feature_union(draw: Draw) -> Case:
    parts = [(f"p{i}", draw.choice([number_step(draw), "passthrough"])) for i in range(draw.integer(1, 3))]
    if draw.chance(0.2):
        parts.append(("gone", "drop"))
    weights = {"p0": draw.choice([2.0, 0.1, -1.0])} if draw.chance(0.3) else None
    made = FeatureUnion(parts, transformer_weights=weights)
    if draw.chance(0.3):
        made.set_output(transform="pandas")
    return Case(made, *draw.number_frames(missing=draw.choice([0.0, 0.2]), nullable=False))


@parity("feature_engine.pipeline.Pipeline", family="compose", generations=("current",))
def feature_engine_pipeline(draw: Draw) -> Case:
    from feature_engine.imputation import AddMissingIndicator, MeanMedianImputer
    from feature_engine.pipeline import Pipeline as FeatureEnginePipeline

    train, test = draw.number_frames(missing=0.2, nullable=False)
    steps = [("flag", AddMissingIndicator()), ("fill", MeanMedianImputer())]
    if draw.chance():
        steps.append(("scale", SklearnTransformerWrapper(draw.choice([StandardScaler(), MinMaxScaler()]))))
    return Case(FeatureEnginePipeline(steps), train, test)


@parity("feature_engine.wrappers.SklearnTransformerWrapper", family="compose")
def wrapper(draw: Draw) -> Case:
    if draw.chance(0.25):
        train, test = draw.category_frames(unseen=0.15)
        inner = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        return Case(SklearnTransformerWrapper(inner), train, test, refusable=True)
    train, test = draw.number_frames(missing=draw.choice([0.0, 0.2]))
    inner = draw.choice(
        [StandardScaler(), MinMaxScaler(), MaxAbsScaler(), RobustScaler(), SimpleImputer(), Binarizer(),
         FunctionTransformer(np.sqrt)]
    )  # fmt: skip
    variables = None if draw.chance() else draw.sample(list(train.columns), draw.integer(1, train.shape[1]))
    return Case(SklearnTransformerWrapper(inner, variables=variables), train, test, refusable=True)


@parity("feature_engine.selection.DropFeatures", family="select")
def drop_features(draw: Draw) -> Case:
    train, test = draw.number_frames(2, 6, missing=0.2)
    gone = draw.sample(list(train.columns), draw.integer(1, train.shape[1] - 1))
    return Case(DropFeatures(gone), train, test)


@parity("feature_engine.transformation.LogTransformer", family="transform")
def log_transformer(draw: Draw) -> Case:
    train, test = draw.number_frames(positive=True)
    for name in test.columns:
        if draw.chance(0.3) and str(test[name].dtype) == "float64":
            test.loc[draw.integer(0, len(test) - 1), name] = draw.choice([0.0, -1.0, np.nan, -0.0, 5e-324])
    variables = None if draw.chance() else draw.sample(list(train.columns), draw.integer(1, train.shape[1]))
    return Case(
        LogTransformer(variables=variables, base=draw.choice(["e", "10"])), train, test, tolerance=1e-15, reason=LIBM,
    )  # fmt: skip
