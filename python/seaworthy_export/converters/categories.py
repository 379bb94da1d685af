"""Converters of what is done to categories beside encoding them by a table: comparing, hashing, matching, sampling.

feature-engine 1.5 to 1.9, category_encoders 2.6 to 2.11.
"""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from ..context import CATEGORY, FLOAT, INT, Column, Context, Label, Outcome
from ..registry import register_converter
from ..values import is_integer, is_missing
from .encoders import as_text
from .tabulate import Asker, holes_of


@register_converter("feature_engine.encoding.StringSimilarityEncoder")
def convert_string_similarity_encoder(step: Any, ctx: Context) -> None:
    """`SequenceMatcher.quick_ratio` of the value's text and of each category it knows.

    Some texts are taken for a missing value, depending on the version; which, the encoder is asked.
    """
    asker = Asker(step, ctx)
    labels = [ctx.column(label).label for label in step.variables_]
    kept = [at for at, source in enumerate(asker.sources) if source is not None and source.label not in labels]
    start = len(kept)
    outputs: dict[int, Column] = {at: source for at in kept if (source := asker.sources[at]) is not None}
    for label, variable in zip(labels, step.variables_):
        column = ctx.column(label)
        texts = [str(text) for text in step.encoder_dict_[variable]]
        block = list(range(start, start + len(texts)))
        start += len(texts)
        numbers = column.kind != CATEGORY
        (missing,) = asker.ask(column, holes_of(ctx.values(label))[:1], block)
        if isinstance(missing, Exception):
            ctx.check([label], "missing")
        # What another text than its own is taken for: nothing, or the empty one.
        taken: dict[str, str | None] = {}
        for text in () if numbers else ("nan", "<NA>", "None", "NaN", "NaT"):
            (answer,) = asker.ask(column, [text], block)
            if answer == _ratios(text, texts):
                continue
            if answer == _ratios("", texts):
                taken[text] = ""
            elif isinstance(answer, tuple) and all(value is None for value in answer):
                taken[text] = None
            else:
                ctx.unsupported(f"what it makes of {text!r} in {label!r} is neither that text nor a missing one")
        trained = [v for v in dict.fromkeys(ctx.values(label)) if isinstance(v, str) != numbers and not is_missing(v)]
        trained = [value for value in trained if value not in taken]
        for text, answer in zip(trained, asker.ask(column, trained, block)):
            if answer != _ratios(str(text), texts):
                ctx.unsupported(f"its similarities of {text!r} in {label!r} are not those of difflib")
        instead: Any = "missing"
        if isinstance(missing, tuple) and any(value is not None for value in missing):
            instead = missing
            if None in taken.values():
                ctx.unsupported(f"it tells a missing value in {label!r} from a text that says so")
        if taken:
            ctx.map(label, list(taken), list(taken.values()), unseen="keep", missing="keep")
        names = [_named(column, name) for name in asker.labels[block[0] : block[-1] + 1]] if block else []
        before = len(ctx.columns)
        if block and numbers:
            # It compares their digits.
            as_text(ctx, label)
        if block:
            ctx.similarity(label, names, texts, missing=instead)
        outputs.update(zip(block, ctx.columns[before:]))
    ctx.keep([outputs[at] for at in range(len(asker.labels))])
    ctx.relabel(asker.labels)


def _ratios(text: str, others: list[str]) -> tuple[float, ...]:
    """As the artifact computes them."""
    have = Counter(text)
    ratios = []
    for other in others:
        total = len(text) + len(other)
        ratios.append(2.0 * sum((have & Counter(other)).values()) / total if total else 1.0)
    return tuple(ratios)


def _named(column: Column, name: Any) -> str:
    label = str(column.label)
    return column.name + str(name)[len(label) :] if str(name).startswith(label) else str(name)


@register_converter("feature_engine.preprocessing.MatchCategories")
def convert_match_categories(step: Any, ctx: Context) -> None:
    """A category that training did not see becomes missing, or an error of the row as a missing one is."""
    raises = step.missing_values == "raise"
    if raises:
        ctx.check(step.variables_, "missing")
    for label in step.variables_:
        known = [value for value in step.category_dict_[label] if not is_missing(value)]
        ctx.map(label, known, known, unseen="error" if raises else "missing", missing="error" if raises else "keep")


@register_converter("feature_engine.preprocessing.MatchVariables")
@register_converter("feature_engine.preprocessing.MatchColumnsToTrainSet")
def convert_match_variables(step: Any, ctx: Context) -> None:
    """The columns of the training frame, in its order: others are dropped, absent ones filled with a constant."""
    names: list[Label] = list(step.feature_names_in_)
    present = [label for label in names if label in ctx.labels]
    if getattr(step, "missing_values", "raise") == "raise":
        ctx.check(present, "missing")
    source = ctx.labels[0]
    fill = step.fill_value
    for label in names:
        if label in present:
            continue
        empty = is_missing(fill)
        outcome: Outcome = "missing" if empty else {"value": fill}
        ctx.map(source, [], [], unseen=outcome, missing="keep" if empty else {"value": fill}, output=label)
    ctx.select(names)
    if not getattr(step, "match_dtypes", False):
        return
    for label in names:
        old, new = ctx.column(label).dtype, step.dtype_dict_[label]
        if label in present:
            _cast(ctx, label, old, new)
        elif not is_missing(fill) or not pd.api.types.is_float_dtype(new):
            ctx.unsupported(f"it adds the column {label!r} and casts it to {new}", "leave out match_dtypes")


def _cast(ctx: Context, label: Label, old: Any, new: Any) -> None:
    """`astype`, as far as a column of training's type can need it: for the sake of a value that is missing."""
    column = ctx.column(label)
    if isinstance(new, pd.CategoricalDtype):
        known = [value for value in new.categories if not is_missing(value)]
        ctx.map(label, known, known, unseen="missing", missing="keep")
    elif column.kind == INT and isinstance(new, np.dtype) and new.kind in "iu":
        ctx.check([label], "missing")  # NaN is no integer
    elif column.kind == INT and isinstance(new, np.dtype) and new.kind == "b":
        ctx.map(label, [0, 1], [0, 1], unseen={"value": 1}, missing={"value": 1})  # NaN is true
    else:
        double = column.kind == FLOAT and isinstance(new, np.dtype) and new.kind == "f" and new.itemsize == 8
        words = column.kind == CATEGORY and not pd.api.types.is_numeric_dtype(new)
        if double or words or str(old) == str(new):
            return
        ctx.unsupported(f"it casts the column {label!r} from {old} to {new}", "leave out match_dtypes")


@register_converter("feature_engine.imputation.RandomSampleImputer")
def convert_random_sample_imputer(step: Any, ctx: Context) -> None:
    """A row alone is always given the same value of the training column, when the seed is one for all.

    With `seed="observation"` it is drawn for each row anew, with a seed that is the sum or the product of others.
    """
    hint = "set random_state to an integer, with seed='general'"
    if step.seed == "observation":
        _draw_by_row(step, ctx)
        return
    if step.random_state is None:
        ctx.unsupported("it draws at random, without a seed: no two runs agree", hint)
    fills: dict[Label, Any] = {}
    for label in step.variables_:
        known = step.X_[label].dropna()
        if len(known) == 0:
            # There is nothing to draw from, which raises.
            ctx.check([label], "missing")
            continue
        value = known.sample(1, replace=True, random_state=step.random_state).iloc[0]
        fills[label] = int(value) if isinstance(value, (bool, np.bool_)) else value
    for label, value in fills.items():
        column = ctx.column(label)
        if column.kind == INT and not is_integer(value) and float(value).is_integer():
            value = int(value)
        ctx.fill({label: value})


def _draw_by_row(step: Any, ctx: Context) -> None:
    """One variable after the other: what was drawn for one may be part of the seed for the next."""
    seeds = [ctx.column(label).label for label in step.random_state]
    words = [label for label in seeds if ctx.column(label).kind not in (INT, FLOAT)]
    statistic = {"add": "sum", "multiply": "product"}[step.seeding_method]
    for label in step.variables_:
        known = list(step.X_[label].dropna())
        if not known or words:
            # There is nothing to draw from, or no number for a seed, which raises.
            ctx.check([label], "missing")
            continue
        if ctx.column(label).kind == INT:
            known = [int(value) if float(value).is_integer() else value for value in known]
        seed = f"{label} seed"
        ctx.emit_many("aggregate", seeds, [seed], keep=True, single=True, statistic=statistic, skip_missing=True)
        ctx.function([seed], "rint")
        ctx.sample(label, known, seed)
        ctx.drop([seed])


@register_converter("category_encoders.hashing.HashingEncoder")
def convert_hashing_encoder(step: Any, ctx: Context) -> None:
    """The hash of each value's text, modulo the number of outputs; how often each occurs in the row."""
    if getattr(step, "min_group_lumping_", None) or getattr(step, "composite_members_", None):
        ctx.unsupported("it lumps or combines categories before it hashes them", "leave out min_group_size")
    if not step.cols:
        return
    if step.hash_method not in ("md5", "sha256"):
        ctx.unsupported(f"it hashes by {step.hash_method}", "use hash_method='md5' or 'sha256'")
    alone = copy.copy(step)
    alone.max_process, alone.return_df = 1, True
    columns = [ctx.column(label) for label in step.cols]
    asker = Asker(alone, ctx)
    holes = {column.label: _hole(asker, alone, ctx, column) for column in columns}
    fractions = any(column.kind == FLOAT for column in columns)
    for label, text in holes.items():
        if ctx.column(label).kind != CATEGORY:
            # It hashes their digits; integers beside numbers with fractions are such numbers in one array.
            if fractions and all(column.kind != CATEGORY for column in columns):
                ctx.affine({label: {"multiply": 1.0}})
            as_text(ctx, label)
        if text is not None:
            ctx.fill({label: text})
    columns = [ctx.column(label) for label in step.cols]
    names = [f"col_{i}" for i in range(step.n_components)]
    kept = [column for column in ctx.columns if column not in columns]
    before = len(ctx.columns)
    ctx.hash_category([column.label for column in columns], names, step.hash_method)
    made = dict(zip(names, ctx.columns[before:]))
    passed = {column.label: column for column in kept}
    ctx.keep([made[label] if label in made else passed[label] for label in asker.labels])
    ctx.relabel(asker.labels)


def _hole(asker: Asker, step: Any, ctx: Context, column: Column) -> str | None:
    """The text that a missing value is hashed as; None when it is not."""
    outputs = [
        at for at, label in enumerate(asker.labels) if str(label).startswith("col_") and asker.sources[at] is None
    ]
    known = [value for value in dict.fromkeys(ctx.values(column.label)) if not is_missing(value)][:1]
    if column.kind != CATEGORY and known:
        return _hashed_hole(asker, step, ctx, column, known[0], outputs)
    (answer,) = asker.ask(column, holes_of(ctx.values(column.label))[:1], outputs)
    candidates = ["nan", "<NA>", "None", "NaT"]
    for text, found in zip(candidates, asker.ask(column, candidates, outputs)):
        if found == answer:
            return text
    if not isinstance(answer, tuple) or sum(answer) >= len(step.cols):
        ctx.unsupported(f"what it makes of a missing value in {column.label!r} cannot be told")
    return None


def _hashed_hole(asker: Asker, step: Any, ctx: Context, column: Column, known: Any, outputs: list[int]) -> str | None:
    """The same of a column of numbers, in which no text can be asked: the difference to a known number tells."""
    answer, other = asker.ask(column, [np.nan, known], outputs)
    if not isinstance(answer, tuple) or not isinstance(other, tuple):
        ctx.unsupported(f"what it makes of a missing value in {column.label!r} cannot be told")

    def bucket(text: str) -> int:
        digest = hashlib.new(step.hash_method, text.encode()).digest()
        return int.from_bytes(digest, "big") % int(step.n_components)

    names = [f"col_{i}" for i in range(step.n_components)]
    rows = [dict(zip([asker.labels[at] for at in outputs], row)) for row in (answer, other)]
    change = [rows[0].get(name, 0) - rows[1].get(name, 0) for name in names]
    for written in dict.fromkeys((str(known), str(float(known)))):
        for text in (None, "nan", "<NA>", "None", "NaT"):
            expected = [0] * len(names)
            expected[bucket(written)] -= 1
            if text is not None:
                expected[bucket(text)] += 1
            if change == expected:
                return text
    return ctx.unsupported(f"what it makes of a missing value in {column.label!r} cannot be told")
