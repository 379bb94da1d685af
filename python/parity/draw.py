"""Random data as transformers meet it: numbers of every size, text in several scripts, missing values of each kind.

A column is drawn as a pair, what the transformer is fitted on and what it is asked afterwards, of one data type. The
second may hold what the first did not: categories never seen, numbers out of range, a missing value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Callable, TypeVar

import numpy as np
import pandas as pd

T = TypeVar("T")
Pair = tuple[pd.Series, pd.Series]

WORDS = (
    "RL", "FV", "C (all)", "a", "A", "b", "none", "nan", "None", "NA", "", " ", " a", "a ", "0", "1", "1.0", "Été",
    "E\u0301te\u0301", "straße", "STRASSE", "İstanbul", "日本語", "नमस्ते", "Ω", "😀", "👩‍👩‍👧", "tab\there",
    "new\nline", 'quote"s', "back\\slash", "x__y", "_", "ﬁ", "long " * 12, "true", "-1", "1e5", "Missing", "Rare",
)  # fmt: skip
NAMES = ("a", "b", "LotArea", "Lot Frontage", "größe", "x1", "1stFlrSF", "y_", "面積", "p", "q", "K.L", "zz", "sex")


class Draw:
    """A source of random choices and columns; the same seed gives the same ones.

    Attributes:
        rng: the generator itself.
        n_train: how many rows the columns of this case have for the fit.
        n_test: how many rows are asked.

    """

    def __init__(self, seed: Sequence[int]) -> None:
        self.rng = np.random.default_rng(np.random.SeedSequence(list(seed)))
        self.n_train = int(self.rng.choice([2, 3, 5, 8, 13, 20, 40, 80]))
        self.n_test = int(self.rng.integers(1, 16))

    # --- choices ---------------------------------------------------------------------------------------------------

    def chance(self, probability: float = 0.5) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def sample(self, options: Sequence[T], k: int) -> list[T]:
        """`k` different options, in random order."""
        return [options[int(i)] for i in self.rng.permutation(len(options))[:k]]

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return int(self.rng.integers(low, high, endpoint=True))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number between the two."""
        return float(self.rng.uniform(low, high))

    def names(self, k: int) -> list[str]:
        """`k` different names of columns."""
        return self.sample(NAMES, k)

    def rows(self, train: int, test: int | None = None) -> None:
        """Sets how many rows the columns drawn from here on have at least."""
        self.n_train = max(self.n_train, train)
        if test is not None:
            self.n_test = max(self.n_test, test)

    # --- columns ---------------------------------------------------------------------------------------------------

    def floats(
        self, *, missing: float = 0.0, positive: bool = False, negative: bool = True, extremes: bool = True,
        distinct: bool = False, dtype: str | None = None, low: float | None = None, high: float | None = None,
    ) -> Pair:  # fmt: skip
        """Floats: normal, wide, constant, few distinct ones, rounded; zeros and (with `extremes`) huge and tiny ones.

        `missing` is the share of missing values; `positive` draws x > 0 only and `negative=False` x >= 0; with `low`
        and `high` all lie between them; `distinct` leaves out the constant. `dtype` may be `Float64` or `float32`.
        """
        rng = self.rng
        shape = self.choice(["normal", "normal", "wide", "constant", "few", "rounded", "uniform", "skewed"])
        if distinct and shape == "constant":
            shape = "normal"
        scale = 10.0 ** rng.integers(-3, 5)
        shift = float(rng.normal() * scale)
        constant = float(self.choice([0.0, 1.0, shift, 1e-5]))
        few = np.round(rng.normal(size=3) * scale, 2)

        def cells(n: int, fresh: bool) -> list[Any]:
            if low is not None or high is not None:
                values = rng.uniform(low if low is not None else -1e3, high if high is not None else 1e3, size=n)
            elif shape == "normal" or (fresh and self.chance(0.3)):
                values = rng.normal(shift, scale, size=n)
            elif shape == "wide":
                values = rng.normal(size=n) * 10.0 ** rng.uniform(-8, 8, size=n)
            elif shape == "constant":
                values = np.full(n, constant)
            elif shape == "few":
                values = rng.choice(few, size=n)
            elif shape == "rounded":
                values = np.round(rng.normal(shift, scale, size=n))
            elif shape == "skewed":
                values = np.exp(rng.normal(size=n))
            else:
                values = rng.uniform(0, 1, size=n)
            if low is None and high is None:
                values[rng.random(n) < 0.05] = 0.0
                if fresh and extremes:
                    odd = rng.random(n) < 0.06
                    values[odd] = rng.choice([1e300, -1e300, 1e-300, 5e-324, -0.0, 1e15, 2.0**53, -1.5], size=n)[odd]
                if positive:
                    values = np.abs(values)
                    values[values == 0] = 0.5
                elif not negative:
                    values = np.abs(values)
            return [None if gone else float(v) for v, gone in zip(values, rng.random(n) < missing)]

        dtype = dtype or "float64"
        return self._pair(cells, lambda cells: pd.Series([np.nan if c is None else c for c in cells], dtype=dtype))

    def ints(
        self,
        *,
        missing: float = 0.0,
        low: int | None = None,
        high: int | None = None,
        dtype: str | None = None,
    ) -> Pair:
        """Integers as int64 (float64 where one is missing, as `read_csv` has it), or as `Int64`, `int8` by `dtype`."""
        rng = self.rng
        ranges = [(0, 1), (0, 3), (-5, 5), (1, 100), (-(10**6), 10**6), (7, 7), (1900, 2020)]
        first, last = self.choice(ranges)
        first, last = first if low is None else low, last if high is None else high
        first = min(first, last)

        def cells(n: int, fresh: bool) -> list[Any]:
            spread = 2 if fresh and low is None and high is None else 0
            values = rng.integers(first - spread, last + spread, size=n, endpoint=True)
            return [None if gone else int(v) for v, gone in zip(values, rng.random(n) < missing)]

        def series(cells: list[Any]) -> pd.Series:
            if dtype is not None and (dtype[0] == "I" or None not in cells):
                return pd.Series([pd.NA if c is None else c for c in cells], dtype=dtype)
            if None in cells:
                return pd.Series([np.nan if c is None else float(c) for c in cells], dtype="float64")
            return pd.Series(cells, dtype="int64")

        return self._pair(cells, series, alike=True)

    def numbers(self, *, missing: float = 0.0, positive: bool = False, nullable: bool = True) -> Pair:
        """Floats or integers, now and then in a type of pandas' own when `nullable`."""
        own = nullable and self.chance(0.12)
        if self.chance(0.65):
            return self.floats(missing=missing, positive=positive, dtype="Float64" if own else None)
        return self.ints(missing=missing, low=1 if positive else None, high=90 if positive else None,
                         dtype="Int64" if own else None)  # fmt: skip

    def categories(
        self, *, missing: float = 0.0, unseen: float = 0.1, cardinality: int | None = None,
        dtype: str | None = None, words: Sequence[str] = WORDS, integers: float = 0.0, none: bool = True,
    ) -> Pair:  # fmt: skip
        """Strings out of a few; `unseen` is the share, among the rows asked, of those that training never saw.

        `dtype` is `object` (missing is NaN, None, pd.NA or two of them), `str` (pandas 3), `string` or
        `category`; any of them when not given. With the probability `integers` the column holds integers instead.
        Without `none` no missing value is None.
        """
        rng = self.rng
        cardinality = cardinality or self.integer(1, 9)
        if self.chance(integers):
            known: list[Any] = [int(v) for v in rng.choice(200, size=cardinality, replace=False)]
            other: list[Any] = [901, 902, -1]
            dtype = "int"
        else:
            mixed = self.sample(list(words), min(len(words), cardinality + 4))
            known, other = mixed[:cardinality], mixed[cardinality:] or ["never seen"]
            dtype = dtype or self.choice(["object"] * 4 + ["str", "str", "string", "category"])
        weights = rng.dirichlet(np.full(len(known), 0.8)) if self.chance(0.7) else None

        def cells(n: int, fresh: bool) -> list[Any]:
            values = [known[int(i)] for i in rng.choice(len(known), size=n, p=weights)]
            if fresh:
                values = [self.choice(other) if self.chance(unseen) else value for value in values]
            return [None if gone else value for value, gone in zip(values, rng.random(n) < missing)]

        def series(cells: list[Any]) -> pd.Series:
            if dtype == "int":
                kind = "float64" if None in cells else "int64"
                return pd.Series([np.nan if c is None else c for c in cells], dtype=kind)
            if dtype == "str":
                # The type that pandas gives strings: object before pandas 3.
                return pd.Series(cells) if any(c is not None for c in cells) else pd.Series(cells, dtype=object)
            if dtype == "category":
                return pd.Series(pd.Categorical(cells, categories=[*known, *[o for o in other if o in cells]]))
            if dtype == "string":
                return pd.Series([pd.NA if c is None else c for c in cells], dtype="string")
            holes = self.choice([[np.nan]] * 6 + [[None]] * 2 + [[pd.NA], [np.nan, None]])
            if not none and None in holes:
                holes = [np.nan]
            return pd.Series([self.choice(holes) if c is None else c for c in cells], dtype=object)

        return self._pair(cells, series, alike=True)

    def bools(self, *, missing: float = 0.0) -> Pair:
        """Truth values: bool, or `boolean` where some are missing."""
        rng = self.rng

        def cells(n: int, _: bool) -> list[Any]:
            return [None if gone else bool(v) for v, gone in zip(rng.integers(2, size=n), rng.random(n) < missing)]

        return self._pair(cells, lambda c: pd.Series(c, dtype="boolean" if None in c else "bool"), alike=True)

    def datetimes(self, *, missing: float = 0.0, first: str = "1960-01-01", last: str = "2060-12-31") -> Pair:
        """Times to the second, minute or day; missing is NaT."""
        rng = self.rng
        low, high = pd.Timestamp(first).value // 10**9, pd.Timestamp(last).value // 10**9
        step = self.choice([1, 60, 86400])

        def cells(n: int, _: bool) -> list[Any]:
            values = rng.integers(low // step, high // step, size=n) * step
            times = [pd.Timestamp(int(v), unit="s") for v in values]
            return [None if gone else t for t, gone in zip(times, rng.random(n) < missing)]

        return self._pair(cells, lambda c: pd.Series([pd.NaT if v is None else v for v in c], dtype="datetime64[ns]"))

    def strings(self, *, missing: float = 0.0, words: Sequence[str] = WORDS, most: int = 6) -> Pair:
        """Free text: a few words a cell, joined by blanks."""
        rng = self.rng

        def cells(n: int, _: bool) -> list[Any]:
            texts = [" ".join(self.choice(words) for _ in range(self.integer(0, most))) for _ in range(n)]
            return [None if gone else text for text, gone in zip(texts, rng.random(n) < missing)]

        return self._pair(cells, lambda c: pd.Series([np.nan if v is None else v for v in c], dtype=object))

    def _pair(
        self, cells: Callable[[int, bool], list[Any]], series: Callable[[list[Any]], pd.Series], *, alike: bool = False
    ) -> Pair:
        """Both halves; `alike` makes them in one piece, so that they have one data type."""
        train, test = cells(self.n_train, False), cells(self.n_test, True)
        if not alike:
            return series(train), series(test)
        whole = series(train + test)
        first, second = whole.iloc[: self.n_train], whole.iloc[self.n_train :].reset_index(drop=True)
        if str(whole.dtype) == "float64" and None not in train and all(isinstance(c, int) for c in train):
            first = first.astype("int64")  # the hole is only in what is asked
        elif str(whole.dtype) == "category":
            first = first.cat.remove_unused_categories()
        return first, second

    def frames(self, columns: Mapping[str, Pair]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Pairs of columns as a pair of frames."""
        train = pd.DataFrame({name: pair[0] for name, pair in columns.items()})
        test = pd.DataFrame({name: pair[1] for name, pair in columns.items()})
        return train, test

    def number_frames(
        self, low: int = 1, high: int = 5, *, missing: float = 0.0, positive: bool = False, nullable: bool = True
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """From `low` to `high` columns of numbers."""
        names = self.names(self.integer(low, high))
        return self.frames(
            {name: self.numbers(missing=missing, positive=positive, nullable=nullable) for name in names}
        )

    def category_frames(
        self, low: int = 1, high: int = 4, *, missing: float = 0.0, unseen: float = 0.1, integers: float = 0.0,
        dtype: str | None = None,
    ) -> tuple[pd.DataFrame, pd.DataFrame]:  # fmt: skip
        """From `low` to `high` columns of categories."""
        names = self.names(self.integer(low, high))
        return self.frames(
            {n: self.categories(missing=missing, unseen=unseen, integers=integers, dtype=dtype) for n in names}
        )

    def target(self, kind: str = "float") -> pd.Series:
        """A target for the fit: `float`, `positive`, `binary` (both classes there) or `multiclass`."""
        n = self.n_train
        if kind == "binary":
            values = self.rng.integers(2, size=n)
            values[:2] = [0, 1]
            return pd.Series(values)
        if kind == "multiclass":
            values = self.rng.integers(3, size=n)
            values[: min(3, n)] = [0, 1, 2][: min(3, n)]
            return pd.Series(values)
        noise = self.rng.normal(size=n) * 10.0 ** self.integer(-1, 4)
        return pd.Series(np.abs(noise) + 0.1 if kind == "positive" else noise)
