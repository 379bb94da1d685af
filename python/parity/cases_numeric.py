"""Cases of scikit-learn's transformers of numbers: bins, curves, norms, products, projections, selectors, unions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, FactorAnalysis, FastICA, IncrementalPCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes IterativeImputer importable
from sklearn.feature_selection import (
    RFE,
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFpr,
    SelectFromModel,
    SelectFwe,
    SelectKBest,
    SelectPercentile,
    SequentialFeatureSelector,
    VarianceThreshold,
    f_classif,
    f_regression,
)
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import BayesianRidge, LinearRegression, Ridge
from sklearn.pipeline import FeatureUnion
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    Normalizer,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.random_projection import GaussianRandomProjection, SparseRandomProjection

from .draw import Draw
from .harness import GENERATION, Case, parity

Frames = tuple[pd.DataFrame, pd.DataFrame]


def floats(draw: Draw, low: int = 1, high: int = 5, *, missing: float = 0.0, positive: bool = False) -> Frames:
    """Columns that are neither constant nor huge."""
    return draw.frames(
        {
            name: draw.floats(missing=missing, positive=positive, extremes=False, distinct=True)
            for name in draw.names(draw.integer(low, high))
        }
    )


def normals(draw: Draw, low: int = 1, high: int = 5) -> Frames:
    """Columns of normal numbers, one of them now and then a sum of others."""
    k = draw.integer(low, high)
    names = draw.names(k)
    scale = 10.0 ** draw.rng.integers(-2, 3, size=k)

    def frame(n: int) -> pd.DataFrame:
        values = draw.rng.normal(size=(n, k)) * scale + 1.0
        return pd.DataFrame(values, columns=names)

    return frame(draw.n_train), frame(draw.n_test)


def holes(draw: Draw, frame: pd.DataFrame, probability: float = 0.3) -> pd.DataFrame:
    """The frame with a missing value here and there."""
    for name in frame.columns:
        if draw.chance(probability) and str(frame[name].dtype) == "float64":
            frame.loc[0, name] = np.nan
    return frame


@parity("sklearn.preprocessing.KBinsDiscretizer", family="discretise")
def k_bins_discretizer(draw: Draw) -> Case:
    draw.rows(8)
    train, test = draw.number_frames(nullable=False)
    options = (
        {"quantile_method": "averaged_inverted_cdf"} if "quantile_method" in KBinsDiscretizer().get_params() else {}
    )
    return Case(
        KBinsDiscretizer(
            n_bins=draw.integer(2, 6),
            encode=draw.choice(["ordinal", "onehot", "onehot-dense"]),
            strategy=draw.choice(["uniform", "quantile", "kmeans"]),
            subsample=None,
            **options,
        ),
        train,
        holes(draw, test, 0.1),
    )


@parity("sklearn.preprocessing.PowerTransformer", family="scale")
def power_transformer(draw: Draw) -> Case:
    draw.rows(8)
    method = draw.choice(["box-cox", "yeo-johnson"])
    train, test = floats(draw, missing=draw.choice([0.0, 0.2]), positive=method == "box-cox")
    if method == "box-cox" and draw.chance(0.3):
        test.iloc[0, 0] = draw.choice([0.0, -1.0])
    return Case(
        PowerTransformer(method=method, standardize=draw.chance()), train, test,
    )  # fmt: skip


@parity("sklearn.preprocessing.QuantileTransformer", family="scale")
def quantile_transformer(draw: Draw) -> Case:
    train, test = draw.number_frames(missing=draw.choice([0.0, 0.2]), nullable=False)
    return Case(
        QuantileTransformer(
            n_quantiles=draw.choice([2, 5, 10, len(train)]),
            output_distribution=draw.choice(["uniform", "normal"]),
            random_state=0,
        ),
        train,
        test,
        refusable=bool(train.isna().all().any()),
    )


@parity("sklearn.preprocessing.Normalizer", family="scale")
def normalizer(draw: Draw) -> Case:
    train, test = draw.number_frames(1, 8, nullable=False)
    return Case(Normalizer(norm=draw.choice(["l1", "l2", "max"])), train, holes(draw, test, 0.1))


@parity("sklearn.preprocessing.PolynomialFeatures", family="create")
def polynomial_features(draw: Draw) -> Case:
    train, test = draw.number_frames(1, 4, nullable=False)
    degree = draw.choice([1, 2, 3, (0, 2), (2, 3), (1, 2)])
    return Case(
        PolynomialFeatures(
            degree=degree, interaction_only=draw.chance(), include_bias=draw.chance(), order=draw.choice(["C", "F"])
        ),
        train,
        holes(draw, test, 0.1),
        tolerance=0.0,
    )


@parity("sklearn.impute.MissingIndicator", family="impute")
def missing_indicator(draw: Draw) -> Case:
    columns = {name: draw.floats(missing=draw.choice([0.0, 0.3])) for name in draw.names(draw.integer(1, 4))}
    train, test = draw.frames(columns)
    train.iloc[0, 0] = np.nan
    return Case(
        MissingIndicator(features=draw.choice(["missing-only", "all"]), error_on_new=draw.chance()),
        train,
        holes(draw, test, 0.2),
    )


# --- projections ----------------------------------------------------------------------------------------------------


def projected(draw: Draw, transformer: object, frames: Frames, y: object = None) -> Case:
    train, test = frames
    return Case(transformer, train, holes(draw, test, 0.05), y)


@parity("sklearn.decomposition.PCA", family="project")
def pca(draw: Draw) -> Case:
    draw.rows(8)
    frames = normals(draw, 2, 8)
    k = draw.integer(1, frames[0].shape[1])
    return projected(draw, PCA(n_components=k, whiten=draw.chance(), random_state=0), frames)


@parity("sklearn.decomposition.IncrementalPCA", family="project")
def incremental_pca(draw: Draw) -> Case:
    draw.rows(20)
    frames = normals(draw, 2, 5)
    k = draw.integer(1, frames[0].shape[1])
    return projected(draw, IncrementalPCA(n_components=k, whiten=draw.chance(), batch_size=len(frames[0])), frames)


@parity("sklearn.decomposition.TruncatedSVD", family="project")
def truncated_svd(draw: Draw) -> Case:
    draw.rows(8)
    frames = normals(draw, 3, 8)
    return projected(draw, TruncatedSVD(n_components=draw.integer(1, 2), random_state=0), frames)


@parity("sklearn.decomposition.FastICA", family="project")
def fast_ica(draw: Draw) -> Case:
    draw.rows(20)
    frames = normals(draw, 2, 4)
    whiten = draw.choice(["unit-variance", "arbitrary-variance", False])
    return projected(draw, FastICA(whiten=whiten, random_state=0, max_iter=50, tol=1e-2), frames)


@parity("sklearn.decomposition.FactorAnalysis", family="project")
def factor_analysis(draw: Draw) -> Case:
    draw.rows(20)
    frames = normals(draw, 2, 5)
    return projected(draw, FactorAnalysis(n_components=draw.integer(1, 2), random_state=0), frames)


@parity("sklearn.random_projection.GaussianRandomProjection", family="project")
def gaussian_projection(draw: Draw) -> Case:
    frames = normals(draw, 2, 6)
    return projected(
        draw, GaussianRandomProjection(n_components=draw.integer(1, 4), random_state=draw.integer(0, 99)), frames
    )


@parity("sklearn.random_projection.SparseRandomProjection", family="project")
def sparse_projection(draw: Draw) -> Case:
    frames = normals(draw, 2, 6)
    return projected(
        draw, SparseRandomProjection(n_components=draw.integer(1, 4), random_state=draw.integer(0, 99)), frames
    )


@parity("sklearn.discriminant_analysis.LinearDiscriminantAnalysis", family="project")
def linear_discriminant_analysis(draw: Draw) -> Case:
    draw.rows(20)
    frames = normals(draw, 2, 5)
    solver = draw.choice(["svd", "eigen"])
    return projected(draw, LinearDiscriminantAnalysis(solver=solver), frames, draw.target("multiclass"))


# --- selectors ------------------------------------------------------------------------------------------------------


def selected(draw: Draw, transformer: object, target: str) -> Case:
    draw.rows(20)
    train, test = draw.frames(
        {name: draw.floats(extremes=False, distinct=True) for name in draw.names(draw.integer(2, 6))}
    )
    if draw.chance(0.3):
        transformer.set_output(transform="pandas")  # type: ignore[attr-defined]
    return Case(transformer, train, holes(draw, test, 0.1), draw.target(target), tolerance=0.0)


@parity("sklearn.feature_selection.VarianceThreshold", family="select")
def variance_threshold(draw: Draw) -> Case:
    case = selected(draw, VarianceThreshold(threshold=draw.choice([0.0, 1e-6, 0.1])), "float")
    if draw.chance():
        case.X_train["constant"] = 1.0
        case.X_test["constant"] = 1.0
    return case


@parity("sklearn.feature_selection.SelectKBest", family="select")
def select_k_best(draw: Draw) -> Case:
    return selected(draw, SelectKBest(f_regression, k=draw.choice([1, 2, "all"])), "float")


@parity("sklearn.feature_selection.SelectPercentile", family="select")
def select_percentile(draw: Draw) -> Case:
    return selected(draw, SelectPercentile(f_classif, percentile=draw.choice([30, 60, 100])), "binary")


@parity("sklearn.feature_selection.SelectFpr", family="select")
def select_fpr(draw: Draw) -> Case:
    return selected(draw, SelectFpr(f_regression, alpha=0.7), "float")


@parity("sklearn.feature_selection.SelectFdr", family="select")
def select_fdr(draw: Draw) -> Case:
    return selected(draw, SelectFdr(f_regression, alpha=0.95), "float")


@parity("sklearn.feature_selection.SelectFwe", family="select")
def select_fwe(draw: Draw) -> Case:
    return selected(draw, SelectFwe(f_regression, alpha=0.99), "float")


@parity("sklearn.feature_selection.GenericUnivariateSelect", family="select")
def generic_univariate_select(draw: Draw) -> Case:
    return selected(draw, GenericUnivariateSelect(f_regression, mode="k_best", param=draw.choice([1, 2])), "float")


@parity("sklearn.feature_selection.SelectFromModel", family="select")
def select_from_model(draw: Draw) -> Case:
    return selected(
        draw, SelectFromModel(LinearRegression(), threshold=draw.choice(["mean", "median", "0.5*mean"])), "float"
    )


@parity("sklearn.feature_selection.RFE", family="select")
def rfe(draw: Draw) -> Case:
    return selected(draw, RFE(LinearRegression(), n_features_to_select=draw.choice([1, 2])), "float")


@parity("sklearn.feature_selection.RFECV", family="select")
def rfecv(draw: Draw) -> Case:
    return selected(draw, RFECV(LinearRegression(), cv=2), "float")


@parity("sklearn.feature_selection.SequentialFeatureSelector", family="select")
def sequential_feature_selector(draw: Draw) -> Case:
    direction = draw.choice(["forward", "backward"])
    return selected(
        draw, SequentialFeatureSelector(LinearRegression(), n_features_to_select=1, direction=direction, cv=2), "float"
    )


# --- several at once ------------------------------------------------------------------------------------------------


@parity("sklearn.pipeline.FeatureUnion (numbers)", family="compose")
def feature_union(draw: Draw) -> Case:
    train, test = draw.number_frames(1, 4, nullable=False)
    options = [
        ("scaled", StandardScaler()), ("poly", PolynomialFeatures(2)), ("log", FunctionTransformer(np.tanh)),
        ("range", MinMaxScaler()), ("norm", Normalizer()), ("none", "drop"),
        ("bins", KBinsDiscretizer(2, encode="ordinal", strategy="uniform")),
    ]  # fmt: skip
    chosen = draw.sample(options, draw.integer(2, 4))
    if all(step == "drop" for _, step in chosen):
        chosen = options[:2]
    weights = {chosen[0][0]: draw.choice([0.5, 3.0])} if draw.chance(0.4) and chosen[0][1] != "drop" else None
    return Case(FeatureUnion(chosen, transformer_weights=weights), train, test)


@parity("sklearn.compose.ColumnTransformer (numbers)", family="compose")
def column_transformer(draw: Draw) -> Case:
    train, test = draw.number_frames(4, 6, nullable=False)
    names = list(train.columns)
    transformers = [
        ("slice", StandardScaler(), slice(0, 2)),
        ("names", PolynomialFeatures(2), names[1:3]),
        ("mask", MinMaxScaler(), [i == 2 for i in range(len(names))]),
        ("callable", SimpleImputer(), lambda frame: list(frame.columns[:1])),
        ("one", Normalizer(), [-1]),
        ("empty", StandardScaler(), []),
        ("dropped", "drop", [0]),
        ("kept", "passthrough", [1]),
    ]
    chosen = draw.sample(transformers, draw.integer(1, 4))
    remainder = draw.choice(["drop", "passthrough", "estimator"])
    transformer = ColumnTransformer(
        chosen,
        remainder=StandardScaler() if remainder == "estimator" else remainder,
        verbose_feature_names_out=draw.chance(),
        transformer_weights={chosen[0][0]: 2.0} if draw.chance(0.3) and chosen[0][1] != "drop" else None,
    )
    if draw.chance(0.3) and transformer.verbose_feature_names_out:
        transformer.set_output(transform="pandas")
    return Case(transformer, train, test)


# --- imputers that look at other columns, splines -------------------------------------------------------------------


def gaps(draw: Draw, low: int, high: int) -> Frames:
    """Normal numbers with missing values."""
    train, test = normals(draw, low, high)
    for frame in (train, test):
        frame.mask(draw.rng.random(frame.shape) < draw.choice([0.1, 0.3]), inplace=True)
    return train, test


def imputer_options(draw: Draw, cls: type) -> dict[str, object]:
    options: dict[str, object] = {"add_indicator": draw.chance(0.3)}
    if "keep_empty_features" in cls().get_params():
        options["keep_empty_features"] = draw.chance(0.3)
    return options


@parity("sklearn.impute.KNNImputer", family="impute")
def knn_imputer(draw: Draw) -> Case:
    draw.rows(3)
    train, test = gaps(draw, 2, 5)
    if draw.chance(0.15):
        train.iloc[:, 0] = np.nan
    options = imputer_options(draw, KNNImputer)
    if GENERATION == "2023":
        # It takes rows without a common column in no particular order; here every two rows have one.
        for frame in (train, test):
            frame["common"] = draw.rng.normal(size=len(frame))
    weights = draw.choice(["uniform", "distance"])
    return Case(
        KNNImputer(n_neighbors=draw.integer(1, 6), weights=weights, **options),
        train, test,
        reason="scikit-learn takes a squared distance as x·x - 2 x·y + y·y from BLAS, so it is off by units in the "
        "last place of x·x, and its weight 1 / distance with it",
        # It forgets to name the empty columns that it keeps.
        names=not options.get("keep_empty_features", False),
        refusable=bool(options["add_indicator"]),
    )  # fmt: skip


@parity("sklearn.impute.IterativeImputer", family="impute")
def iterative_imputer(draw: Draw) -> Case:
    draw.rows(20)
    train, test = gaps(draw, 2, 5)
    # A row of nothing is imputed otherwise alone than among others.
    test.loc[test.iloc[:, 1:].isna().all(axis=1), test.columns[-1]] = 1.0
    if draw.chance(0.15):
        train.iloc[:, 0] = np.nan
    estimator = draw.choice([None, LinearRegression(), Ridge(alpha=0.5), BayesianRidge()])
    return Case(
        IterativeImputer(
            estimator=estimator, max_iter=draw.choice([0, 1, 3, 10]), random_state=0,
            n_nearest_features=draw.choice([None, None, 1]), skip_complete=draw.chance(0.3),
            initial_strategy=draw.choice(["mean", "median", "most_frequent", "constant"]),
            imputation_order=draw.choice(["ascending", "roman", "random"]),
            min_value=draw.choice([-np.inf, 0.0]), max_value=draw.choice([np.inf, 3.0]),
            **imputer_options(draw, IterativeImputer),
        ),
        train, test,
    )  # fmt: skip


@parity("sklearn.preprocessing.SplineTransformer", family="create")
def spline_transformer(draw: Draw) -> Case:
    draw.rows(8)
    train, test = normals(draw, 1, 3)
    extrapolation = draw.choice(["error", "constant", "linear", "continue", "periodic"])
    degree = draw.integer(1 if extrapolation == "periodic" else 0, 4)
    options: dict[str, object] = {}
    if "handle_missing" in SplineTransformer().get_params() and draw.chance(0.3):
        options["handle_missing"] = "zeros"
    if draw.chance(0.4):  # some rows that are inside
        test.iloc[0] = train.iloc[0]
    return Case(
        SplineTransformer(
            n_knots=draw.integer(max(2, degree + 1), 7), degree=degree, knots=draw.choice(["uniform", "quantile"]),
            extrapolation=extrapolation, include_bias=draw.chance(), order=draw.choice(["C", "F"]), **options,
        ),
        train, holes(draw, test, 0.1),
    )  # fmt: skip


# --- kernels --------------------------------------------------------------------------------------------------------


@parity("sklearn.kernel_approximation.RBFSampler", family="project")
def rbf_sampler(draw: Draw) -> Case:
    columns = {name: draw.floats(low=-3.0, high=3.0) for name in draw.names(draw.integer(1, 4))}
    train, test = draw.frames(columns)
    options: dict[str, object] = {"gamma": draw.choice([1.0, 0.1, 2.5])}
    if "scale" in str(RBFSampler._parameter_constraints["gamma"]) and draw.chance(0.2):
        options["gamma"] = "scale"
    sampler = RBFSampler(n_components=draw.integer(1, 12), random_state=draw.integer(0, 99), **options)
    return Case(sampler, train, holes(draw, test, 0.1))


@parity("sklearn.kernel_approximation.Nystroem", family="project")
def nystroem(draw: Draw) -> Case:
    draw.rows(8)
    columns = {name: draw.floats(low=-2.0, high=2.0) for name in draw.names(draw.integer(1, 4))}
    train, test = draw.frames(columns)
    kernel = draw.choice(["rbf", "rbf", "linear", "poly", "sigmoid", "cosine"])
    options: dict[str, object] = {}
    if kernel in ("rbf", "poly", "sigmoid") and draw.chance():
        options["gamma"] = draw.choice([0.1, 0.5, 1.0])
    if kernel in ("poly", "sigmoid") and draw.chance():
        options["coef0"] = draw.choice([0.0, 0.5, 1.0])
    if kernel == "poly" and draw.chance():
        options["degree"] = draw.choice([2, 3])
    made = Nystroem(kernel=kernel, n_components=draw.integer(1, 4), random_state=0, **options)

    def within(step: Nystroem, row: pd.DataFrame) -> list[float]:
        # What a bit of the kernel is worth: the projection divides by the roots of its smallest singular values.
        kernel = np.abs(step.normalization_).sum() * 1e-14
        size = 1.0 + float(np.nanmax(np.abs(row.to_numpy(float)), initial=0.0)) ** 6
        return [kernel * size * 10.0] * len(step.normalization_)

    reason = "the kernel is a sum in an order of BLAS's own, and the projection divides by its small singular values"
    return Case(made, train, holes(draw, test, 0.1), slack=within, reason=reason)
