"""Converters of scikit-learn's transformers of numbers, versions 1.2 to 1.9: bins, curves, projections, selectors.

`check_array` turns everything into float64 and raises for infinite values everywhere, and for missing ones unless the
class allows them.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from ..context import Context, Label
from ..registry import register_converter
from ..values import is_missing


def _outputs(step: Any, ctx: Context) -> list[Label]:
    """What `get_feature_names_out` says; positions where it cannot."""
    try:
        return [str(name) for name in step.get_feature_names_out()]
    except (AttributeError, ValueError):
        name = type(step).__name__.lower()
        return [f"{name}{i}" for i in range(step.transform(ctx.frame[:1]).shape[1])]


@register_converter("sklearn.preprocessing.KBinsDiscretizer")
def convert_k_bins_discretizer(step: Any, ctx: Context) -> None:
    """The number of inner edges that are not above the value; or a column of 1 and 0 for each bin."""
    ctx.check(ctx.labels, "missing", "infinite")
    inputs = ctx.labels
    names = None if step.encode == "ordinal" else _outputs(step, ctx)
    at = 0
    for i, label in enumerate(inputs):
        inner = [float(edge) for edge in step.bin_edges_[i][1:-1]]
        if names is None:
            values = [float(bin) for bin in range(len(inner) + 1)]
            ctx.emit_each("cut", label, edges=inner, closed="left", values=values)
            continue
        for bin in range(int(step.n_bins_[i])):
            # The edges on both sides of the bin, of which the first and the last bin have only one.
            edges = inner[max(bin - 1, 0) : bin + 1]
            values = [0.0] * (len(edges) + 1)
            values[min(bin, 1)] = 1.0
            ctx.emit_each("cut", label, output=names[at], edges=edges, closed="left", values=values)
            at += 1
    if names is not None:
        ctx.drop(inputs)


@register_converter("sklearn.preprocessing.PowerTransformer")
def convert_power_transformer(step: Any, ctx: Context) -> None:
    """Box-Cox or Yeo-Johnson, then a standard scaler. Missing values pass.

    1.2 has a Yeo-Johnson of its own, by powers, where later versions call SciPy's.
    """
    ctx.check(ctx.labels, "infinite")
    if step.method == "box-cox":
        ctx.check(ctx.labels, "not_positive")
    direct = hasattr(step, "_yeo_johnson_transform")
    method = "box_cox" if step.method == "box-cox" else "yeo_johnson_direct" if direct else "yeo_johnson"
    for i, label in enumerate(ctx.labels):
        if is_missing(step.lambdas_[i]):
            ctx.unsupported(f"the column {label!r} had no value when it was fitted", "drop such a column before")
        ctx.emit_each("power", label, method=method, exponent=float(step.lambdas_[i]))
    if step.standardize:
        scaler = step._scaler
        ctx.check(ctx.labels, "infinite")  # the scaler refuses what the powers make of numbers too large
        ctx.affine(
            {label: {"subtract": scaler.mean_[i], "divide": scaler.scale_[i]} for i, label in enumerate(ctx.labels)}
        )


@register_converter("sklearn.preprocessing.QuantileTransformer")
def convert_quantile_transformer(step: Any, ctx: Context) -> None:
    """Interpolates between the quantiles from both sides; for `normal` the normal quantile of that, clipped."""
    ctx.check(ctx.labels, "infinite")
    normal = step.output_distribution == "normal"
    for i, label in enumerate(ctx.labels):
        x = step.quantiles_[:, i]
        if np.isnan(x).any():
            ctx.unsupported(f"the column {label!r} had no value when it was fitted", "drop such a column before")
        # The margin is scikit-learn's BOUNDS_THRESHOLD.
        ctx.emit_each("interpolate", label, x=x, y=step.references_, both=True, margin=1e-7 if normal else 0.0)
    if normal:
        ppf = importlib.import_module("scipy.stats").norm.ppf
        bounds = (ppf(1e-7 - np.spacing(1)), ppf(1 - (1e-7 - np.spacing(1))))
        ctx.relabel_dtype("float64")
        ctx.function(ctx.labels, "ndtri")
        ctx.affine({label: {"clip": bounds} for label in ctx.labels})


@register_converter("sklearn.preprocessing.Normalizer")
def convert_normalizer(step: Any, ctx: Context) -> None:
    """Divides a row by its norm."""
    ctx.check(ctx.labels, "missing", "infinite")
    if hasattr(ctx.frame, "toarray"):
        ctx.weigh(norm=step.norm)  # a bag of words stays sparse
        return
    ctx.emit_in_place("normalize", ctx.labels, norm=step.norm)


@register_converter("sklearn.preprocessing.PolynomialFeatures")
def convert_polynomial_features(step: Any, ctx: Context) -> None:
    """Products of columns, the last column of a product first, as scikit-learn multiplies."""
    ctx.check(ctx.labels, "missing", "infinite")
    factors = [[i for i in reversed(range(len(row))) for _ in range(int(row[i]))] for row in step.powers_]
    ctx.emit_many("products", ctx.labels, _outputs(step, ctx), factors=factors)


@register_converter("sklearn.impute.MissingIndicator")
def convert_missing_indicator(step: Any, ctx: Context) -> None:
    """1 where missing. A missing value in a column that had none is refused on demand."""
    if not is_missing(step.missing_values):
        ctx.unsupported(
            f"it takes {step.missing_values!r} for a missing value",
            "replace that by NaN in the rows: a missing value is `null` in a request",
        )
    ctx.check(ctx.labels, "infinite")
    inputs = ctx.labels
    chosen = [int(i) for i in step.features_]
    if step.features == "missing-only" and step.error_on_new:
        ctx.check([label for i, label in enumerate(inputs) if i not in chosen], "missing")
    ctx.indicate_missing({inputs[i]: f"missingindicator_{ctx.plain_name(inputs[i])}" for i in chosen})
    ctx.drop(inputs)


# --- projections ----------------------------------------------------------------------------------------------------


def _project(
    step: Any, ctx: Context, matrix: Any, subtract: Any = None, offset: Any = None, divide: Any = None
) -> None:
    ctx.check(ctx.labels, "missing", "infinite")
    matrix = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)
    if hasattr(ctx.frame, "toarray") and subtract is None and offset is None and divide is None:
        before = len(ctx.columns)
        ctx.project(_outputs(step, ctx), matrix)
        ctx.keep(ctx.columns[before:])
        return
    parts = {key: value for key, value in (("subtract", subtract), ("offset", offset)) if value is not None}
    ctx.emit_many("project", ctx.labels, _outputs(step, ctx), matrix=np.asarray(matrix, dtype=float), **parts)
    if divide is not None:
        ctx.affine({label: {"divide": divide[i]} for i, label in enumerate(ctx.labels)})


@register_converter("sklearn.decomposition.PCA")
@register_converter("sklearn.decomposition.IncrementalPCA")
def convert_pca(step: Any, ctx: Context) -> None:
    """Centred before the product until 1.4, after it since."""
    scale = None
    late = hasattr(step, "_transform")
    if step.whiten:
        scale = np.sqrt(step.explained_variance_)
        if late:
            scale = np.maximum(scale, np.finfo(scale.dtype).eps)
        elif (scale == 0.0).any():
            ctx.unsupported(
                f"its component {int(np.argmin(scale))} has the variance 0, by whose square root it divides",
                "keep fewer components: n_components",
            )
    mean = np.reshape(step.mean_, -1)
    if late:
        offset = -(mean.reshape(1, -1) @ step.components_.T)[0]
        _project(step, ctx, step.components_, offset=offset, divide=scale)
    else:
        _project(step, ctx, step.components_, subtract=mean, divide=scale)


@register_converter("sklearn.decomposition.TruncatedSVD")
@register_converter("sklearn.random_projection.GaussianRandomProjection")
@register_converter("sklearn.random_projection.SparseRandomProjection")
def convert_linear_projection(step: Any, ctx: Context) -> None:
    """A product with the components."""
    _project(step, ctx, step.components_)


@register_converter("sklearn.decomposition.FastICA")
def convert_fast_ica(step: Any, ctx: Context) -> None:
    """A product with the components, centred when whitened."""
    _project(step, ctx, step.components_, subtract=step.mean_ if step.whiten else None)


@register_converter("sklearn.decomposition.FactorAnalysis")
def convert_factor_analysis(step: Any, ctx: Context) -> None:
    """The posterior mean of the factors, which is linear."""
    weights = step.components_ / step.noise_variance_
    covariance = np.linalg.inv(np.eye(len(step.components_)) + weights @ step.components_.T)
    _project(step, ctx, (weights.T @ covariance).T, subtract=step.mean_)


@register_converter("sklearn.discriminant_analysis.LinearDiscriminantAnalysis")
def convert_linear_discriminant_analysis(step: Any, ctx: Context) -> None:
    """`transform`: centred for the solver `svd`, not for `eigen`."""
    if step.solver == "lsqr":
        ctx.unsupported("with the solver `lsqr` it has no `transform`", "use the solver `svd` or `eigen`")
    matrix = step.scalings_[:, : step._max_components].T
    _project(step, ctx, matrix, subtract=step.xbar_ if step.solver == "svd" else None)


@register_converter("sklearn.kernel_approximation.RBFSampler")
def convert_rbf_sampler(step: Any, ctx: Context) -> None:
    """Cosines of a random projection."""
    _project(step, ctx, step.random_weights_.T, offset=step.random_offset_)
    ctx.function(ctx.labels, "cos")
    scale = float((2.0 / step.n_components) ** 0.5)
    ctx.affine({label: {"multiply": scale} for label in ctx.labels})


@register_converter("sklearn.kernel_approximation.Nystroem")
def convert_nystroem(step: Any, ctx: Context) -> None:
    """The kernel with some training rows, then a projection."""
    kernels = ("rbf", "linear", "poly", "polynomial", "sigmoid", "cosine")
    if step.kernel not in kernels:
        ctx.unsupported(f"its kernel is {step.kernel!r}", f"use one of {', '.join(kernels)}")
    ctx.check(ctx.labels, "missing", "infinite")
    rows = step.components_.toarray() if hasattr(step.components_, "toarray") else np.asarray(step.components_, float)
    parameters = step._get_kernel_params()
    gamma = parameters.get("gamma")
    gamma = 1.0 / rows.shape[1] if gamma is None else float(gamma)
    inputs = ctx.labels
    kernel = [f"kernel {i}" for i in range(len(rows))]
    if step.kernel == "rbf":
        # The squared distance as scikit-learn computes it: squares minus twice the product.
        squares = [f"square of {label}" for label in inputs]
        for label, square in zip(inputs, squares):
            ctx.affine({label: {"multiply": 1.0}})
            ctx.copy(label, square)
        ctx.relabel_dtype("float64")
        ctx.function(squares, "square")
        sums = ["sum of squares"]
        ctx.emit_many("aggregate", squares, sums, keep=True, single=True, statistic="sum", skip_missing=False)
        ctx.drop(squares)
        matrix = np.hstack([-2.0 * rows, np.ones((len(rows), 1))])
        ctx.emit_many("project", [*inputs, *sums], kernel, matrix=matrix, offset=(rows * rows).sum(axis=1))
        ctx.affine({label: {"clip": (0.0, None)} for label in kernel})
        ctx.affine({label: {"multiply": -gamma} for label in kernel})
        ctx.function(kernel, "exp")
    else:
        if step.kernel == "cosine":
            ctx.emit_in_place("normalize", inputs, norm="l2")
            norms = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
            rows = rows / np.where(norms == 0.0, 1.0, norms)
        ctx.emit_many("project", inputs, kernel, matrix=rows)
        coef0 = parameters.get("coef0")
        if step.kernel in ("poly", "polynomial", "sigmoid"):
            shift = 1.0 if coef0 is None else float(coef0)
            ctx.affine({label: {"multiply": gamma, "add": shift} for label in kernel})
        if step.kernel == "sigmoid":
            ctx.function(kernel, "tanh")
        elif step.kernel in ("poly", "polynomial"):
            degree = parameters.get("degree")
            for label in kernel:
                ctx.emit_each("power", label, method="power", exponent=3.0 if degree is None else float(degree))
    ctx.emit_many("project", kernel, _outputs(step, ctx), matrix=step.normalization_)


# --- selectors ------------------------------------------------------------------------------------------------------


@register_converter("sklearn.feature_selection.VarianceThreshold")
@register_converter("sklearn.feature_selection.SelectKBest")
@register_converter("sklearn.feature_selection.SelectPercentile")
@register_converter("sklearn.feature_selection.SelectFpr")
@register_converter("sklearn.feature_selection.SelectFdr")
@register_converter("sklearn.feature_selection.SelectFwe")
@register_converter("sklearn.feature_selection.GenericUnivariateSelect")
@register_converter("sklearn.feature_selection.SelectFromModel")
@register_converter("sklearn.feature_selection.RFE")
@register_converter("sklearn.feature_selection.RFECV")
@register_converter("sklearn.feature_selection.SequentialFeatureSelector")
def convert_selector(step: Any, ctx: Context) -> None:
    """Keeps the columns of `get_support`, after looking at all of them.

    What is looked at: missing and infinite values of an array, unless the selector allows missing values (then not
    even infinite ones are refused); since 1.3 nothing in a frame that is handed on as a frame.
    """
    import sklearn

    before_1_3 = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 3)
    if (before_1_3 or not (_gives_frames(step) and hasattr(ctx.frame, "iloc"))) and not _allows_missing(step):
        ctx.check(ctx.labels, "missing", "infinite")
    labels = ctx.labels
    ctx.select([labels[int(i)] for i in np.flatnonzero(step.get_support())])


def _gives_frames(step: Any) -> bool:
    from sklearn import get_config

    config = getattr(step, "_sklearn_output_config", {}).get("transform", get_config().get("transform_output"))
    return bool(config == "pandas")


def _allows_missing(step: Any) -> bool:
    if hasattr(step, "__sklearn_tags__"):
        return bool(step.__sklearn_tags__().input_tags.allow_nan)
    return bool(step._get_tags()["allow_nan"])


# --- imputers that look at other columns ----------------------------------------------------------------------------


def _indicate(step: Any, ctx: Context, labels: list[Label]) -> list[Label]:
    """The columns of `add_indicator`, at the end."""
    if not step.add_indicator:
        return []
    outputs = {labels[i]: f"missingindicator_{ctx.plain_name(labels[i])}" for i in map(int, step.indicator_.features_)}
    ctx.indicate_missing(outputs)
    return list(outputs.values())


def _only_nan(step: Any, ctx: Context) -> None:
    if not is_missing(step.missing_values):
        ctx.unsupported(
            f"it takes {step.missing_values!r} for a missing value",
            "replace that by NaN in the rows: a missing value is `null` in a request",
        )


def _width(step: Any, rows: Any) -> int:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the rows have no names
        return int(np.shape(step.transform(rows))[1])


@register_converter("sklearn.impute.KNNImputer")
def convert_knn_imputer(step: Any, ctx: Context) -> None:
    """The mean of the nearest training rows, which are all in the artifact."""
    _only_nan(step, ctx)
    if step.metric != "nan_euclidean" or step.weights not in ("uniform", "distance"):
        ctx.unsupported("its metric or its weights are a function", "use nan_euclidean, and uniform or distance")
    ctx.check(ctx.labels, "infinite")
    labels = ctx.labels
    flags = _indicate(step, ctx, labels)
    if flags and _width(step, np.zeros((1, len(labels)))) != _width(step, step._fit_X[:1] * np.nan):
        ctx.unsupported(
            "this version of scikit-learn leaves the indicators out when nothing is missing",
            "add a MissingIndicator by a FeatureUnion, or use a later version",
        )
    rows = [[None if np.isnan(x) else float(x) for x in row] for row in step._fit_X]
    weights = step.weights
    if weights == "uniform":
        # Old versions count neighbours without any common column in; the answer is then 6 rather than 5.
        probe = type(step)(n_neighbors=2).fit(np.array([[1.0, np.nan, 5.0], [np.nan, 2.0, 7.0]]))
        weights = "all" if probe.transform(np.array([[1.0, np.nan, np.nan]]))[0, 2] > 5.5 else weights
    ctx.emit_in_place("neighbours", labels, rows=rows, count=int(step.n_neighbors), weights=weights)
    empty = [label for label, valid in zip(labels, step._valid_mask) if not valid]
    if step.keep_empty_features:
        ctx.affine({label: {"multiply": 0.0, "add": 0.0} for label in empty})
        ctx.fill(dict.fromkeys(empty, 0.0))
    else:
        ctx.drop(empty)


@register_converter("sklearn.impute.IterativeImputer")
def convert_iterative_imputer(step: Any, ctx: Context) -> None:
    """The regressions of the fit in their order, which must be linear."""
    _only_nan(step, ctx)
    hint = "use BayesianRidge, Ridge or LinearRegression, without sample_posterior"
    if step.sample_posterior:
        ctx.unsupported("it draws its values at random", hint)
    ctx.check(ctx.labels, "infinite")
    labels = ctx.labels
    _indicate(step, ctx, labels)
    statistics = step.initial_imputer_.statistics_
    if not step.keep_empty_features:
        empty = [label for label, statistic in zip(labels, statistics) if is_missing(statistic)]
        if hasattr(step, "_is_empty_feature"):
            empty = [label for label, gone in zip(labels, step._is_empty_feature) if gone]
        ctx.drop(empty)
        statistics = [s for label, s in zip(labels, statistics) if label not in empty]
        labels = [label for label in labels if label not in empty]
    else:
        statistics = [0.0 if is_missing(s) else s for s in statistics]
        if hasattr(step, "_is_empty_feature"):
            # Filled before, so that they do not count as missing.
            ctx.fill({label: float(s) for label, s, e in zip(labels, statistics, step._is_empty_feature) if e})
    if not labels:
        return
    sequence = []
    for feature, neighbours, estimator in step.imputation_sequence_ if step.n_iter_ else []:
        if type(estimator).__name__ not in (
            "BayesianRidge", "ARDRegression", "Ridge", "RidgeCV", "LinearRegression", "Lasso", "LassoCV", "ElasticNet",
            "HuberRegressor",
        ):  # fmt: skip
            ctx.unsupported(f"its estimator is a {type(estimator).__name__}, which is not linear", hint)
        low, high = float(step._min_value[feature]), float(step._max_value[feature])
        bounds = [None if np.isinf(low) else low, None if np.isinf(high) else high]
        entry = {
            "column": int(feature),
            "from": [int(i) for i in neighbours],
            "coefficients": [float(c) for c in np.reshape(estimator.coef_, -1)],
            "intercept": float(np.reshape(estimator.intercept_, -1)[0]),
        }
        sequence.append({**entry, "clip": bounds} if bounds != [None, None] else entry)
    ctx.emit_in_place("regress", labels, initial=[float(s) for s in statistics], sequence=sequence)


# --- splines --------------------------------------------------------------------------------------------------------


@register_converter("sklearn.preprocessing.SplineTransformer")
def convert_spline_transformer(step: Any, ctx: Context) -> None:
    """The values of the B-splines of each column; outside of the knots what `extrapolation` says."""
    zeros = getattr(step, "handle_missing", "error") == "zeros"
    if not zeros:
        ctx.check(ctx.labels, "missing", "infinite")
    inputs = ctx.labels
    names = iter(_outputs(step, ctx))
    # For lines scikit-learn counts up degrees 0 and 1 anew at each column, and looks for the bounds there.
    degree = step.degree
    for i, label in enumerate(inputs):
        spline = step.bsplines_[i]
        t = spline.t
        n_splines = spline.c.shape[1]
        low, high = float(t[degree]), float(t[-degree - 1])
        if not t[step.degree] < t[-step.degree - 1]:
            ctx.unsupported(f"the column {label!r} was constant when it was fitted", "drop such a column before")
        outputs = [next(names) for _ in range(n_splines - (not step.include_bias))]
        unused = [] if step.include_bias else [f"{label} unused spline"]
        more: dict[str, Any] = {}
        if step.extrapolation == "periodic":
            more["periodic"] = True
        elif step.extrapolation == "error":
            ctx.check([label], "outside", between=(low, high))
        elif step.extrapolation in ("constant", "linear"):
            if step.extrapolation == "linear" and degree <= 1:
                degree += 1
            edge = degree
            if edge == 0 and n_splines > 1:
                # It takes the last 0 of the values at the bound, which is all of them, and raises.
                ctx.check([label], "outside", between=(None, high))
            for side, bound, first in (("below", low, 0), ("above", high, n_splines - edge)):
                values, slopes = np.zeros(n_splines), np.zeros(n_splines)
                part = slice(max(first, 0), first + edge)
                values[part] = spline(bound)[part]
                if step.extrapolation == "linear":
                    slopes[part] = spline(bound, nu=1)[part]
                more[side] = {"bound": bound, "values": values, "slopes": slopes}
        ctx.emit_spline(label, [*outputs, *unused], knots=t, degree=int(step.degree), **more)
        if zeros:
            ctx.fill(dict.fromkeys(outputs, 0.0))
        ctx.drop(unused)
    ctx.drop(inputs)
