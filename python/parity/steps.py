"""The steps that random pipelines are grown of, by family.

A maker is given the training rows as they arrive at the step; it answers an unfitted step, or None where there is
nothing for it. What it makes may still not go there: whoever grows a pipeline tries it.
"""

from __future__ import annotations

from typing import Any, Callable, Optional

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from .draw import Draw

Maker = Callable[[Draw, pd.DataFrame], Optional[Any]]
FAMILIES: dict[str, dict[str, Maker]] = {}


def step(family: str) -> Callable[[Maker], Maker]:
    """Registers a step of random pipelines in a family; each family is drawn as often as any other."""

    def register(make: Maker) -> Maker:
        FAMILIES.setdefault(family, {})[make.__name__] = make
        return make

    return register


def frames(made: Any) -> Any:
    """With frames as output, so that steps that choose columns by name may follow."""
    return made.set_output(transform="pandas")


def numbers_of(frame: pd.DataFrame) -> list[str]:
    """The columns of numbers, in 64 bits."""
    return [str(c) for c in frame.columns if str(frame[c].dtype) in ("float64", "int64")]


def texts_of(frame: pd.DataFrame) -> list[str]:
    """The columns of strings."""
    return [str(c) for c in frame.columns if _text(frame[c].dtype)]


def _text(dtype: Any) -> bool:
    return not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype))


def times_of(frame: pd.DataFrame) -> list[str]:
    """The columns of times."""
    return [str(c) for c in frame.columns if pd.api.types.is_datetime64_any_dtype(frame[c].dtype)]


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


@step("scale")
def scaler(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

    made = draw.choice([StandardScaler(), MinMaxScaler(clip=draw.chance()), MaxAbsScaler(), RobustScaler()])
    return frames(made) if only_numbers(frame) else None


@step("impute")
def imputer(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.impute import SimpleImputer

    made = SimpleImputer(strategy=draw.choice(["mean", "median", "most_frequent"]), add_indicator=draw.chance(0.3))
    return frames(made) if only_numbers(frame) else None


@step("function")
def function(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.preprocessing import FunctionTransformer

    made = FunctionTransformer(
        draw.choice([np.cbrt, np.arcsinh, np.tanh, np.absolute, np.floor, np.negative]), feature_names_out="one-to-one"
    )
    return frames(made) if only_numbers(frame) else None


@step("compose")
def union(draw: Draw, frame: pd.DataFrame) -> Any | None:
    if not only_numbers(frame) or frame.shape[1] > 6:
        return None
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    parts = [("a", StandardScaler()), ("b", draw.choice([MinMaxScaler(), "passthrough"]))]
    return frames(FeatureUnion(parts))


@step("compose")
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


@step("impute")
def mean_median(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.imputation import MeanMedianImputer

    found = numbers_of(frame)
    return MeanMedianImputer(draw.choice(["mean", "median"]), variables=some(draw, found)) if found else None


@step("impute")
def arbitrary_number(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.imputation import ArbitraryNumberImputer

    found = numbers_of(frame)
    return ArbitraryNumberImputer(draw.choice([-1, 999, 0.5]), variables=some(draw, found)) if found else None


@step("impute")
def categorical(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.imputation import CategoricalImputer

    found = texts_of(frame)
    return CategoricalImputer(draw.choice(["missing", "frequent"]), variables=some(draw, found)) if found else None


@step("impute")
def indicator(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.imputation import AddMissingIndicator

    return AddMissingIndicator(missing_only=draw.chance(), variables=some(draw, [str(c) for c in frame.columns]))


@step("encode")
def rare(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.encoding import RareLabelEncoder

    found = filled(frame, texts_of(frame))
    return RareLabelEncoder(tol=draw.choice([0.1, 0.3]), n_categories=1, variables=some(draw, found)) if found else None


@step("encode")
def ordinal(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.encoding import CountFrequencyEncoder, OrdinalEncoder

    found = filled(frame, texts_of(frame))
    if not found:
        return None
    variables = some(draw, found)
    if draw.chance():
        return OrdinalEncoder(encoding_method=draw.choice(["ordered", "arbitrary"]), variables=variables)
    return CountFrequencyEncoder(draw.choice(["count", "frequency"]), variables=variables)


@step("function")
def logarithm(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.transformation import LogTransformer

    found = [c for c in filled(frame, numbers_of(frame)) if (frame[c] > 0).all()]
    return LogTransformer(variables=some(draw, found), base=draw.choice(["e", "10"])) if found else None


@step("select")
def drop(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.selection import DropFeatures

    names = [str(c) for c in frame.columns]
    return DropFeatures(draw.sample(names, draw.integer(1, len(names) // 2))) if len(names) > 3 else None


@step("compose")
def wrapper(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.wrappers import SklearnTransformerWrapper
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    found = numbers_of(frame)
    inner = draw.choice([StandardScaler(), MinMaxScaler()])
    return SklearnTransformerWrapper(inner, variables=some(draw, found)) if found else None


# --- scikit-learn: numbers -----------------------------------------------------------------------------------------


@step("scale")
def power(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.preprocessing import PowerTransformer, QuantileTransformer

    quantiles = QuantileTransformer(n_quantiles=draw.choice([5, 10]), output_distribution="normal", random_state=0)
    made = draw.choice([PowerTransformer(standardize=draw.chance()), quantiles])
    return frames(made) if only_numbers(frame) else None


@step("scale")
def normalizer(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.preprocessing import Normalizer

    return frames(Normalizer(draw.choice(["l1", "l2", "max"]))) if only_numbers(frame) else None


@step("discretise")
def bins(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.preprocessing import KBinsDiscretizer

    made = KBinsDiscretizer(
        3, encode=draw.choice(["ordinal", "onehot-dense"]), strategy=draw.choice(["uniform", "quantile"])
    )
    if "quantile_method" in made.get_params():
        made.set_params(quantile_method="averaged_inverted_cdf")
    return frames(made) if only_numbers(frame) else None


@step("create")
def products(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.preprocessing import PolynomialFeatures

    made = PolynomialFeatures(2, interaction_only=draw.chance(), include_bias=draw.chance(0.3))
    return frames(made) if only_numbers(frame) and frame.shape[1] <= 5 else None


@step("create")
def splines(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.preprocessing import SplineTransformer

    made = SplineTransformer(4, degree=draw.choice([2, 3]), extrapolation=draw.choice(["constant", "linear"]))
    return frames(made) if only_numbers(frame) and frame.shape[1] <= 5 else None


@step("project")
def projection(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.decomposition import PCA, TruncatedSVD

    if not only_numbers(frame) or frame.shape[1] < 3:
        return None
    return frames(draw.choice([PCA(2, whiten=draw.chance(), random_state=0), TruncatedSVD(2, random_state=0)]))


@step("impute")
def neighbours(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.impute import KNNImputer

    return frames(KNNImputer(n_neighbors=draw.integer(1, 4))) if only_numbers(frame) else None


@step("impute")
def regressions(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes the next one importable
    from sklearn.impute import IterativeImputer

    return frames(IterativeImputer(max_iter=2, random_state=0)) if only_numbers(frame) else None


@step("select")
def univariate(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_regression

    if not only_numbers(frame) or frame.shape[1] < 3:
        return None
    return frames(draw.choice([SelectKBest(f_regression, k=frame.shape[1] - 1), VarianceThreshold()]))


@step("encode")
def one_hot(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    words = texts_of(frame)
    if not words:
        return None
    dense = {"sparse_output" if "sparse_output" in OneHotEncoder().get_params() else "sparse": False}
    encoder = draw.choice(
        [
            OneHotEncoder(handle_unknown="ignore", drop=draw.choice([None, "if_binary"]), **dense),
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        ]
    )
    chosen = some(draw, words)
    return frames(
        ColumnTransformer(
            [("words", encoder, chosen)], remainder="passthrough", verbose_feature_names_out=draw.chance()
        )
    )


@step("compose")
def nested(draw: Draw, frame: pd.DataFrame) -> Any | None:
    """A ColumnTransformer whose branches hold a union, a pipeline and another ColumnTransformer."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import MinMaxScaler, OrdinalEncoder, RobustScaler, StandardScaler

    numbers, words = numbers_of(frame), texts_of(frame)
    if len(numbers) < 2 or frame.shape[1] > 15:
        return None
    half = len(numbers) // 2
    fill = SimpleImputer(strategy=draw.choice(["mean", "median"]))
    union = FeatureUnion([("robust", RobustScaler()), ("range", MinMaxScaler())])
    inner = ColumnTransformer([("scale", StandardScaler(), [0])], remainder=draw.choice(["drop", "passthrough"]))
    parts: list[tuple[str, Any, list[str]]] = [
        ("first", Pipeline([("fill", fill), ("union", union)]), numbers[:half]),
        ("second", Pipeline([("fill", SimpleImputer()), ("inner", inner)]), numbers[half:]),
    ]
    if words:
        ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        fill_words = SimpleImputer(strategy="constant", fill_value="none")
        parts.append(("words", Pipeline([("fill", fill_words), ("code", ordinal)]), words))
    return frames(ColumnTransformer(draw.sample(parts, len(parts)), remainder="passthrough"))


# --- text, which gives matrices: what follows takes them -----------------------------------------------------------


def texts(draw: Draw, frame: pd.DataFrame) -> tuple[list[str], Any] | None:
    from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer

    found = filled(frame, texts_of(frame))
    if not found:
        return None
    vectorizer = draw.choice(
        [
            TfidfVectorizer(ngram_range=draw.choice([(1, 1), (1, 2)]), sublinear_tf=draw.chance()),
            CountVectorizer(analyzer="char_wb", ngram_range=(1, 2), binary=draw.chance(), max_features=30),
            HashingVectorizer(n_features=16), TfidfVectorizer(analyzer="char", max_features=25, norm="l1"),
        ]
    )  # fmt: skip
    return found, vectorizer


@step("text")
def words(draw: Draw, frame: pd.DataFrame) -> Any | None:
    """Text among other columns; those of strings that are left over are dropped."""
    from sklearn.preprocessing import OneHotEncoder

    prepared = texts(draw, frame)
    if prepared is None:
        return None
    found, vectorizer = prepared
    parts: list[tuple[str, Any, Any]] = [("text", vectorizer, found[0])]
    if numbers_of(frame):
        parts.append(("numbers", "passthrough", numbers_of(frame)))
    if found[1:]:
        parts.append(("codes", OneHotEncoder(handle_unknown="ignore"), found[1:]))
    return ColumnTransformer(parts, sparse_threshold=draw.choice([0, 0.3, 1]))


@step("text")
def topics(draw: Draw, frame: pd.DataFrame) -> Any | None:
    """Text as two components, beside another vectorizer of the same text."""
    from sklearn.decomposition import TruncatedSVD

    prepared, other = texts(draw, frame), texts(draw, frame)
    if prepared is None or other is None:
        return None
    found, vectorizer = prepared
    svd = Pipeline([("words", vectorizer), ("svd", TruncatedSVD(2, random_state=0))])
    union = FeatureUnion([("topics", svd), ("words", other[1])])
    parts: list[tuple[str, Any, Any]] = [("text", union, found[0])]
    if numbers_of(frame):
        parts.append(("numbers", "passthrough", numbers_of(frame)))
    return ColumnTransformer(parts)


@step("matrix")
def matrix_scaler(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.preprocessing import MaxAbsScaler, Normalizer, StandardScaler

    return draw.choice([StandardScaler(with_mean=False), MaxAbsScaler(), Normalizer()])


@step("matrix")
def matrix_projection(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_regression

    k = max(1, frame.shape[1] // 2)
    return draw.choice([TruncatedSVD(3, random_state=0), SelectKBest(f_regression, k=k), VarianceThreshold()])


@step("matrix")
def matrix_impute(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from sklearn.impute import SimpleImputer

    return SimpleImputer(strategy=draw.choice(["mean", "median"]))


# --- times ---------------------------------------------------------------------------------------------------------


@step("datetime")
def parts_of_times(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.datetime import DatetimeFeatures

    found = times_of(frame)
    wanted = ["year", "month", "quarter", "semester", "week", "day_of_week", "day_of_year", "weekend", "hour", "minute"]
    return DatetimeFeatures(
        variables=found, features_to_extract=draw.sample(wanted, draw.integer(1, 4)),
        missing_values="ignore", drop_original=draw.chance(0.8),
    ) if found else None  # fmt: skip


@step("datetime")
def time_between(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine import datetime

    found = times_of(frame)
    if len(found) < 2 or not hasattr(datetime, "DatetimeSubtraction"):
        return None
    return datetime.DatetimeSubtraction(
        found[:1], found[1:], missing_values="ignore", output_unit=draw.choice(["D", "h"]), drop_original=draw.chance()
    )


@step("datetime")
def days(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine import datetime

    found = times_of(frame)
    if not found or not hasattr(datetime, "DatetimeOrdinal"):
        return None
    return datetime.DatetimeOrdinal(variables=found, missing_values="ignore", drop_original=draw.chance(0.8))


# --- feature-engine: more families ---------------------------------------------------------------------------------


@step("impute")
def tail(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.imputation import EndTailImputer

    found = numbers_of(frame)
    method = draw.choice(["gaussian", "iqr", "max"])
    return EndTailImputer(method, draw.choice(["left", "right"]), variables=some(draw, found)) if found else None


@step("impute")
def random_sample(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.imputation import RandomSampleImputer

    columns = [str(c) for c in frame.columns if str(c) not in times_of(frame)]
    if not columns:
        return None
    return RandomSampleImputer(random_state=draw.integer(0, 99), seed="general", variables=some(draw, columns))


@step("discretise")
def engine_bins(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine import discretisation

    found = filled(frame, numbers_of(frame))
    if not found:
        return None
    variables = some(draw, found)
    if draw.chance():
        return discretisation.EqualFrequencyDiscretiser(q=draw.integer(2, 4), variables=variables)
    return discretisation.EqualWidthDiscretiser(bins=draw.integer(2, 4), variables=variables)


@step("outliers")
def winsorizer(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.outliers import Winsorizer

    found = numbers_of(frame)
    method = draw.choice(["gaussian", "iqr", "quantiles"])
    return Winsorizer(
        method, tail=draw.choice(["left", "right", "both"]), fold=0.1 if method == "quantiles" else 1.5,
        variables=some(draw, found), missing_values="ignore",
    ) if found else None  # fmt: skip


@step("outliers")
def capper(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.outliers import ArbitraryOutlierCapper

    found = numbers_of(frame)
    bounds = {name: draw.choice([1.5, 10, 300]) for name in some(draw, found)} if found else {}
    return ArbitraryOutlierCapper(max_capping_dict=bounds, missing_values="ignore") if found else None


@step("create")
def statistics(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.creation import MathFeatures

    found = numbers_of(frame)
    if len(found) < 2:
        return None
    functions = draw.sample(["sum", "mean", "std", "min", "max", "median"], draw.integer(1, 3))
    return MathFeatures(draw.sample(found, draw.integer(2, len(found))), functions, missing_values="ignore")


@step("create")
def relative(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.creation import RelativeFeatures

    found = numbers_of(frame)
    if len(found) < 2:
        return None
    return RelativeFeatures(found[:1], found[1:2], draw.sample(["sub", "add", "mul"], 2), missing_values="ignore")


@step("create")
def cycles(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine.creation import CyclicalFeatures

    found = [c for c in filled(frame, numbers_of(frame)) if frame[c].max() > 0]
    return CyclicalFeatures(some(draw, found), drop_original=draw.chance()) if found else None


@step("function")
def curves(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine import transformation

    found = filled(frame, numbers_of(frame))
    positive = [c for c in found if (frame[c] > 0).all()]
    options: list[Any] = []
    if found:
        options += [
            transformation.YeoJohnsonTransformer(variables=some(draw, found)),
            transformation.PowerTransformer(variables=some(draw, found), exp=2),
            transformation.LogCpTransformer(variables=some(draw, found), C="auto"),
        ]
    if positive:
        options += [
            transformation.BoxCoxTransformer(variables=some(draw, positive)),
            transformation.ReciprocalTransformer(variables=some(draw, positive)),
            transformation.PowerTransformer(variables=some(draw, positive), exp=draw.choice([0.5, 0.3])),
        ]
    return draw.choice(options) if options else None


@step("encode")
def engine_encoder(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine import encoding

    found = filled(frame, texts_of(frame))
    if not found:
        return None
    variables = some(draw, found)
    made: list[Any] = [
        encoding.OneHotEncoder(variables=variables, drop_last=draw.chance()), encoding.MeanEncoder(variables=variables),
        encoding.StringSimilarityEncoder(variables=variables, top_categories=3),
    ]  # fmt: skip
    return draw.choice(made)


@step("select")
def engine_selection(draw: Draw, frame: pd.DataFrame) -> Any | None:
    from feature_engine import selection

    options: list[Any] = [selection.DropConstantFeatures(missing_values="ignore"), selection.DropDuplicateFeatures()]
    if only_numbers(frame) and len(filled(frame, numbers_of(frame))) > 1:
        options.append(selection.DropCorrelatedFeatures(threshold=0.8))
    return draw.choice(options)


# --- category_encoders ---------------------------------------------------------------------------------------------


@step("category_encoders")
def contrast(draw: Draw, frame: pd.DataFrame) -> Any | None:
    import category_encoders as ce

    found = texts_of(frame)
    encoder = draw.choice([ce.BinaryEncoder, ce.HelmertEncoder, ce.SumEncoder, ce.BaseNEncoder, ce.OneHotEncoder])
    return encoder(cols=some(draw, found)) if found else None


@step("category_encoders")
def learned(draw: Draw, frame: pd.DataFrame) -> Any | None:
    import category_encoders as ce

    found = texts_of(frame)
    encoder = draw.choice(
        [ce.TargetEncoder, ce.CatBoostEncoder, ce.JamesSteinEncoder, ce.MEstimateEncoder, ce.LeaveOneOutEncoder,
         ce.CountEncoder, ce.OrdinalEncoder, ce.QuantileEncoder]
    )  # fmt: skip
    return encoder(cols=some(draw, found)) if found else None
