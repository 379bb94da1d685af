"""Converters of encoders: scikit-learn 1.2 to 1.9, feature-engine 1.0 to 1.9, category_encoders 2.5 to 2.11.

An encoder that looks at one column at a time is asked for its table, see `tabulate`: whatever its version does with a
missing or an unseen value is what the artifact does. Here is only said which columns it encodes, which categories it
knows, and which of its outputs belong to which column.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..context import Context, Label
from ..registry import register_converter
from .tabulate import tabulate

# --- scikit-learn --------------------------------------------------------------------------------------------------


@register_converter("sklearn.preprocessing.OneHotEncoder")
def convert_one_hot_encoder(step: Any, ctx: Context) -> None:
    """A column for each category, or group of infrequent ones, that is not dropped."""
    _sklearn_blocks(step, ctx, [int(width) for width in step._n_features_outs])


@register_converter("sklearn.preprocessing.OrdinalEncoder")
def convert_ordinal_encoder(step: Any, ctx: Context) -> None:
    """The position among the categories. Missing is a category if it was seen in training, else it is unseen."""
    _sklearn_blocks(step, ctx, [1] * len(step.categories_))


@register_converter("sklearn.preprocessing.TargetEncoder")
def convert_target_encoder(step: Any, ctx: Context) -> None:
    """The shrunk mean of the target, for each class where there are several; as `transform`, not `fit_transform`."""
    per_column = len(step.encodings_) // len(step.categories_)
    _sklearn_blocks(step, ctx, [per_column] * len(step.categories_))


@register_converter("sklearn.preprocessing.LabelEncoder")
@register_converter("sklearn.preprocessing.LabelBinarizer")
def convert_label_encoder(step: Any, ctx: Context) -> None:
    """Made for a target, and taken here for a single column; what it does not know is an error, or all negative."""
    if len(ctx.columns) != 1:
        ctx.unsupported(
            f"it is made for a target and takes one column, not {len(ctx.columns)}",
            "use OrdinalEncoder or OneHotEncoder for features",
        )
    label = ctx.labels[0]
    tabulate(_OneColumn(step), ctx, [label], lambda _: step.classes_)


class _OneColumn:
    """What takes a single column, as a transformer of frames."""

    def __init__(self, step: Any) -> None:
        self.step = step

    def transform(self, frame: Any) -> Any:
        return self.step.transform(frame.iloc[:, 0] if hasattr(frame, "iloc") else frame[:, 0])


@register_converter("sklearn.preprocessing.MultiLabelBinarizer")
def convert_multi_label_binarizer(step: Any, ctx: Context) -> None:  # noqa: ARG001
    """Takes a set for each row, which no column can hold."""
    ctx.unsupported(
        "it takes a set of labels for each row, and a field of a request is one value",
        "for a text of several labels use CountVectorizer(binary=True) with a token_pattern that splits it",
    )


def _sklearn_blocks(step: Any, ctx: Context, widths: Sequence[int]) -> None:
    labels = ctx.labels
    starts = np.cumsum([0, *widths])
    names = [str(name) for name in step.get_feature_names_out()]
    tabulate(
        step,
        ctx,
        labels,
        lambda label: step.categories_[labels.index(label)],
        names=dict(enumerate(names)),
        blocks={label: range(starts[i], starts[i + 1]) for i, label in enumerate(labels)},
    )


# --- feature-engine ------------------------------------------------------------------------------------------------


@register_converter("feature_engine.encoding.OneHotEncoder")
@register_converter("feature_engine.encoding.OrdinalEncoder")
@register_converter("feature_engine.encoding.CountFrequencyEncoder")
@register_converter("feature_engine.encoding.MeanEncoder")
@register_converter("feature_engine.encoding.WoEEncoder")
@register_converter("feature_engine.encoding.PRatioEncoder")
@register_converter("feature_engine.encoding.ProbabilityRatioEncoder")
@register_converter("feature_engine.encoding.DecisionTreeEncoder")
def convert_feature_engine_encoder(step: Any, ctx: Context) -> None:
    """A number for each category, or a column for it; trees of one column are tables as well."""
    tables: dict[Any, Any] = dict(getattr(step, "encoder_dict_", None) or {})
    inner = getattr(step, "encoder_", None)  # the pipeline of a DecisionTreeEncoder, an encoder and then trees
    for part in (part for _, part in getattr(inner, "steps", [])):
        if not tables:
            tables = dict(getattr(part, "encoder_dict_", None) or {})
    variables = getattr(step, "variables_", None) or getattr(step, "variables", None) or list(tables)
    labels = [ctx.column(label).label for label in variables]
    known = {ctx.column(label).label: list(tables.get(label, ())) for label in variables}
    tabulate(step, ctx, labels, lambda label: known[label])


# --- category_encoders ---------------------------------------------------------------------------------------------


@register_converter("category_encoders.backward_difference.BackwardDifferenceEncoder")
@register_converter("category_encoders.basen.BaseNEncoder")
@register_converter("category_encoders.binary.BinaryEncoder")
@register_converter("category_encoders.cat_boost.CatBoostEncoder")
@register_converter("category_encoders.count.CountEncoder")
@register_converter("category_encoders.count_target.CountTargetEncoder")
@register_converter("category_encoders.glmm.GLMMEncoder")
@register_converter("category_encoders.gray.GrayEncoder")
@register_converter("category_encoders.helmert.HelmertEncoder")
@register_converter("category_encoders.james_stein.JamesSteinEncoder")
@register_converter("category_encoders.leave_one_out.LeaveOneOutEncoder")
@register_converter("category_encoders.m_estimate.MEstimateEncoder")
@register_converter("category_encoders.one_hot.OneHotEncoder")
@register_converter("category_encoders.ordinal.OrdinalEncoder")
@register_converter("category_encoders.polynomial.PolynomialEncoder")
@register_converter("category_encoders.quantile_encoder.QuantileEncoder")
@register_converter("category_encoders.quantile_encoder.SummaryEncoder")
@register_converter("category_encoders.rankhot.RankHotEncoder")
@register_converter("category_encoders.sum_coding.SumEncoder")
@register_converter("category_encoders.target_encoder.TargetEncoder")
@register_converter("category_encoders.woe.WOEEncoder")
def convert_category_encoder(step: Any, ctx: Context) -> None:
    """As at prediction: `transform(X)`, without a target and hence without leaving out or noise."""
    if getattr(step, "composite_members_", None):
        ctx.unsupported(
            "it encodes combinations of columns (composite_cols)",
            "combine the columns before the pipeline, or encode each by itself",
        )
    named = copy.copy(step)
    named.return_df = True  # an array does not say which of its columns is which
    tabulate(named, ctx, list(step.cols or ()), lambda label: _known(step, label))


@register_converter("category_encoders.multi_hot.MultiHotEncoder")
def convert_multi_hot_encoder(step: Any, ctx: Context) -> None:
    """Splits each value into several, which no table of values can hold."""
    ctx.unsupported(
        f"it splits each value at {step.delimiter!r} into several categories",
        f"use CountVectorizer(binary=True, lowercase=False, token_pattern=r'[^{step.delimiter}]+') for such a column",
    )


def _known(step: Any, label: Label) -> Iterable[Any]:
    """The categories of a column, wherever a version keeps them."""
    inner = [getattr(step, name, None) for name in ("ordinal_encoder", "base_n_encoder", "encoder")]
    inner += list(getattr(step, "encoder_list", None) or [])
    for encoder in [step, *(part for part in inner if part is not None)]:
        mapping = getattr(encoder, "mapping", None)
        if isinstance(mapping, dict):
            yield from getattr(mapping.get(label), "index", ())
        elif isinstance(mapping, list):
            for switch in mapping:
                if switch.get("col") == label:
                    table = switch.get("mapping")
                    yield from table if isinstance(table, dict) else getattr(table, "index", ())
    lumped = getattr(step, "min_group_lumping_", None) or {}
    yield from lumped.get(label, ())
