"""Converters of scikit-learn's transformers, versions 1.1 to 1.9.

They work by position and give arrays, or frames after `set_output`. `check_array` raises for infinite values
everywhere, and for missing ones unless the class allows them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..context import CATEGORY, FLOAT, FUNCTIONS, INT, Context, Label
from ..registry import register_converter
from ..values import is_missing
from .tabulate import Asker, holes_of


@register_converter("sklearn.pipeline.Pipeline")
@register_converter("imblearn.pipeline.Pipeline")
@register_converter("feature_engine.pipeline.Pipeline")
def convert_pipeline(step: Any, ctx: Context) -> None:
    """One after the other."""
    for name, inner in step.steps:
        ctx.apply(inner, name)


@register_converter("sklearn.compose.ColumnTransformer")
def convert_column_transformer(step: Any, ctx: Context) -> None:
    """Each branch on copies of its columns; what the branches give is what is left, in their order."""
    weights = step.transformer_weights or {}
    named = list(getattr(step, "feature_names_in_", []))
    branches, scalars = [], []
    for name, inner, selector in step.transformers_:
        if isinstance(inner, str) and inner == "drop":
            continue
        # Names, masks, slices and callables were resolved when it was fitted, to positions among the columns seen then.
        positions = [int(i) for i in step._transformer_to_input_indices[name]]
        if not positions:
            continue
        if named and hasattr(ctx.frame, "columns"):
            positions = [ctx.labels.index(named[i]) for i in positions]
        if isinstance(selector, (str, int)) and not isinstance(selector, bool):
            scalars.append(name)
        # Recent versions put an identity in the place of `passthrough`.
        passed = isinstance(inner, str) or (type(inner).__name__ == "FunctionTransformer" and inner.func is None)
        if passed and _refuses_na(step):
            own = [ctx.columns[i] for i in positions if getattr(ctx.columns[i].dtype, "na_value", None) is pd.NA]
            ctx.check([column.label for column in own], "missing")
        branches.append((name, inner, positions, weights.get(name)))
    ctx.apply_branches(branches, scalars)


def _refuses_na(step: Any) -> bool:
    """Whether pd.NA among what is passed through raises: from 1.6 on, unless the output is a frame."""
    import sklearn
    from sklearn.utils._set_output import _get_output_config

    version = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
    return version >= (1, 6) and _get_output_config("transform", step)["dense"] == "default"


@register_converter("sklearn.pipeline.FeatureUnion")
def convert_feature_union(step: Any, ctx: Context) -> None:
    """Each transformer on all the columns; what they give stands side by side."""
    weights = step.transformer_weights or {}
    every = range(len(ctx.columns))
    ctx.apply_branches(
        [
            (name, "passthrough" if inner is None else inner, every, weights.get(name))
            for name, inner in step.transformer_list
            if not (isinstance(inner, str) and inner == "drop")
        ]
    )


@register_converter("sklearn.preprocessing.FunctionTransformer")
def convert_function_transformer(step: Any, ctx: Context) -> None:
    """A NumPy function of one argument, or none at all."""
    if step.validate:
        ctx.check(ctx.labels, "missing", "infinite")
    function = step.func
    if function is None:
        return
    if function is pd.DataFrame.to_dict and step.kw_args == {"orient": "records"}:
        return  # rows as dicts, for a DictVectorizer or a FeatureHasher
    if step.kw_args and _with_arguments(step, ctx):
        return
    if step.kw_args:
        ctx.unsupported(
            f"its function is called with {step.kw_args}",
            "kw_args are known for np.clip, np.round, np.nan_to_num and DataFrame's clip, round, fillna and to_dict",
        )
    name = getattr(function, "__name__", repr(function))
    if isinstance(function, np.ufunc) and name in FUNCTIONS and getattr(np, name) is function:
        ctx.function(ctx.labels, name)
        return
    hint = "use a NumPy function itself, such as FunctionTransformer(np.log1p): " + ", ".join(FUNCTIONS)
    if name == "<lambda>":
        ctx.unsupported("its function is a lambda, whose code cannot be read off", hint)
    ctx.unsupported(
        f"its function is `{name}`, which is not a NumPy function known here",
        hint + "; or write a class with a `transform` and register a converter for it, see docs/exporter.md",
    )


def _with_arguments(step: Any, ctx: Context) -> bool:
    """Emits a function that is called with `kw_args`; false when it is not one of a few."""
    function, given = step.func, dict(step.kw_args)
    if any(np.ndim(value) for value in given.values()):
        return False
    if function in (np.clip, pd.DataFrame.clip):
        low = given.pop("a_min", given.pop("min", given.pop("lower", None)))
        high = given.pop("a_max", given.pop("max", given.pop("upper", None)))
        if given:
            return False
        for label in ctx.labels:
            ctx.affine({label: {"clip": (low, high)}})
        return True
    if function in (np.round, getattr(np, "round_", np.round), np.around, pd.DataFrame.round):
        decimals = given.pop("decimals", 0)
        if given or not isinstance(decimals, int):
            return False
        scale = 10.0 ** abs(decimals)
        for label in ctx.labels:
            if ctx.column(label).kind == INT and str(ctx.column(label).dtype).startswith("int") and decimals >= 0:
                continue
            up, down = ("multiply", "divide") if decimals > 0 else ("divide", "multiply")
            if decimals:
                ctx.affine({label: {up: scale}})
            ctx.function([label], "rint")
            if decimals:
                ctx.affine({label: {down: scale}})
        return True
    if function is np.nan_to_num and set(given) <= {"nan", "copy"}:
        largest = float(np.finfo(np.float64).max)
        ctx.fill(dict.fromkeys(ctx.labels, float(given.get("nan", 0.0))))
        for label in ctx.labels:
            if ctx.column(label).kind == FLOAT:
                ctx.affine({label: {"clip": (-largest, largest)}})
        return True
    if function is pd.DataFrame.fillna and set(given) == {"value"}:
        ctx.fill(dict.fromkeys(ctx.labels, given["value"]))
        return True
    return False


@register_converter("sklearn.preprocessing.Binarizer")
def convert_binarizer(step: Any, ctx: Context) -> None:
    """Refuses missing and infinite values."""
    ctx.check(ctx.labels, "missing", "infinite")
    ctx.threshold(dict.fromkeys(ctx.labels, step.threshold))


@register_converter("sklearn.preprocessing.MinMaxScaler")
def convert_min_max_scaler(step: Any, ctx: Context) -> None:
    """`x * scale_ + min_`, clipped on demand."""
    clip = tuple(step.feature_range) if getattr(step, "clip", False) else None
    _scale(ctx, multiply=step.scale_, add=step.min_, clip=clip)


@register_converter("sklearn.preprocessing.StandardScaler")
def convert_standard_scaler(step: Any, ctx: Context) -> None:
    """`(x - mean_) / scale_`; either part may be switched off."""
    _scale(ctx, subtract=step.mean_ if step.with_mean else None, divide=step.scale_ if step.with_std else None)


@register_converter("sklearn.preprocessing.MaxAbsScaler")
def convert_max_abs_scaler(step: Any, ctx: Context) -> None:
    """`x / scale_`; recent versions clip on demand."""
    _scale(ctx, divide=step.scale_, clip=(-1.0, 1.0) if getattr(step, "clip", False) else None)


@register_converter("sklearn.preprocessing.RobustScaler")
def convert_robust_scaler(step: Any, ctx: Context) -> None:
    """`(x - center_) / scale_`; either part may be switched off. `unit_variance` is within `scale_`."""
    subtract = step.center_ if step.with_centering else None
    _scale(ctx, subtract=subtract, divide=step.scale_ if step.with_scaling else None)


def _scale(ctx: Context, clip: tuple[float, float] | None = None, **parts: Any) -> None:
    if parts.get("divide") is not None and not np.all(parts["divide"]):
        ctx.unsupported("it divides by 0", "`unit_variance` takes quantiles other than 0 and 100")
    ctx.check(ctx.labels, "infinite")
    ctx.affine(
        {
            label: {"clip": clip, **{name: None if array is None else array[i] for name, array in parts.items()}}
            for i, label in enumerate(ctx.labels)
        }
    )


def _refuse_na(step: Any, ctx: Context) -> None:
    """pd.NA among objects and strings, of which scikit-learn asks whether it equals itself, raises in most versions."""
    doubtful = []
    for column in ctx.columns:
        hole = holes_of(ctx.values(column.label))[0]
        if column.kind == CATEGORY and (hole is pd.NA or getattr(column.dtype, "na_value", None) is pd.NA):
            doubtful.append((column, hole))
    if not doubtful:
        return
    asker = Asker(step, ctx)
    for column, hole in doubtful:
        (answer,) = asker.ask(column, [hole], [])
        if isinstance(answer, Exception):
            ctx.check([column.label], "missing")


@register_converter("sklearn.impute.SimpleImputer")
def convert_simple_imputer(step: Any, ctx: Context) -> None:
    """Fills each column with its statistic.

    A column that was missing throughout is dropped, unless it is kept as `keep_empty_features`.
    """
    if not is_missing(step.missing_values):
        ctx.unsupported(
            f"it takes {step.missing_values!r} for a missing value",
            "replace that by NaN in the rows: a missing value is `null` in a request",
        )
    ctx.check(ctx.labels, "infinite")
    _refuse_na(step, ctx)
    labels = ctx.labels
    statistics: dict[Label, Any] = dict(zip(labels, step.statistics_))
    if step.add_indicator:
        flagged = [labels[i] for i in step.indicator_.features_]
        ctx.indicate_missing({label: f"missingindicator_{ctx.plain_name(label)}" for label in flagged})
    # None is a value to it, which objects are filled with where most of them are None: they stay missing.
    empty = [label for label, statistic in statistics.items() if is_missing(statistic) and statistic is not None]
    if not getattr(step, "keep_empty_features", False):
        # 1.2 keeps a column of nothing under the strategy `constant`, whose statistic is never missing.
        ctx.drop(empty)
    ctx.fill({label: value for label, value in statistics.items() if not is_missing(value)})
