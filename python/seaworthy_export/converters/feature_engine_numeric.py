"""Converters of feature-engine's transformers of numbers, 1.5 to 1.9: bins, curves, outliers, creation, selection.

Nearly all of them look at their variables first, and raise for a missing or an infinite value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..context import CATEGORY, FLOAT, INT, Context, Label
from ..registry import register_converter


def _checked(step: Any, ctx: Context) -> list[Label]:
    """The variables, after the check for missing and infinite values, unless that is switched off."""
    labels: list[Label] = list(step.variables_)
    if getattr(step, "missing_values", "raise") == "raise":
        ctx.check(labels, "missing", "infinite")
    return labels


def _to_float(ctx: Context, labels: Sequence[Label]) -> None:
    """`astype(float)`."""
    for label in labels:
        if ctx.column(label).kind == INT:
            ctx.affine({label: {"multiply": 1.0}})


# --- imputation -----------------------------------------------------------------------------------------------------


@register_converter("feature_engine.imputation.DropMissingData")
def convert_drop_missing_data(step: Any, ctx: Context) -> None:
    """A row that it would drop has no prediction: it is an error."""
    if step.threshold is None:
        ctx.check(step.variables_, "missing")
        return
    # At least `n * threshold` of the variables are there.
    flags = {label: f"{label}_is_missing" for label in step.variables_}
    ctx.indicate_missing(flags)
    counted = list(flags.values())
    ctx.emit_many("aggregate", counted, ["missing_count"], keep=True, single=True, statistic="sum", skip_missing=False)
    allowed = math.floor(len(flags) - len(flags) * step.threshold)
    ctx.check(["missing_count"], "outside", between=(None, allowed))
    ctx.drop([*flags.values(), "missing_count"])


# --- discretisation -------------------------------------------------------------------------------------------------


@register_converter("feature_engine.discretisation.EqualFrequencyDiscretiser")
@register_converter("feature_engine.discretisation.EqualWidthDiscretiser")
@register_converter("feature_engine.discretisation.GeometricWidthDiscretiser")
@register_converter("feature_engine.discretisation.ArbitraryDiscretiser")
def convert_discretiser(step: Any, ctx: Context) -> None:
    """`pd.cut` with the learned edges; recent versions include the lowest one. `return_object` changes no value."""
    labels = _checked(step, ctx)
    recent = hasattr(step, "precision")
    for label in labels:
        bins = step.binner_dict_[label]
        _pandas_cut(ctx, label, bins, recent, step.return_boundaries, getattr(step, "precision", 3))
    if getattr(step, "errors", "ignore") == "raise":
        ctx.check(labels, "missing")


def _pandas_cut(
    ctx: Context, label: Label, bins: Sequence[float], lowest: bool, boundaries: bool, precision: int | None
) -> None:
    values: list[Any] = list(range(len(bins) - 1))
    outside: Any = None
    if boundaries:
        cut = pd.cut(ctx.values(label), bins, **({"include_lowest": True, "precision": precision} if lowest else {}))
        values = [str(interval) for interval in cut.cat.categories]
        # `astype(str)` of pandas 3 leaves missing values alone.
        outside = "nan" if int(pd.__version__.split(".")[0]) < 3 else None
    edges = [float(edge) for edge in bins]
    if len(edges) == 1:  # all quantiles were equal, which leaves no bin
        ctx.emit_each("cut", label, kind=CATEGORY if outside else FLOAT, edges=[], closed="right", values=[outside])
        return
    if math.isinf(edges[0]):
        edges = edges[1:]
    else:
        values = [outside, *values]
        if lowest:
            edges[0] = float(np.nextafter(edges[0], -math.inf))
    if math.isinf(edges[-1]):
        edges = edges[:-1]
    else:
        values = [*values, outside]
    kind = CATEGORY if boundaries else FLOAT if None in values else INT
    ctx.emit_each("cut", label, kind=kind, edges=edges, closed="right", values=values)


@register_converter("feature_engine.discretisation.DecisionTreeDiscretiser")
def convert_tree_discretiser(step: Any, ctx: Context) -> None:
    """What a tree of the variable says: 1.5 the prediction, 1.9 on demand the bin between its thresholds."""
    labels = _checked(step, ctx)
    output = getattr(step, "bin_output", "prediction")
    for label in labels:
        if output == "prediction":
            proba = not step.regression
            tree = step.binner_dict_[label]
            _tree(ctx, [label], label, tree, proba=proba, precision=getattr(step, "precision", None))
        else:
            _pandas_cut(ctx, label, step.binner_dict_[label], True, output == "boundaries", step.precision)


def _tree(ctx: Context, labels: list[Label], output: Label, search: Any, *, proba: bool, precision: int | None) -> None:
    """A fitted decision tree; `proba` is the probability of the second class."""
    import sklearn

    estimator = getattr(search, "best_estimator_", search)
    tree = estimator.tree_
    missing_left = getattr(tree, "missing_go_to_left", np.zeros(tree.node_count, dtype=bool))
    # Until 1.2 the leaves hold counts, since 1.3 fractions.
    counts = tuple(int(part) for part in sklearn.__version__.split(".")[:2]) < (1, 3)
    nodes: list[dict[str, Any]] = []
    for i in range(tree.node_count):
        if tree.children_left[i] >= 0:
            nodes.append(
                {
                    "column": int(tree.feature[i]),
                    "threshold": float(tree.threshold[i]),
                    "left": int(tree.children_left[i]),
                    "right": int(tree.children_right[i]),
                    **({"missing_left": True} if missing_left[i] else {}),
                }
            )
            continue
        value = tree.value[i][0]
        if proba:
            answer = value[1] / (value.sum() or 1.0) if counts else value[1]
        elif hasattr(estimator, "classes_"):
            answer = estimator.classes_[int(np.argmax(value))]
            if isinstance(answer, str):
                ctx.unsupported("its trees predict strings", "encode the target as numbers")
        else:
            answer = value[0]
        nodes.append({"value": float(answer if precision is None else np.round(answer, precision))})
    if labels == [output]:
        ctx.emit_in_place("tree", labels, output=ctx.name(output), nodes=nodes)
    else:
        ctx.emit_many("tree", labels, [output], keep=True, single=True, nodes=nodes)


# --- transformation -------------------------------------------------------------------------------------------------


@register_converter("feature_engine.transformation.LogCpTransformer")
def convert_log_cp_transformer(step: Any, ctx: Context) -> None:
    """`log(x + C)`, refused where that is not positive inside."""
    labels = _checked(step, ctx)
    constant = step.C_
    for label in labels:
        c = constant[label] if hasattr(constant, "__getitem__") else constant
        ctx.affine({label: {"add": float(c)}})
    ctx.check(labels, "not_positive")
    ctx.function(labels, {"e": "log", "10": "log10"}[step.base])


@register_converter("feature_engine.transformation.ReciprocalTransformer")
def convert_reciprocal_transformer(step: Any, ctx: Context) -> None:
    """`1 / x`, refused for 0."""
    labels = _checked(step, ctx)
    ctx.check(labels, "zero")
    _to_float(ctx, labels)
    ctx.function(labels, "reciprocal")


@register_converter("feature_engine.transformation.PowerTransformer")
def convert_power_transformer(step: Any, ctx: Context) -> None:
    """`x ** exp`, missing for a negative x and a fraction."""
    for label in _checked(step, ctx):
        ctx.emit_each("power", label, method="power", exponent=float(step.exp))


@register_converter("feature_engine.transformation.BoxCoxTransformer")
def convert_box_cox_transformer(step: Any, ctx: Context) -> None:
    """`scipy.stats.boxcox`, refused unless positive."""
    labels = _checked(step, ctx)
    ctx.check(labels, "not_positive")
    for label in labels:
        ctx.emit_each("power", label, method="box_cox", exponent=float(step.lambda_dict_[label]))


@register_converter("feature_engine.transformation.YeoJohnsonTransformer")
def convert_yeo_johnson_transformer(step: Any, ctx: Context) -> None:
    """`scipy.stats.yeojohnson`."""
    for label in _checked(step, ctx):
        ctx.emit_each("power", label, method="yeo_johnson", exponent=float(step.lambda_dict_[label]))


@register_converter("feature_engine.transformation.ArcsinTransformer")
def convert_arcsin_transformer(step: Any, ctx: Context) -> None:
    """`arcsin(sqrt(x))`, refused outside of 0 to 1."""
    labels = _checked(step, ctx)
    ctx.check(labels, "outside", between=(0.0, 1.0))
    ctx.function(labels, "sqrt")
    ctx.function(labels, "arcsin")


@register_converter("feature_engine.transformation.ArcSinhTransformer")
def convert_arc_sinh_transformer(step: Any, ctx: Context) -> None:
    """`arcsinh((x - loc) / scale)`."""
    labels = _checked(step, ctx)
    ctx.affine({label: {"subtract": step.loc, "divide": step.scale} for label in labels})
    ctx.function(labels, "arcsinh")


@register_converter("feature_engine.scaling.MeanNormalizationScaler")
def convert_mean_normalization_scaler(step: Any, ctx: Context) -> None:
    """`(x - mean) / range`."""
    labels = _checked(step, ctx)
    ctx.affine({label: {"subtract": step.mean_[label], "divide": step.range_[label]} for label in labels})


# --- outliers -------------------------------------------------------------------------------------------------------


@register_converter("feature_engine.outliers.Winsorizer")
@register_converter("feature_engine.outliers.ArbitraryOutlierCapper")
def convert_capper(step: Any, ctx: Context) -> None:
    """Clips; on demand tells in new columns what was clipped on which side."""
    labels = _checked(step, ctx)
    if getattr(step, "add_indicators", False):
        for label in labels:
            low, high = step.left_tail_caps_.get(label), step.right_tail_caps_.get(label)
            for side, cap, closed, values in (
                ("left", low, "left", [1.0, 0.0]),
                ("right", high, "right", [0.0, 1.0]),
            ):
                if step.tail in (side, "both"):
                    output = f"{label}_{side}"
                    ctx.emit_each("cut", label, output=output, edges=[float(cap)], closed=closed, values=values)
                    ctx.fill({output: 0.0})
    for label in labels:
        low, high = step.left_tail_caps_.get(label), step.right_tail_caps_.get(label)
        if low is not None or high is not None:
            ctx.affine({label: {"clip": (low, high)}})


@register_converter("feature_engine.outliers.OutlierTrimmer")
def convert_outlier_trimmer(step: Any, ctx: Context) -> None:
    """A row that it would remove has no prediction: it is an error."""
    for label in _checked(step, ctx):
        low, high = step.left_tail_caps_.get(label), step.right_tail_caps_.get(label)
        if low is not None or high is not None:
            ctx.check([label], "missing", "outside", between=(low, high))


# --- creation -------------------------------------------------------------------------------------------------------

_STATISTICS = {
    "sum": ("sum", 0), "prod": ("product", 0), "product": ("product", 0), "mean": ("mean", 0), "std": ("std", 1),
    "var": ("variance", 1), "median": ("median", 0), "min": ("minimum", 0), "max": ("maximum", 0),
    "amin": ("minimum", 0), "amax": ("maximum", 0), "count": ("count", 0), "nunique": ("distinct", 0),
}  # fmt: skip


@register_converter("feature_engine.creation.MathFeatures")
def convert_math_features(step: Any, ctx: Context) -> None:
    """Statistics of the variables of a row, as `DataFrame.agg` computes them: without the missing values."""
    labels = _checked(step, ctx)
    functions = step.func if isinstance(step.func, list) else [step.func]
    _aggregate(ctx, labels, list(zip(functions, step._get_new_features_name())))
    if step.drop_original:
        ctx.drop(labels)


def _aggregate(ctx: Context, labels: list[Label], functions: Sequence[tuple[Any, Label]]) -> None:
    """`DataFrame.agg` of each function, by name or one of NumPy's, as a new column."""
    for function, output in functions:
        name = function if isinstance(function, str) else getattr(function, "__name__", repr(function))
        if name not in _STATISTICS or (callable(function) and getattr(np, name, None) is not function):
            ctx.unsupported(f"the function `{name}` cannot be read off", "use one of " + ", ".join(sorted(_STATISTICS)))
        statistic, ddof = _STATISTICS[name]
        # pandas 1 and 2 put its own functions in the place of NumPy's, pandas 3 does not: NumPy's `std` divides by the
        # count, and its `median`, unlike the others, does not ask the Series, which would leave missing values out.
        own = isinstance(function, str) or int(pd.__version__.split(".")[0]) < 3
        ctx.emit_many(
            "aggregate", labels, [output], keep=True, single=True, statistic=statistic, ddof=ddof if own else 0,
            skip_missing=own or name != "median",
        )  # fmt: skip


@register_converter("feature_engine.creation.RelativeFeatures")
def convert_relative_features(step: Any, ctx: Context) -> None:
    """Every variable with every reference; recent versions fill in a number where the reference is 0."""
    references: list[Label] = list(step.reference)
    labels = list(step.variables)
    if step.missing_values == "raise":
        ctx.check([*step.variables_, *references], "missing", "infinite")
    fill = getattr(step, "fill_value", None)
    operators = {
        "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "truediv": "divide",
        "floordiv": "floor_divide", "mod": "modulo", "pow": "power",
    }  # fmt: skip
    for function in step.func:
        divides = function in ("div", "truediv", "floordiv", "mod")
        for reference in references:
            if divides and fill is None:
                ctx.check([reference], "zero")
            for label in labels:
                kinds = {ctx.column(label).kind, ctx.column(reference).kind}
                if function == "pow" and kinds == {INT}:
                    ctx.unsupported(
                        f"{label!r} and {reference!r} are integers, whose power wraps and has no negative exponents",
                        "cast one of them to float before the pipeline is fitted",
                    )
                ctx.combine(
                    operators[function], label, reference, f"{label}_{function}_{reference}",
                    by_zero=fill if divides else None,
                )  # fmt: skip
    if step.drop_original:
        gone = dict.fromkeys([*labels, *references])
        ctx.drop(gone)


@register_converter("feature_engine.creation.MathematicalCombination")
def convert_mathematical_combination(step: Any, ctx: Context) -> None:
    """What MathFeatures was called until feature-engine 1.3."""
    labels: list[Label] = list(step.variables_to_combine)
    if step.missing_values == "raise":
        ctx.check(labels, "missing", "infinite")
    _aggregate(ctx, labels, [(function, output) for output, function in step.combination_dict_.items()])
    if getattr(step, "drop_original", False):
        ctx.drop(labels)


@register_converter("feature_engine.creation.CombineWithReferenceFeature")
def convert_combine_with_reference_feature(step: Any, ctx: Context) -> None:
    """What RelativeFeatures was called until feature-engine 1.3."""
    labels, references = list(step.variables_to_combine), list(step.reference_variables)
    if step.missing_values == "raise":
        ctx.check([*references, *labels], "missing", "infinite")
    if "div" in step.operations:
        ctx.check(references, "zero")
    names = iter(step.new_variables_names or ())
    operators = {"sub": "subtract", "div": "divide", "add": "add", "mul": "multiply"}
    # In the order of the class, whatever that of `operations`.
    for function in (name for name in operators if name in step.operations):
        for reference in references:
            for label in labels:
                output = next(names, f"{label}_{function}_{reference}")
                ctx.combine(operators[function], label, reference, output)
    if getattr(step, "drop_original", False):
        ctx.drop(dict.fromkeys([*labels, *references]))


@register_converter("feature_engine.creation.CyclicalFeatures")
def convert_cyclical_features(step: Any, ctx: Context) -> None:
    """Sine and cosine of the share of the greatest value."""
    labels = _checked(step, ctx)
    for label in labels:
        factor = 2.0 * np.pi / step.max_values_[label]
        for suffix, function in (("sin", "sin"), ("cos", "cos")):
            output = f"{label}_{suffix}"
            ctx.copy(label, output)
            ctx.affine({output: {"multiply": factor}})
            ctx.function([output], function)
    if step.drop_original:
        ctx.drop(labels)


@register_converter("feature_engine.creation.DecisionTreeFeatures")
def convert_decision_tree_features(step: Any, ctx: Context) -> None:
    """The prediction of a tree for each set of variables; the probability of the second class of two."""
    labels = list(step.variables_)
    ctx.check(labels, "missing", "infinite")
    proba = not step.regression and step._is_binary == "binary"
    rounds = step.regression or proba
    for features, search in zip(step.input_features_, step.estimators_):
        inputs = [features] if isinstance(features, str) else list(features)
        precision = step.precision if rounds else None
        _tree(ctx, inputs, f"tree({features})", search, proba=proba, precision=precision)
    if step.drop_original:
        ctx.drop(labels)


@register_converter("feature_engine.creation.GeoDistanceFeatures")
def convert_geo_distance_features(step: Any, ctx: Context) -> None:
    """Great-circle, Euclidean or Manhattan distance of two places, in the original's order of operations."""
    from feature_engine.creation.geo_features import EARTH_RADIUS

    ctx.check(step.variables_, "missing")
    radius = EARTH_RADIUS[step.output_unit]
    output = step.output_col
    scratch: list[Label] = []

    def new(name: str) -> str:
        scratch.append(f"{output} {name}")
        return f"{output} {name}"

    def combined(operator: str, left: Label, right: Label, name: str) -> str:
        ctx.combine(operator, left, right, new(name))
        return f"{output} {name}"

    def copied(label: Label, name: str, *functions: str) -> str:
        ctx.copy(label, new(name))
        for function in functions:
            ctx.function([f"{output} {name}"], function)
        return f"{output} {name}"

    if step.method == "haversine":
        places = (step.lat1, step.lon1, step.lat2, step.lon2)
        lat1, lon1, lat2, lon2 = (copied(label, f"place {i}", "radians") for i, label in enumerate(places))
        halves = []
        for name, end, start in (("dlat", lat2, lat1), ("dlon", lon2, lon1)):
            half = combined("subtract", end, start, name)
            ctx.affine({half: {"divide": 2.0}})
            ctx.function([half], "sin")
            ctx.function([half], "square")
            halves.append(half)
        cosines = combined("multiply", copied(lat1, "cos 1", "cos"), copied(lat2, "cos 2", "cos"), "cosines")
        product = combined("multiply", cosines, halves[1], "product")
        total = combined("add", halves[0], product, "sum")
        ctx.function([total], "sqrt")
        ctx.function([total], "arcsin")
        ctx.affine({total: {"multiply": 2.0}})
        ctx.affine({total: {"multiply": radius}})
    else:
        conversion = radius / EARTH_RADIUS["km"]
        parts = []
        for name, end, start in (("dlat", step.lat2, step.lat1), ("dlon", step.lon2, step.lon1)):
            part = combined("subtract", end, start, name)
            _to_float(ctx, [part])
            if step.method == "euclidean":
                ctx.affine({part: {"multiply": 111.0}})
                ctx.function([part], "square")
            else:
                ctx.function([part], "absolute")
            parts.append(part)
        total = combined("add", parts[0], parts[1], "sum")
        if step.method == "euclidean":
            ctx.function([total], "sqrt")
        else:
            ctx.affine({total: {"multiply": 111.0}})
        ctx.affine({total: {"multiply": conversion}})
    ctx.copy(total, output)
    ctx.drop(scratch)
    if step.drop_original:
        ctx.drop(step.variables_)


# --- selection ------------------------------------------------------------------------------------------------------


@register_converter("feature_engine.selection.DropConstantFeatures")
@register_converter("feature_engine.selection.DropDuplicateFeatures")
@register_converter("feature_engine.selection.DropCorrelatedFeatures")
@register_converter("feature_engine.selection.DropHighPSIFeatures")
@register_converter("feature_engine.selection.MRMR")
@register_converter("feature_engine.selection.ProbeFeatureSelection")
@register_converter("feature_engine.selection.RecursiveFeatureAddition")
@register_converter("feature_engine.selection.RecursiveFeatureElimination")
@register_converter("feature_engine.selection.SelectByInformationValue")
@register_converter("feature_engine.selection.SelectByShuffling")
@register_converter("feature_engine.selection.SelectBySingleFeaturePerformance")
@register_converter("feature_engine.selection.SelectByTargetMeanPerformance")
@register_converter("feature_engine.selection.SmartCorrelatedSelection")
def convert_selector(step: Any, ctx: Context) -> None:
    """Drops columns, and looks at nothing."""
    ctx.drop(step.features_to_drop_)
