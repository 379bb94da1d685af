"""Cases of the vectorizers of text, and of functions of strings."""

from __future__ import annotations

import unicodedata
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, Normalizer

from .draw import Draw
from .harness import Case, parity

WORDS = (
    "the", "The", "and", "of", "house", "House", "big-house", "don't", "x", "I", "42", "3.14", "a_b", "__", "été",
    "ÉTÉ", "naïve",
    "Straße", "STRASSE", "ΣΊΣΥΦΟΣ", "Σ", "ΑΣ", "ﬁn", "x²", "½", "Ⅷ", "Ⓐbc", "e\u0301te\u0301", "İstanbul", "ıı",
    "日本語", "日本", "한국어",
    "हिन्दी", "ไทย", "١٢٣", "ZWJ\u200dx", "a\u00adb", "a\u00a0b", "tab\tbed", "line\nfeed", "vt\x0bff", "sep\x1cx",
    "nel\x85x", "😀",
    "a😀b", "\u2003", "‿a", "foo.bar@x.org", "ǅabc", "Å", "\u1e9e", "ß", "ŉ", "K", "ſ", "…", "--", "", "ﷺ", "ª", "Ǆ",
    "𝔘𝔫𝔦", "①②", "a\u0345", "\u0345", "ᾳ", "ᾼ", "q\u0323\u0307",
)  # fmt: skip


def any_text(draw: Draw, n: int, missing: float) -> list[Any]:
    """Words, now and then of any characters at all."""
    texts: list[Any] = []
    for _ in range(n):
        words = [draw.choice(WORDS) for _ in range(draw.integer(0, 9))]
        if draw.chance(0.2):
            codes = draw.rng.integers(0, 0x3000 if draw.chance(0.7) else 0x110000, size=8)
            # What Python's version of Unicode does not know yet, Rust's may.
            words.append("".join(chr(c) for c in codes if unicodedata.category(chr(c)) not in ("Cn", "Cs")))
        texts.append(np.nan if draw.chance(missing) else draw.choice([" ", " ", "  ", ", ", "\n"]).join(words))
    return texts


def text_frames(draw: Draw, missing: float = 0.03) -> tuple[pd.DataFrame, pd.DataFrame]:
    train = any_text(draw, draw.integer(4, 25), 0.0)
    test = any_text(draw, draw.integer(5, 25), missing)
    frames = []
    for texts in (train, test):
        columns = {"text": pd.Series(texts, dtype=object)}
        if draw.chance(0.3):
            columns = {"n": pd.Series(np.arange(len(texts), dtype=float)), **columns}
        frames.append(pd.DataFrame(columns))
    if list(frames[0].columns) != list(frames[1].columns):
        frames = [frame[["text"]] for frame in frames]
    return frames[0], frames[1]


def analysis(draw: Draw) -> dict[str, Any]:
    options: dict[str, Any] = {"analyzer": draw.choice(["word", "word", "word", "char", "char_wb"])}
    least = draw.integer(1, 3)
    options["ngram_range"] = draw.choice([(1, 1), (1, 1), (1, 2), (least, least + draw.integer(0, 3))])
    options["lowercase"] = draw.chance(0.7)
    options["strip_accents"] = draw.choice([None, None, "ascii", "unicode"])
    if options["analyzer"] == "word":
        options["stop_words"] = draw.choice([None, None, "english", ["house", "été", "日本"]])
        options["token_pattern"] = draw.choice(
            [r"(?u)\b\w\w+\b"] * 4
            + [
                r"(?u)\b\w+\b",
                r"\w{3,}",
                r"[a-z]+",
                r"\b[^\W\d_]+\b",
                r"(?i)\b(h?ouse|é\w*)\b",
                r"\S+",
                r"\b\w+[-']?\w*\b",
                r"\d+(?:\.\d+)?",
            ]
        )
    options["binary"] = draw.chance(0.2)
    return options


def counting(draw: Draw) -> dict[str, Any]:
    options = analysis(draw)
    if draw.chance(0.3):
        options["max_features"] = draw.integer(1, 40)
    options["min_df"] = draw.choice([1, 1, 2])
    options["max_df"] = draw.choice([1.0, 1.0, 0.8])
    return options


def weighting(draw: Draw) -> dict[str, Any]:
    return {
        "norm": draw.choice(["l2", "l2", "l1", None]),
        "use_idf": draw.chance(0.8),
        "smooth_idf": draw.chance(0.7),
        "sublinear_tf": draw.chance(0.3),
    }


def within(draw: Draw, vectorizer: Any) -> Any:
    """The vectorizer on the column of text, alone or beside others."""
    others = draw.chance(0.3)
    return ColumnTransformer(
        [("words", vectorizer, "text")],
        remainder="passthrough" if others else "drop",
        verbose_feature_names_out=True,
        sparse_threshold=draw.choice([0.0, 0.3, 1.0]),
    )


@parity("sklearn.feature_extraction.text.CountVectorizer", family="text")
def count_vectorizer(draw: Draw) -> Case:
    train, test = text_frames(draw)
    options = counting(draw)
    if draw.chance(0.15):
        options["vocabulary"] = draw.sample(["house", "x", "été", "日本", "the house", "a", "zz"], 4)
        options.pop("max_features", None)
    return Case(within(draw, CountVectorizer(**options)), train, test)


@parity("sklearn.feature_extraction.text.TfidfVectorizer", family="text")
def tfidf_vectorizer(draw: Draw) -> Case:
    train, test = text_frames(draw)
    return Case(within(draw, TfidfVectorizer(**counting(draw), **weighting(draw))), train, test)


@parity("sklearn.feature_extraction.text.TfidfTransformer", family="text")
def tfidf_transformer(draw: Draw) -> Case:
    train, test = text_frames(draw)
    steps = Pipeline([("count", CountVectorizer(**counting(draw))), ("weigh", TfidfTransformer(**weighting(draw)))])
    return Case(within(draw, steps), train, test)


@parity("sklearn.feature_extraction.text.HashingVectorizer", family="text")
def hashing_vectorizer(draw: Draw) -> Case:
    train, test = text_frames(draw)
    options = {
        **analysis(draw), "n_features": draw.choice([1, 2, 7, 16, 100, 1024]), "alternate_sign": draw.chance(0.7),
        "norm": draw.choice(["l2", "l1", None]),
    }  # fmt: skip
    return Case(within(draw, HashingVectorizer(**options)), train, test)


@parity("sklearn.feature_extraction.text.TfidfVectorizer (of a Series)", family="text")
def tfidf_of_series(draw: Draw) -> Case:
    train, test = (frame[["text"]] for frame in text_frames(draw))
    vectorizer = TfidfVectorizer(**counting(draw), **weighting(draw))
    return Case(
        draw.choice([vectorizer, Pipeline([("words", vectorizer)])]), train, test,
        fit=lambda step, X, y: step.fit(X["text"]), transform=lambda step, X: step.transform(X["text"]),
    )  # fmt: skip


@parity("sklearn.feature_extraction.text.TfidfVectorizer (in a union)", family="text")
def tfidf_union(draw: Draw) -> Case:
    train, test = text_frames(draw)
    union = FeatureUnion(
        [("words", TfidfVectorizer(**counting(draw))), ("chars", HashingVectorizer(n_features=8, analyzer="char_wb"))]
    )
    return Case(within(draw, union), train, test)


@parity("sklearn.feature_extraction.DictVectorizer", family="text")
def dict_vectorizer(draw: Draw) -> Case:
    columns: dict[str, Any] = {}
    for name in draw.names(draw.integer(1, 4)):
        kind = draw.choice(["float", "int", "category", "category"])
        if kind == "category":
            columns[name] = draw.categories(missing=draw.choice([0.0, 0.2]), dtype="object")
        else:
            columns[name] = draw.floats(missing=draw.choice([0.0, 0.1])) if kind == "float" else draw.ints()
    train, test = draw.frames(columns)
    train, test = (frame.where(frame.notna(), np.nan) for frame in (train, test))
    return Case(
        DictVectorizer(sparse=draw.chance(), separator=draw.choice(["=", "__"]), sort=draw.chance(0.7)), train, test,
        fit=lambda step, X, y: step.fit(X.to_dict("records")),
        transform=lambda step, X: step.transform(X.to_dict("records")),
    )  # fmt: skip


@parity("sklearn.feature_extraction.text.TfidfVectorizer (then TruncatedSVD)", family="text")
def tfidf_svd(draw: Draw) -> Case:
    train, test = text_frames(draw)
    steps = Pipeline([("words", TfidfVectorizer(**counting(draw))), ("svd", TruncatedSVD(draw.integer(1, 3)))])
    return Case(
        within(draw, steps),
        train,
        test,
    )


@parity("sklearn.feature_extraction.text.TfidfTransformer (anywhere)", family="text")
def tfidf_transformer_anywhere(draw: Draw) -> Case:
    """After a union, a selector, a hasher, or plain numbers."""
    train, test = text_frames(draw)
    weights = ("weigh", TfidfTransformer(**weighting(draw)))
    kind = draw.choice(["union", "selected", "hashed", "numbers"])
    if kind == "numbers":
        columns = {name: draw.ints(low=0, high=5) for name in draw.names(draw.integer(1, 5))}
        return Case(weights[1], *draw.frames(columns))
    if kind == "union":
        first: Any = FeatureUnion(
            [("words", CountVectorizer(**counting(draw))), ("chars", CountVectorizer(analyzer="char", max_features=20))]
        )
    elif kind == "selected":
        first = Pipeline([("count", CountVectorizer(**counting(draw))), ("most", SelectKBest(f_classif, k="all"))])
    else:
        first = HashingVectorizer(n_features=draw.choice([16, 1000]), norm=None, **analysis(draw))
    y = np.arange(len(train)) % 2
    return Case(within(draw, Pipeline([("first", first), weights])), train, test, y)


@parity("sklearn.preprocessing.Normalizer (of sparse rows)", family="text")
def sparse_normalizer(draw: Draw) -> Case:
    train, test = text_frames(draw)
    hasher = HashingVectorizer(n_features=4096, norm=None, **analysis(draw))
    steps = Pipeline([("hash", hasher), ("norm", Normalizer(draw.choice(["l1", "l2", "max"])))])
    return Case(within(draw, steps), train, test)


@parity("sklearn.feature_extraction.text.HashingVectorizer (with very many columns)", family="text")
def wide_hashing_vectorizer(draw: Draw) -> Case:
    """Up to the default of 2**20 columns, of which what follows takes a few."""
    train, test = text_frames(draw)
    weighted = draw.chance(0.4)
    wide = HashingVectorizer(
        n_features=2**20 if draw.chance(0.02) else 2**14, norm=None if weighted else "l2", **analysis(draw)
    )
    steps: list[tuple[str, Any]] = [("hash", wide)]
    if weighted:
        steps.append(("weigh", TfidfTransformer(**weighting(draw))))
    steps.append(draw.choice([("svd", TruncatedSVD(2)), ("most", SelectKBest(f_classif, k=draw.integer(1, 30)))]))
    y = np.arange(len(train)) % 2
    return Case(within(draw, Pipeline(steps)), train, test, y)


def _records(step: Any, frame: pd.DataFrame) -> Any:
    if step.input_type == "string":
        return step.transform(frame.to_numpy(dtype=object).tolist())
    records = frame.to_dict("records")
    return step.transform(records if step.input_type == "dict" else [list(record.items()) for record in records])


@parity("sklearn.feature_extraction.FeatureHasher", family="text")
def feature_hasher(draw: Draw) -> Case:
    kind = draw.choice(["dict", "dict", "pair", "string"])
    columns: dict[str, Any] = {}
    for name in draw.names(draw.integer(1, 5)):
        if kind == "string" or draw.chance():
            columns[name] = draw.categories(missing=draw.choice([0.0, 0.1]), unseen=0.3)
        else:
            columns[name] = draw.choice([draw.numbers, draw.bools, draw.floats])(missing=draw.choice([0.0, 0.1]))
    train, test = draw.frames(columns)
    hasher = FeatureHasher(
        n_features=draw.choice([1, 2, 7, 64, 1000]), input_type=kind, alternate_sign=draw.chance(0.7)
    )
    return Case(hasher, train, test, fit=lambda step, X, y: step.fit(), transform=_records)


@parity("sklearn.feature_extraction.FeatureHasher (in a pipeline)", family="text")
def feature_hasher_in_pipeline(draw: Draw) -> Case:
    """Rows as dicts by `DataFrame.to_dict`; strings out of an imputer."""
    train, test = draw.category_frames(missing=draw.choice([0.0, 0.2]), unseen=0.3, dtype="object")
    hasher = FeatureHasher(n_features=draw.choice([4, 64, 2**14]), input_type=draw.choice(["dict", "string"]))
    before: Any = SimpleImputer(strategy="constant", fill_value="none")
    if hasher.input_type == "dict":
        train["number"], test["number"] = draw.floats()
        before = FunctionTransformer(pd.DataFrame.to_dict, kw_args={"orient": "records"})
    steps: list[tuple[str, Any]] = [("rows", before), ("hash", hasher)]
    if hasher.n_features > 64:
        steps.append(("svd", TruncatedSVD(2, random_state=0)))
    elif draw.chance(0.3):
        steps.append(("scale", MaxAbsScaler()))
    return Case(Pipeline(steps), train, test)
