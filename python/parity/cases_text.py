"""Cases of the vectorizers of text, and of functions of strings."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.pipeline import FeatureUnion, Pipeline

from seaworthy_export import Context, Text, register_converter

from .draw import Draw
from .harness import Case, parity

WORDS = (
    "the", "The", "and", "of", "house", "House", "big-house", "don't", "x", "I", "42", "3.14", "a_b", "__", "été", "ÉTÉ", "naïve",
    "Straße", "STRASSE", "ΣΊΣΥΦΟΣ", "Σ", "ΑΣ", "ﬁn", "x²", "½", "Ⅷ", "Ⓐbc", "e\u0301te\u0301", "İstanbul", "ıı", "日本語", "日本", "한국어",
    "हिन्दी", "ไทย", "١٢٣", "ZWJ\u200dx", "a\u00adb", "a\u00a0b", "tab\tbed", "line\nfeed", "vt\x0bff", "sep\x1cx", "nel\x85x", "😀",
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
            # What Python's version of Unicode does not know yet, Rust's may: those are no letters to one, and to the other.
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
            + [r"(?u)\b\w+\b", r"\w{3,}", r"[a-z]+", r"\b[^\W\d_]+\b", r"(?i)\b(h?ouse|é\w*)\b", r"\S+", r"\b\w+[-']?\w*\b", r"\d+(?:\.\d+)?"]
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
    return Case(within(draw, union), train, test, names=False)


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
        fit=lambda step, X, y: step.fit(X.to_dict("records")), transform=lambda step, X: step.transform(X.to_dict("records")),
    )  # fmt: skip


# --- transformers of one's own -------------------------------------------------------------------------------------
# Those of well-known Titanic pipelines, and others that need functions of strings, each with its converter of a few lines.


class ExtractLetterTransformer(TransformerMixin, BaseEstimator):
    """The first letter of each value; a missing one stays missing."""

    def __init__(self, variables):
        self.variables = [variables] if isinstance(variables, str) else variables

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        X = X.copy()
        for feature in self.variables:
            X[feature] = X[feature].str[0]
        return X


@register_converter(ExtractLetterTransformer)
def convert_extract_letter(step: Any, ctx: Context) -> None:
    for variable in step.variables:
        ctx.text(variable, Text().item(0))


def get_first_cabin(row):
    """The first of several cabins, as `row.split()[0]`; anything that has none is missing."""
    try:
        return row.split()[0]
    except Exception:
        return np.nan


def get_title(passenger):
    """The title in a name, by patterns in this order."""
    line = passenger
    if re.search("Mrs", line):
        return "Mrs"
    elif re.search("Mr", line):
        return "Mr"
    elif re.search("Miss", line):
        return "Miss"
    elif re.search("Master", line):
        return "Master"
    else:
        return "Other"


class TitanicPreprocess(TransformerMixin, BaseEstimator):
    """What the course's notebook does before its pipeline: `?` is missing, first cabin, title, numbers as numbers."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        X = X.replace("?", np.nan)
        X["cabin"] = X["cabin"].apply(get_first_cabin)
        X["title"] = X["name"].apply(get_title)
        X["fare"] = X["fare"].astype("float")
        X["age"] = X["age"].astype("float")
        return X.drop(columns=["name"])


@register_converter(TitanicPreprocess)
def convert_titanic(step: Any, ctx: Context) -> None:
    for label in ctx.labels:
        ctx.map(label, ["?"], [None], unseen="keep")
    ctx.text("cabin", Text().split(None, 0))
    ctx.check(["name"], "missing")  # re.search raises
    titles = ["Mrs", "Mr", "Miss", "Master"]
    ctx.text("name", Text().extract([(title, title) for title in titles], {"value": "Other"}), output="title")
    for label in ("fare", "age"):
        ctx.text(label, Text().number("float"))
    ctx.drop(["name"])


PASSENGERS = [
    "Allen, Miss. Elisabeth Walton", "Allison, Mrs. Hudson J C (Bessie Waldo Daniels)", "Allison, Master. Hudson Trevor",
    "Andrews, Mr. Thomas Jr", "Rothes, the Countess. of (Lucy Noel Martha Dyer-Edwards)", "Crosby, Capt. Edward", "", "mr. x",
    "Müller, Dr. Ægir",
]  # fmt: skip
CABINS = ["B5", "C22 C26", "E12", "?", "", "  D10 D12 ", "F G73", "T", "é1", "\u2003A1", "𝔘9"]
NUMBERS = ["22", "0.9167", "?", " 7.25 ", "1e3", "inf", "1_000", "x", "", "-5", "nan", "٣", "+1.", "0x10", "1,5", "Infinity", "1__0"]


def _strings(draw: Draw, values: list[str], missing: float, bad: bool = True) -> tuple[pd.Series, pd.Series]:
    pair = []
    for n, fresh in ((20, False), (20, True)):
        known = values if fresh or not bad else values[:3]
        pair.append(pd.Series([np.nan if draw.chance(missing) else draw.choice(known) for _ in range(n)], dtype=object))
    return pair[0], pair[1]


@parity("custom.ExtractLetterTransformer", family="custom")
def extract_letter(draw: Draw) -> Case:
    train, test = draw.frames({"cabin": _strings(draw, CABINS, 0.2, bad=False), "n": draw.floats()})
    return Case(ExtractLetterTransformer("cabin"), train, test)


@parity("custom.TitanicPreprocess", family="custom")
def titanic(draw: Draw) -> Case:
    train, test = draw.frames(
        {
            "cabin": _strings(draw, CABINS, 0.1, bad=False), "name": _strings(draw, PASSENGERS, 0.03, bad=False),
            "fare": _strings(draw, NUMBERS, 0.1), "age": _strings(draw, NUMBERS, 0.1),
        }
    )  # fmt: skip
    train["name"] = train["name"].fillna("x")
    return Case(TitanicPreprocess(), train, test)


class Strings(TransformerMixin, BaseEstimator):
    """Any chain of functions of strings, as Python does it, a row at a time."""

    def __init__(self, chain):
        self.chain = chain

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        X = X.copy()

        def apply(value):
            if not isinstance(value, str):
                return value
            for python, _ in self.chain:
                value = python(value)
                if not isinstance(value, str):
                    break
            return value

        X["text"] = pd.Series([apply(value) for value in X["text"]], index=X.index, dtype=object)
        return X


@register_converter(Strings)
def convert_strings(step: Any, ctx: Context) -> None:
    chain = Text()
    for _, function in step.chain:
        chain = function(chain)
    ctx.text("text", chain)


def _search(pattern: str, group: int) -> Any:
    def python(text):
        found = re.search(pattern, text)
        return np.nan if found is None else (np.nan if found.group(group) is None else found.group(group))

    return python


def _part(text, separator, index, maximum):
    parts = text.split(separator, maximum)
    return parts[index] if -len(parts) <= index < len(parts) else np.nan


PATTERNS = [
    (r"\b\w+\b", 0), (r"(\w+)\.", 1), (r"(\d+)(\D)?", 2), (r"^\s*(\S+)", 1), (r"(\S+)\s*$", 1), (r"[^\W\d]+", 0), (r"(?i)HOUSE|é", 0),
    (r"\B.", 0), (r"(?:a|b|x)+?", 0), (r"[À-ÿ]", 0), (r"(?s)t.b", 0), (r"\w\b.", 0), (r"\W", 0), (r"\d{2,}", 0), (r"(.)(?:\n|$)", 1),
]  # fmt: skip


def _function(draw: Draw) -> tuple[Any, Any]:
    kind = draw.choice(["slice", "item", "split", "split", "lower", "upper", "strip", "replace", "sub", "extract", "extract", "append"])
    if kind == "slice":
        at = [draw.choice([None, *range(-6, 7)]) for _ in range(2)] + [draw.choice([None, 1, 1, 2, -1, -3])]
        return (lambda text: text[at[0] : at[1] : at[2]]), (lambda chain: chain.slice(*at))
    if kind == "item":
        i = draw.integer(-5, 5)
        return (lambda text: text[i] if -len(text) <= i < len(text) else np.nan), (lambda chain: chain.item(i))
    if kind == "split":
        separator, i, maximum = draw.choice([None, None, " ", "e", "--"]), draw.integer(-3, 3), draw.choice([-1, -1, 1, 2])
        return (lambda t: _part(t, separator, i, maximum)), (lambda chain: chain.split(separator, i, maximum=maximum))
    if kind in ("lower", "upper"):
        return (lambda text: getattr(text, kind)()), (lambda chain: getattr(chain, kind)())
    if kind == "strip":
        characters, side = draw.choice([None, None, "thex ", "é²"]), draw.choice(["both", "start", "end"])
        name = {"both": "strip", "start": "lstrip", "end": "rstrip"}[side]
        return (lambda text: getattr(text, name)(characters)), (lambda chain: chain.strip(characters, side))
    if kind == "replace":
        find, put = draw.choice(["e", " ", "the", "²", ""]), draw.choice(["", "_", "été"])
        return (lambda text: text.replace(find, put)), (lambda chain: chain.replace(find, put))
    if kind == "sub":
        pattern = draw.choice([r"\s+", r"\W", r"\b\w", r"\d", r"[aeiou]{1,2}", r"(?i)[a-z]"])
        return (lambda text: re.sub(pattern, "-", text)), (lambda chain: chain.replace_pattern(pattern, "-"))
    if kind == "extract":
        pattern, group = draw.choice(PATTERNS)
        return _search(pattern, group), (lambda chain: chain.extract([(pattern, group)]))
    return (lambda text: "<" + text + ">"), (lambda chain: chain.prepend("<").append(">"))


@parity("custom.Strings", family="custom")
def strings(draw: Draw) -> Case:
    train, test = text_frames(draw, missing=0.1)
    chain = [_function(draw) for _ in range(draw.integer(1, 4))]
    if draw.chance(0.2):
        chain.append((len, lambda chain: chain.length()))
    return Case(Strings(chain), train, test)
