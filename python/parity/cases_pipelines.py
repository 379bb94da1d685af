"""Random pipelines: from three to ten steps, each fitting what the ones before it give.

A pipeline is grown: a step is drawn that takes what is there, tried on the training rows, and kept if it works. The
result is a fresh pipeline, that one is fitted, exported and compared as any other class is.
"""

from __future__ import annotations

import warnings
from typing import Any, Callable, Optional

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from .draw import Draw
from .harness import Case, parity

Maker = Callable[[Draw, pd.DataFrame], Optional[Any]]
STEPS: dict[str, Maker] = {}


def step(make: Maker) -> Maker:
    """Registers a step of random pipelines: it is given the training rows as they arrive, and may decline by None."""
    STEPS[make.__name__] = make
    return make


def numbers_of(frame: pd.DataFrame) -> list[str]:
    """The columns of numbers, in 64 bits."""
    return [str(c) for c in frame.columns if str(frame[c].dtype) in ("float64", "int64")]


def texts_of(frame: pd.DataFrame) -> list[str]:
    """The columns of strings."""
    return [str(c) for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c].dtype)]


def some(draw: Draw, columns: list[str]) -> list[str]:
    """At least one of them."""
    return draw.sample(columns, draw.integer(1, len(columns)))


def filled(frame: pd.DataFrame, columns: list[str]) -> list[str]:
    """Those without a missing or infinite value."""
    good = []
    for column in columns:
        values = frame[column]
        finite = not pd.api.types.is_numeric_dtype(values.dtype) or not np.isinf(values.astype("float64")).any()
        if not values.isna().any() and finite:
            good.append(column)
    return good


def only_numbers(frame: pd.DataFrame) -> bool:
    """Whether nothing else is there."""
    return bool(len(numbers_of(frame)) == frame.shape[1] and frame.shape[1] > 0)


# --- steps of scikit-learn that take everything --------------------------------------------------------------------


@step
def scaler(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

    made = draw.choice([StandardScaler(), MinMaxScaler(clip=draw.chance()), MaxAbsScaler(), RobustScaler()])
    return made.set_output(transform="pandas") if only_numbers(frame) else None


@step
def imputer(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.impute import SimpleImputer

    made = SimpleImputer(strategy=draw.choice(["mean", "median", "most_frequent"]), add_indicator=draw.chance(0.3))
    return made.set_output(transform="pandas") if only_numbers(frame) else None


@step
def function(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.preprocessing import FunctionTransformer

    made = FunctionTransformer(
        draw.choice([np.cbrt, np.arcsinh, np.tanh, np.absolute, np.floor, np.negative]), feature_names_out="one-to-one"
    )
    return made.set_output(transform="pandas") if only_numbers(frame) else None


@step
def union(draw: Draw, frame: pd.DataFrame) -> Any | None:
    if not only_numbers(frame) or frame.shape[1] > 6:
        return None
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    parts = [("a", StandardScaler()), ("b", draw.choice([MinMaxScaler(), "passthrough"]))]
    return FeatureUnion(parts).set_output(transform="pandas")


@step
def columns(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler

    numbers, texts = numbers_of(frame), texts_of(frame)
    parts: list[tuple[str, Any, list[str]]] = []
    if numbers:
        inner = Pipeline([("fill", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
        parts.append(
            ("num", draw.choice([inner, MinMaxScaler(), SimpleImputer(add_indicator=True)]), some(draw, numbers))
        )
    if texts:
        constant = SimpleImputer(strategy="constant", fill_value="none")
        ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        one_hot = OneHotEncoder(handle_unknown="ignore")
        inner = Pipeline([("fill", constant), ("encode", draw.choice([ordinal, one_hot]))])
        parts.append(("text", inner, some(draw, texts)))
    if not parts:
        return None
    if draw.chance(0.4):
        parts.reverse()
    made = ColumnTransformer(
        parts,
        remainder=draw.choice(["drop", "passthrough"]),
        sparse_threshold=0,
        verbose_feature_names_out=draw.chance(),
    )
    return (
        made
        if all(not isinstance(p[1], Pipeline) or p[0] != "text" for p in parts) and draw.chance(0.2)
        else _frames(made)
    )


def _frames(made: ColumnTransformer) -> ColumnTransformer:
    """With frames as output, which one-hot encoding gives only when it is dense."""
    for _, inner, _ in made.transformers:
        if isinstance(inner, Pipeline) and hasattr(inner.steps[-1][1], "drop"):
            encoder = inner.steps[-1][1]
            encoder.set_params(**{"sparse_output" if "sparse_output" in encoder.get_params() else "sparse": False})
    return made.set_output(transform="pandas")


# --- steps of feature-engine, on some of the columns ---------------------------------------------------------------


@step
def mean_median(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.imputation import MeanMedianImputer

    found = numbers_of(frame)
    return MeanMedianImputer(draw.choice(["mean", "median"]), variables=some(draw, found)) if found else None


@step
def arbitrary_number(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.imputation import ArbitraryNumberImputer

    found = numbers_of(frame)
    return ArbitraryNumberImputer(draw.choice([-1, 999, 0.5]), variables=some(draw, found)) if found else None


@step
def categorical(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.imputation import CategoricalImputer

    found = texts_of(frame)
    return CategoricalImputer(draw.choice(["missing", "frequent"]), variables=some(draw, found)) if found else None


@step
def indicator(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.imputation import AddMissingIndicator

    return AddMissingIndicator(missing_only=draw.chance(), variables=some(draw, [str(c) for c in frame.columns]))


@step
def rare(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.encoding import RareLabelEncoder

    found = filled(frame, texts_of(frame))
    return RareLabelEncoder(tol=draw.choice([0.1, 0.3]), n_categories=1, variables=some(draw, found)) if found else None


@step
def ordinal(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.encoding import CountFrequencyEncoder, OrdinalEncoder

    found = filled(frame, texts_of(frame))
    if not found:
        return None
    variables = some(draw, found)
    if draw.chance():
        return OrdinalEncoder(encoding_method=draw.choice(["ordered", "arbitrary"]), variables=variables)
    return CountFrequencyEncoder(draw.choice(["count", "frequency"]), variables=variables)


@step
def logarithm(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.transformation import LogTransformer

    found = [c for c in filled(frame, numbers_of(frame)) if (frame[c] > 0).all()]
    return LogTransformer(variables=some(draw, found), base=draw.choice(["e", "10"])) if found else None


@step
def drop(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.selection import DropFeatures

    names = [str(c) for c in frame.columns]
    return DropFeatures(draw.sample(names, draw.integer(1, len(names) // 2))) if len(names) > 3 else None


@step
def wrapper(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.wrappers import SklearnTransformerWrapper
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    found = numbers_of(frame)
    inner = draw.choice([StandardScaler(), MinMaxScaler()])
    return SklearnTransformerWrapper(inner, variables=some(draw, found)) if found else None


# --- growing -------------------------------------------------------------------------------------------------------


@parity("random pipelines", family="pipelines")
def random_pipeline(draw: Draw) -> Case:
    draw.rows(20)
    names = draw.names(draw.integer(2, 7))
    pairs = {}
    for name in names:
        missing = draw.choice([0.0, 0.0, 0.2])
        if draw.chance(0.6):
            pairs[name] = draw.numbers(missing=missing, positive=draw.chance(0.3), nullable=False)
        else:
            pairs[name] = draw.categories(missing=missing, dtype=draw.choice(["object", "object", "str"]))
    train, test = draw.frames(pairs)
    target = draw.target()
    wanted = draw.integer(3, 10)
    steps: list[tuple[str, Any]] = []
    frame: Any = train
    for attempt in range(60):
        if len(steps) == wanted or not isinstance(frame, pd.DataFrame):
            break
        name = draw.choice(list(STEPS))
        made = STEPS[name](draw, frame)
        if made is None:
            continue
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                after = clone(made).fit(frame, target).transform(frame)
        except Exception:  # a step that does not go here
            continue
        if not 0 < after.shape[1] <= 60 or len(after) < len(frame):
            continue
        if isinstance(after, pd.DataFrame) and after.columns.duplicated().any():
            continue
        steps.append((f"{name}{attempt}", made))
        frame = after
    return Case(
        Pipeline(steps), train, test, target, refusable=True,
    )  # fmt: skip
