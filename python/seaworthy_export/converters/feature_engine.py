"""Converters of feature-engine's transformers, versions 1.0 to 1.9.

All of them take a frame and give a frame, and reorder the columns to `feature_names_in_`, which are those they get.
The data type of the columns decides some details; it is that of the training rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..context import Context, Outcome
from ..registry import register_converter
from ..values import is_missing, is_number
from .tabulate import tabulate


@register_converter("feature_engine.imputation.CategoricalImputer")
@register_converter("feature_engine.imputation.MeanMedianImputer")
@register_converter("feature_engine.imputation.ArbitraryNumberImputer")
@register_converter("feature_engine.imputation.EndTailImputer")
def convert_imputer(step: Any, ctx: Context) -> None:
    """`fillna(imputer_dict_)`. `return_object` changes a type in Python and no value."""
    values = dict(step.imputer_dict_)
    for label, value in step.imputer_dict_.items():
        dtype = ctx.column(label).dtype
        nullable = not isinstance(dtype, np.dtype) and pd.api.types.is_integer_dtype(dtype)
        if nullable and is_number(value) and not is_missing(value) and float(value) != int(value):
            # pandas raises: a column of the type Int64 takes no 2.5.
            ctx.check([label], "missing")
            del values[label]
    ctx.fill(values)


@register_converter("feature_engine.imputation.AddMissingIndicator")
def convert_add_missing_indicator(step: Any, ctx: Context) -> None:
    """Columns `<name>_na` at the end; int64 in 1.5, int8 in 1.9, where the column's type says so to what follows."""
    ctx.indicate_missing({label: f"{label}_na" for label in step.variables_})


@register_converter("feature_engine.selection.DropFeatures")
def convert_drop_features(step: Any, ctx: Context) -> None:
    """Drops columns; 1.5 keeps the single name that it was given as it is."""
    ctx.drop([step.features_to_drop_] if isinstance(step.features_to_drop_, str) else step.features_to_drop_)


@register_converter("feature_engine.transformation.LogTransformer")
def convert_log_transformer(step: Any, ctx: Context) -> None:
    """Raises for a missing or an infinite value and for x <= 0, in this order, before it computes anything."""
    ctx.check(step.variables_, "missing", "infinite", "not_positive")
    ctx.function(step.variables_, {"e": "log", "10": "log10"}[step.base])


@register_converter("feature_engine.wrappers.SklearnTransformerWrapper")
def convert_sklearn_wrapper(step: Any, ctx: Context) -> None:
    """The wrapped transformer on some columns, written back into their places."""
    inner = step.transformer_
    if type(inner).__name__ == "OneHotEncoder":
        chosen = list(step.variables_)
        tabulate(step, ctx, chosen, lambda label: inner.categories_[chosen.index(label)])
        return
    if type(inner).__name__ == "PolynomialFeatures":
        # Drops its inputs and puts its outputs at the end.
        labels = list(step.variables_)
        positions = {label: i for i, label in enumerate(ctx.labels)}
        rest = [label for label in ctx.labels if label not in labels]
        passed = [("kept", "passthrough", [positions[label] for label in rest], None)]
        ctx.apply_branches([*passed, ("encoded", inner, [positions[label] for label in labels], None)])
        names = [*rest, *inner.get_feature_names_out(labels)]
        ctx.relabel(names)
        return
    if hasattr(step, "features_to_drop_"):
        ctx.drop(step.features_to_drop_)  # a selector
        return
    ctx.apply_in_place(inner, type(inner).__name__, step.variables_)


@register_converter("feature_engine.encoding.RareLabelEncoder")
def convert_rare_label_encoder(step: Any, ctx: Context) -> None:
    """Frequent categories stay, others become `replace_with`.

    1.5 raises for any missing value and goes through `np.where`, which turns a column of numbers into strings when
    `replace_with` is one. 1.9 raises or leaves missing values alone, assigns in place and so keeps the numbers.
    """
    old = not hasattr(step, "missing_values")
    ignore = getattr(step, "missing_values", "raise") == "ignore"
    if not ignore:
        ctx.check(step.variables_, "missing")
    for label in step.variables_:
        keys = [key for key in step.encoder_dict_[label] if not is_missing(key)]
        dtype = ctx.column(label).dtype
        numeric = pd.api.types.is_numeric_dtype(dtype)
        values: list[Any] = list(keys)
        unseen: Outcome = {"value": step.replace_with}
        if old and numeric:
            column = pd.Series(keys, dtype=dtype)
            values = np.where(np.ones(len(keys), dtype=bool), column, step.replace_with).tolist()
            unseen = {"value": np.where([False], pd.Series([0], dtype=dtype), step.replace_with).tolist()[0]}
        elif numeric and not isinstance(step.replace_with, str) and not _fits(step.replace_with, dtype):
            unseen = "error"  # pandas 3 refuses to assign it
        elif not old and str(dtype) in ("str", "string") and not isinstance(step.replace_with, str):
            unseen = "error"  # likewise
        missing: Outcome = "keep" if ignore else "error"
        if ignore and pd.api.types.is_object_dtype(dtype):
            # It looks for NaN among the values of a column; None, where that is what stands for missing, is rare.
            holes = [value for value in ctx.values(label) if is_missing(value)]
            kept = pd.Series(holes, dtype=object).isin([*step.encoder_dict_[label], np.nan])
            if holes and not kept.any():
                missing = unseen
        ctx.map(label, keys, values, unseen=unseen, missing=missing)


def _fits(value: Any, dtype: Any) -> bool:
    return bool(pd.api.types.is_float_dtype(dtype)) or isinstance(value, int) or float(value).is_integer()
