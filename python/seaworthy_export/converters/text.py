"""Converters of scikit-learn's vectorizers of text, versions 1.1 to 1.9.

Each takes one column of strings: as a Series in a ColumnTransformer whose selector is a name (not a list of one), or as
all that a pipeline is given.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..context import CATEGORY, Context
from ..patterns import translate
from ..registry import register_converter

_RUNS = re.compile(r"(?:\(\?u\))?(?:\\b)?(\\w)*\\w(?:\+|\{(\d+),\})(?:\\b)?")


@register_converter("sklearn.feature_extraction.text.CountVectorizer")
def convert_count_vectorizer(step: Any, ctx: Context) -> None:
    """Counts of the terms of a vocabulary."""
    if np.dtype(step.dtype).name not in ("int64", "int32", "float64", "float32"):
        ctx.unsupported(f"it counts in {np.dtype(step.dtype).name}", "leave out `dtype`")
    _bag(step, ctx)


@register_converter("sklearn.feature_extraction.text.TfidfVectorizer")
def convert_tfidf_vectorizer(step: Any, ctx: Context) -> None:
    """Counts, then what TfidfTransformer does."""
    if np.dtype(step.dtype) != np.float64:
        ctx.unsupported(f"it computes in {np.dtype(step.dtype).name}", "leave out `dtype`")
    _bag(step, ctx, **_weights(step._tfidf))


@register_converter("sklearn.feature_extraction.text.TfidfTransformer")
def convert_tfidf_transformer(step: Any, ctx: Context) -> None:
    """`1 + log(x)` on demand, times `idf_`, divided by the norm; part of the step that counts where that is before."""
    weights = _weights(step)
    if ctx.reweigh(**weights):
        return
    ctx.check(ctx.labels, "missing", "infinite")
    ctx.weigh(**weights)


@register_converter("sklearn.feature_extraction.text.HashingVectorizer")
def convert_hashing_vectorizer(step: Any, ctx: Context) -> None:
    """Counts of hashes: MurmurHash3 with a sign, modulo the number of columns."""
    if np.dtype(step.dtype) != np.float64:
        ctx.unsupported(f"it computes in {np.dtype(step.dtype).name}", "leave out `dtype`")
    label = _one_column(ctx)
    outputs = [f"hashingvectorizer{i}" for i in range(step.n_features)]
    norm = {} if step.norm is None else {"norm": step.norm}
    ctx.check([label], "missing")
    ctx.tokens(label, outputs, **_analysis(step, ctx), hash={"alternate_sign": bool(step.alternate_sign)}, **norm)
    _drop_text(ctx)


def _bag(step: Any, ctx: Context, **weights: Any) -> None:
    label = _one_column(ctx)
    terms = [str(term) for term in step.get_feature_names_out()]
    ctx.check([label], "missing")
    ctx.tokens(
        label,
        terms,
        **_analysis(step, ctx),
        vocabulary=terms,
        **{key: value for key, value in weights.items() if value not in (None, False)},
    )
    _drop_text(ctx)


def _drop_text(ctx: Context) -> None:
    ctx.drop([ctx.columns[0].label])


def _weights(step: Any) -> dict[str, Any]:
    return {
        "sublinear": bool(step.sublinear_tf),
        # Of a term that no training row had it is infinite, unless smoothed.
        "idf": [float(value) if np.isfinite(value) else None for value in step.idf_] if step.use_idf else None,
        "norm": step.norm,
    }


def _one_column(ctx: Context) -> Any:
    if len(ctx.columns) != 1:
        ctx.unsupported(
            f"it takes one column of text, and there are {len(ctx.columns)} at this point",
            'put it into a ColumnTransformer: ("words", vectorizer, "column"), with the name alone, not in a list',
        )
    return ctx.columns[0].label


def _analysis(step: Any, ctx: Context) -> dict[str, Any]:
    """How text becomes tokens."""
    if step.input != "content":
        ctx.unsupported(f"it reads {step.input}s, and a service is sent text", "say input='content'")
    for name in ("preprocessor", "tokenizer"):
        if getattr(step, name) is not None:
            ctx.unsupported(
                f"its {name} is a function, whose code cannot be read off",
                "say it by strip_accents, lowercase and token_pattern, or by steps before",
            )
    if callable(step.analyzer) or callable(step.strip_accents):
        ctx.unsupported(
            "its analyzer or its strip_accents is a function, whose code cannot be read off",
            "use one of the analyzers word, char and char_wb",
        )
    found: dict[str, Any] = {"lowercase": bool(step.lowercase)}
    if step.strip_accents is not None:
        found["strip_accents"] = step.strip_accents
    found["analyzer"] = step.analyzer
    if step.analyzer == "word":
        found["token"] = token(step.token_pattern)
        stop_words = step.get_stop_words()
        if stop_words:
            found["stop_words"] = sorted(stop_words)
    found["ngrams"] = [int(n) for n in step.ngram_range]
    if step.binary:
        found["binary"] = True
    return found


def token(pattern: str) -> dict[str, Any]:
    r"""A token pattern for the artifact: `(?u)\b\w\w+\b` is a run of at least two word characters."""
    runs = _RUNS.fullmatch(pattern)
    if runs is not None:
        more = pattern.count(r"\w") - 1
        return {"word": more + (1 if runs.group(2) is None else max(int(runs.group(2)), 1))}
    return {"pattern": translate(pattern, all_matches=True)[0]}


@register_converter("sklearn.feature_extraction.DictVectorizer")
def convert_dict_vectorizer(step: Any, ctx: Context) -> None:
    """A column for each number, and one for each string that training saw under a key; rows are dicts of the fields.

    A missing number is NaN where the key is known. What training did not see is left out.
    """
    if np.dtype(step.dtype).name != "float64":
        ctx.unsupported(f"it computes in {np.dtype(step.dtype).name}", "leave out `dtype`")
    inputs = list(ctx.columns)
    vocabulary: dict[str, int] = step.vocabulary_
    made: dict[str, Any] = {}
    for column in inputs:
        key = str(column.label)
        start = f"{key}{step.separator}"
        if column.kind == CATEGORY:
            values = [name[len(start) :] for name in vocabulary if name.startswith(start)]
            for value in values:
                output = f"{key} is {value}"
                ctx.map(column.label, [value], [1.0], unseen={"value": 0.0}, missing={"value": 0.0}, output=output)
                made[start + value] = output
            if key in vocabulary:
                # A missing string is the number NaN.
                made[key] = f"{key} as a number"
                ctx.map(column.label, [], [], unseen={"value": 0.0}, missing="keep", output=made[key])
        elif key in vocabulary:
            ctx.affine({column.label: {"multiply": 1.0}})
            made[key] = column.label
    absent = [name for name in vocabulary if name not in made]
    if absent:
        ctx.unsupported(f"it was fitted on keys that the rows do not have, such as {absent[0]!r}")
    names = sorted(vocabulary, key=lambda name: vocabulary[name])
    ctx.select([made[name] for name in names])
    ctx.relabel(list(range(len(names))))


@register_converter("sklearn.feature_extraction.FeatureHasher")
def convert_feature_hasher(step: Any, ctx: Context) -> None:
    """Rows are dicts of the fields, their pairs, or lists of strings without names; see `as_taken`."""
    if np.dtype(step.dtype) != np.float64:
        ctx.unsupported(f"it computes in {np.dtype(step.dtype).name}", "leave out `dtype`")
    inputs = list(ctx.columns)
    named = step.input_type != "string"
    for column in inputs:
        hole = getattr(column.dtype, "na_value", np.nan)
        row: Any = {str(column.label): hole} if step.input_type == "dict" else [(str(column.label), hole)]
        try:
            step.transform([row if named else [hole]])
        except Exception:  # whatever it raises: it takes NaN for a number, and nothing else that is missing
            ctx.check([column.label], "missing")
    ctx.hash_features(
        {column.label: str(column.label) if named else None for column in inputs},
        [f"featurehasher{i}" for i in range(step.n_features)],
        alternate_sign=bool(step.alternate_sign),
    )
    ctx.drop([column.label for column in inputs])
