"""Cases of transformers of one's own, each with its converter of a few lines.

Those of well-known Titanic pipelines, and chains of functions of strings.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import MultiLabelBinarizer

from seaworthy_export import Context, Text, register_converter

from .cases_text import text_frames
from .draw import Draw
from .harness import Case, parity


class ExtractLetterTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The first letter of each value; a missing one stays missing."""

    def __init__(self, variables: Any) -> None:
        self.variables = [variables] if isinstance(variables, str) else variables

    def fit(self, X: Any, y: Any = None) -> Any:
        return self

    def transform(self, X: Any) -> Any:
        X = X.copy()
        for feature in self.variables:
            X[feature] = X[feature].str[0]
        return X


@register_converter(ExtractLetterTransformer)
def convert_extract_letter(step: Any, ctx: Context) -> None:
    for variable in step.variables:
        ctx.text(variable, Text().item(0))


def get_first_cabin(row: Any) -> Any:
    """The first of several cabins, as `row.split()[0]`; anything that has none is missing."""
    try:
        return row.split()[0]
    except Exception:
        return np.nan


def get_title(passenger: Any) -> str:
    """The title in a name, by patterns in this order."""
    line = passenger
    if re.search("Mrs", line):
        return "Mrs"
    if re.search("Mr", line):
        return "Mr"
    if re.search("Miss", line):
        return "Miss"
    if re.search("Master", line):
        return "Master"
    return "Other"


class TitanicPreprocess(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """What the course's notebook does before its pipeline: `?` is missing, first cabin, title, numbers as numbers."""

    def fit(self, X: Any, y: Any = None) -> Any:
        return self

    def transform(self, X: Any) -> Any:
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
    "Allen, Miss. Elisabeth Walton", "Allison, Mrs. Hudson J C (Bessie Waldo Daniels)",
    "Allison, Master. Hudson Trevor",
    "Andrews, Mr. Thomas Jr", "Rothes, the Countess. of (Lucy Noel Martha Dyer-Edwards)", "Crosby, Capt. Edward",
    "", "mr. x",
    "Müller, Dr. Ægir",
]  # fmt: skip
CABINS = ["B5", "C22 C26", "E12", "?", "", "  D10 D12 ", "F G73", "T", "é1", "\u2003A1", "𝔘9"]
NUMBERS = [
    "22",
    "0.9167",
    "?",
    " 7.25 ",
    "1e3",
    "inf",
    "1_000",
    "x",
    "",
    "-5",
    "nan",
    "٣",
    "+1.",
    "0x10",
    "1,5",
    "Infinity",
    "1__0",
]


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


class Strings(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Any chain of functions of strings, as Python does it, a row at a time."""

    def __init__(self, chain: Any) -> None:
        self.chain = chain

    def fit(self, X: Any, y: Any = None) -> Any:
        return self

    def transform(self, X: Any) -> Any:
        X = X.copy()

        def apply(value: Any) -> Any:
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
    def python(text: str) -> Any:
        found = re.search(pattern, text)
        return np.nan if found is None else (np.nan if found.group(group) is None else found.group(group))

    return python


def _part(text: str, separator: Any, index: int, maximum: int) -> Any:
    parts = text.split(separator, maximum)
    return parts[index] if -len(parts) <= index < len(parts) else np.nan


PATTERNS = [
    (r"\b\w+\b", 0), (r"(\w+)\.", 1), (r"(\d+)(\D)?", 2), (r"^\s*(\S+)", 1), (r"(\S+)\s*$", 1), (r"[^\W\d]+", 0),
    (r"(?i)HOUSE|é", 0),
    (r"\B.", 0), (r"(?:a|b|x)+?", 0), (r"[À-ÿ]", 0), (r"(?s)t.b", 0), (r"\w\b.", 0), (r"\W", 0), (r"\d{2,}", 0),
    (r"(.)(?:\n|$)", 1),
]  # fmt: skip


def _function(draw: Draw) -> tuple[Any, Any]:
    kind = draw.choice(
        ["slice", "item", "split", "split", "lower", "upper", "strip", "replace", "sub", "extract", "extract", "append"]
    )
    if kind == "slice":
        at = [draw.choice([None, *range(-6, 7)]) for _ in range(2)] + [draw.choice([None, 1, 1, 2, -1, -3])]
        return (lambda text: text[at[0] : at[1] : at[2]]), (lambda chain: chain.slice(*at))
    if kind == "item":
        i = draw.integer(-5, 5)
        return (lambda text: text[i] if -len(text) <= i < len(text) else np.nan), (lambda chain: chain.item(i))
    if kind == "split":
        separator, i, maximum = (
            draw.choice([None, None, " ", "e", "--"]),
            draw.integer(-3, 3),
            draw.choice([-1, -1, 1, 2]),
        )
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


class SplitLabels(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Several labels in one text, as columns of 1 and 0: the way to serve a MultiLabelBinarizer."""

    def __init__(self, column: str, separator: str | None = "|") -> None:
        self.column, self.separator = column, separator

    def fit(self, X: Any, y: Any = None) -> Any:
        self.binarizer_ = MultiLabelBinarizer().fit(X[self.column].str.split(self.separator))
        return self

    def transform(self, X: Any) -> Any:
        flags = self.binarizer_.transform(X[self.column].str.split(self.separator))
        names = [f"{self.column}_{label}" for label in self.binarizer_.classes_]
        return pd.concat([X.drop(columns=[self.column]), pd.DataFrame(flags, X.index, names)], axis=1)


@register_converter(SplitLabels)
def convert_split_labels(step: Any, ctx: Context) -> None:
    labels = list(step.binarizer_.classes_)
    ctx.check([step.column], "missing")  # it cannot iterate over a missing value
    separator = {} if step.separator is None else {"separator": step.separator}
    ctx.expand(
        step.column, [f"{step.column}_{label}" for label in labels], labels, ones=range(len(labels)), split=separator
    )
    ctx.drop([step.column])


@parity("sklearn.preprocessing.MultiLabelBinarizer (of delimited texts)", family="encode")
def split_labels(draw: Draw) -> Case:
    separator = draw.choice(["|", ", ", None, "::"])
    joint = " " if separator is None else separator
    labels = ["cat", "dog", "été", "", "a b", " x", "😀", "nan", "1"]

    def texts(n: int, extra: list[str], missing: float) -> pd.Series:
        cells: list[Any] = []
        for _ in range(n):
            chosen = [draw.choice([*labels, *extra]) for _ in range(draw.integer(1, 4))]
            cells.append(np.nan if draw.chance(missing) else joint.join(chosen))
        return pd.Series(cells, dtype=object)

    train = pd.DataFrame({"n": np.arange(draw.n_train, dtype=float), "genres": texts(draw.n_train, [], 0.0)})
    test = pd.DataFrame({"n": np.arange(draw.n_test, dtype=float), "genres": texts(draw.n_test, ["new"], 0.05)})
    return Case(SplitLabels("genres", separator), train, test)
