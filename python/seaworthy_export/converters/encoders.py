"""Converters of encoders: scikit-learn 1.2 to 1.9, feature-engine 1.0 to 1.9, category_encoders 2.5 to 2.11.

An encoder that looks at one column at a time is asked for its table, see `tabulate`: whatever its version does with a
missing or an unseen value is what the artifact does. Here is only said which columns it encodes, which categories it
knows, and which of its outputs belong to which column.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..context import CATEGORY, Context, Label
from ..registry import register_converter
from ..text import Text
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
def convert_multi_label_binarizer(step: Any, ctx: Context) -> None:
    """Of a column of strings each is the set of its characters; a list of labels is no value of a field.

    For a text of several labels with a delimiter register a converter of what splits it, see docs/exporter.md.
    """
    if len(ctx.columns) != 1 or ctx.columns[0].kind != CATEGORY:
        ctx.unsupported(
            "it takes a set of labels for each row, and a field of a request is one value",
            "send the labels as one text with a delimiter, and split it by a transformer of your own: "
            "ctx.expand(..., split={'separator': '|'}), see docs/exporter.md; or category_encoders.MultiHotEncoder",
        )
    label = ctx.labels[0]
    classes = list(step.classes_)
    ctx.check([label], "missing")
    known = [(at, text) for at, text in enumerate(classes) if isinstance(text, str)]
    ctx.expand(
        label, [str(text) for text in classes], [text for _, text in known], ones=[at for at, _ in known],
        split={"separator": ""},
    )  # fmt: skip
    ctx.drop([label])


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
    named = copy.copy(step)
    named.return_df = True  # an array does not say which of its columns is which
    composed: dict[str, tuple[str, ...]] = dict(getattr(step, "composite_members_", None) or {})
    if composed:
        _compose(named, composed, ctx)
    tabulate(named, ctx, list(step.cols or ()), lambda label: _known(step, label))
    if composed and not step.keep_components:
        ctx.drop({member for members in composed.values() for member in members if member in ctx.labels})


def _compose(step: Any, composed: dict[str, tuple[str, ...]], ctx: Context) -> None:
    """Adds the columns of texts joined by `|`, and has the copy of the encoder find them there."""
    ctx.frame = step._add_composite_columns(ctx.frame)
    step.composite_members_ = {}
    for name, members in composed.items():
        parts: list[Label] = []
        for member in members:
            parts.append(f"{name}: {member}")
            as_text(ctx, member, parts[-1])
        joined = Text()
        for part in parts[1:]:
            joined = joined.append("|").append_column(part)
        ctx.text(parts[0], joined, output=name)
        ctx.drop(parts)


def as_text(ctx: Context, label: Label, output: Label | None = None) -> None:
    """The column as Python's `str` writes its values; a missing value stays missing."""
    column = ctx.column(label)
    if pd.api.types.is_bool_dtype(column.dtype):
        ctx.map(label, [0, 1], ["False", "True"], missing="keep", output=output)
    else:
        ctx.text(label, Text().slice(), output=output)


@register_converter("category_encoders.wrapper.PolynomialWrapper")
def convert_polynomial_wrapper(step: Any, ctx: Context) -> None:
    """An encoder for each class but one, side by side."""
    inner = list(step.feature_encoders.values())
    labels = list(inner[-1].cols or ())
    tabulate(step, ctx, labels, lambda label: [key for encoder in inner for key in _known(encoder, label)])


@register_converter("category_encoders.wrapper.NestedCVWrapper")
def convert_nested_cv_wrapper(step: Any, ctx: Context) -> None:
    """At prediction it is the encoder that was fitted on all rows."""
    ctx.apply(step.feature_encoder, type(step.feature_encoder).__name__)


@register_converter("category_encoders.multi_hot.MultiHotEncoder")
def convert_multi_hot_encoder(step: Any, ctx: Context) -> None:
    """1 for each of the parts of a text, which a delimiter separates."""
    outputs: list[Label] = []
    switches = {switch["col"]: switch for switch in step.mapping}
    gone = set(step.invariant_cols) if step.drop_invariant else set()
    for column in list(ctx.columns):
        switch = switches.get(column.label)
        if switch is None:
            outputs.append(column.label)
            continue
        label: Label = f"{column.label} as text"
        as_text(ctx, column.label, label)
        names: list[Label] = list(switch["columns"]) or [f"{column.label} has no parts"]

        def one(position: int | None, width: int = len(names)) -> Any:
            return "zeros" if position is None else [int(at == position) for at in range(width)]

        others = {"error": "error", "return_nan": "missing"}
        missing = others.get(step.handle_missing, one(switch["missing_pos"]))
        if step.handle_missing == "value":
            missing = one(switch["nan_value_pos"])
        items: dict[str, int] = switch["item_pos"]
        made = [f"{column.label}: {name}" for name in names]
        ctx.expand(
            label, made, list(items), ones=list(items.values()),
            unseen=others.get(step.handle_unknown, one(switch["unknown_pos"])), missing=missing,
            split={"separator": step.delimiter, "strip": True},
        )  # fmt: skip
        width = len(switch["columns"])
        ctx.columns[-len(names) :] = [
            replace(new, label=name) for new, name in zip(ctx.columns[-len(names) :], [*names[:width], *made[width:]])
        ]
        outputs += [name for name in switch["columns"] if name not in gone]
        ctx.drop([label, *made[width:]])
    at = {column.label: column for column in ctx.columns}
    ctx.keep([at[label] for label in outputs if label not in gone])


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
