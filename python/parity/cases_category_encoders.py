"""Cases of category_encoders."""

from __future__ import annotations

from typing import Any

import category_encoders as ce
import numpy as np
import pandas as pd
from category_encoders.wrapper import NestedCVWrapper, PolynomialWrapper

from .draw import Draw
from .harness import Case, parity

FAMILY = "category_encoders"


def _case(draw: Draw, encoder: type, target: str = "", *, unknown: Any = (), missing: Any = (), **options: Any) -> Case:
    """A case of any of them; `unknown` and `missing` are the strategies beside those that all have."""
    train, test = draw.category_frames(missing=draw.choice([0.0, 0.1, 0.3]), unseen=0.2, integers=0.15)
    if draw.chance(0.2):
        train["number"], test["number"] = draw.floats(missing=0.1)
    options["handle_unknown"] = draw.choice(["value", "value", "error", "return_nan", *unknown])
    options["handle_missing"] = draw.choice(["value", "value", "error", "return_nan", *missing])
    options["drop_invariant"] = draw.chance(0.2)
    options["return_df"] = draw.chance(0.8)
    if draw.chance(0.3):
        options["cols"] = draw.sample(list(train.columns), draw.integer(1, train.shape[1]))
    if draw.chance(0.15) and "min_group_size" in encoder().get_params():
        options["min_group_size"] = draw.choice([2, 0.2])
        options["handle_missing"], options["handle_unknown"] = "value", "value"
    y = draw.target(target) if target else None
    # Of a column without any category some encoders make numbers, and then raise on text that is none.
    return Case(encoder(**options), train, test, y=y, refusable=bool(train.isna().all().any()))


@parity("category_encoders.OrdinalEncoder", family=FAMILY)
def ordinal(draw: Draw) -> Case:
    return _case(draw, ce.OrdinalEncoder)


@parity("category_encoders.OneHotEncoder", family=FAMILY)
def one_hot(draw: Draw) -> Case:
    return _case(draw, ce.OneHotEncoder, unknown=["indicator"], missing=["indicator", "ignore"],
                 use_cat_names=draw.chance())  # fmt: skip


@parity("category_encoders.BinaryEncoder", family=FAMILY)
def binary(draw: Draw) -> Case:
    return _case(draw, ce.BinaryEncoder, unknown=["indicator"], missing=["indicator"])


@parity("category_encoders.BaseNEncoder", family=FAMILY)
def base_n(draw: Draw) -> Case:
    return _case(draw, ce.BaseNEncoder, unknown=["indicator"], missing=["indicator"], base=draw.integer(1, 5))


@parity("category_encoders.GrayEncoder", family=FAMILY)
def gray(draw: Draw) -> Case:
    return _case(draw, ce.GrayEncoder, unknown=["indicator"], missing=["indicator"])


@parity("category_encoders.CountEncoder", family=FAMILY)
def count(draw: Draw) -> Case:
    case = _case(draw, ce.CountEncoder, normalize=draw.chance())
    if draw.chance(0.3):
        case.transformer.set_params(
            min_group_size=draw.choice([2, 0.2]), combine_min_nan_groups=draw.choice([True, "force"])
        )
    return case


@parity("category_encoders.TargetEncoder", family=FAMILY)
def target(draw: Draw) -> Case:
    return _case(draw, ce.TargetEncoder, draw.choice(["float", "binary"]), smoothing=draw.choice([1, 10, 0.5]),
                 min_samples_leaf=draw.choice([1, 5, 20]))  # fmt: skip


@parity("category_encoders.LeaveOneOutEncoder", family=FAMILY)
def leave_one_out(draw: Draw) -> Case:
    return _case(draw, ce.LeaveOneOutEncoder, draw.choice(["float", "binary"]), sigma=draw.choice([None, 0.3]))


@parity("category_encoders.MEstimateEncoder", family=FAMILY)
def m_estimate(draw: Draw) -> Case:
    return _case(draw, ce.MEstimateEncoder, "binary", m=draw.choice([1.0, 0.3, 5]), randomized=draw.chance(0.3))


@parity("category_encoders.JamesSteinEncoder", family=FAMILY)
def james_stein(draw: Draw) -> Case:
    model = draw.choice(["independent", "pooled", "beta", "binary"])
    return _case(draw, ce.JamesSteinEncoder, "binary", model=model, randomized=draw.chance(0.3))


@parity("category_encoders.CatBoostEncoder", family=FAMILY)
def cat_boost(draw: Draw) -> Case:
    return _case(draw, ce.CatBoostEncoder, draw.choice(["float", "binary"]), a=draw.choice([1, 0.5, 3]),
                 sigma=draw.choice([None, 0.3]))  # fmt: skip


@parity("category_encoders.GLMMEncoder", family=FAMILY)
def glmm(draw: Draw) -> Case:
    return _case(draw, ce.GLMMEncoder, draw.choice(["float", "binary"]))


@parity("category_encoders.WOEEncoder", family=FAMILY)
def woe(draw: Draw) -> Case:
    return _case(draw, ce.WOEEncoder, "binary", regularization=draw.choice([1.0, 0.2]), randomized=draw.chance(0.3))


@parity("category_encoders.SumEncoder", family=FAMILY)
def sum_coding(draw: Draw) -> Case:
    return _case(draw, ce.SumEncoder, unknown=["indicator"], missing=["indicator"])


@parity("category_encoders.HelmertEncoder", family=FAMILY)
def helmert(draw: Draw) -> Case:
    return _case(draw, ce.HelmertEncoder, unknown=["indicator"], missing=["indicator"])


@parity("category_encoders.BackwardDifferenceEncoder", family=FAMILY)
def backward_difference(draw: Draw) -> Case:
    return _case(draw, ce.BackwardDifferenceEncoder, unknown=["indicator"], missing=["indicator"])


@parity("category_encoders.PolynomialEncoder", family=FAMILY)
def polynomial(draw: Draw) -> Case:
    return _case(draw, ce.PolynomialEncoder, unknown=["indicator"], missing=["indicator"])


@parity("category_encoders.QuantileEncoder", family=FAMILY)
def quantile(draw: Draw) -> Case:
    return _case(draw, ce.QuantileEncoder, "float", quantile=draw.choice([0.5, 0.1, 0.9]), m=draw.choice([1.0, 0.0, 4]))


@parity("category_encoders.SummaryEncoder", family=FAMILY)
def summary(draw: Draw) -> Case:
    return _case(draw, ce.SummaryEncoder, "float", quantiles=draw.choice([(0.25, 0.75), (0.1, 0.5, 0.9)]))


@parity("category_encoders.RankHotEncoder", family=FAMILY)
def rank_hot(draw: Draw) -> Case:
    return _case(draw, ce.RankHotEncoder, use_cat_names=draw.chance())


@parity("category_encoders.HashingEncoder", family=FAMILY)
def hashing(draw: Draw) -> Case:
    train, test = draw.category_frames(missing=draw.choice([0.0, 0.1, 0.3]), unseen=0.4)
    if draw.chance(0.3):
        train["number"], test["number"] = draw.floats(missing=0.1)
    options: dict[str, Any] = {
        "n_components": draw.integer(1, 20),
        "hash_method": draw.choice(["md5", "md5", "sha256"]),
    }
    options["drop_invariant"] = draw.chance(0.2)
    if draw.chance(0.3):
        train["count"], test["count"] = draw.ints(missing=draw.choice([0.0, 0.2]))
    if draw.chance(0.5):
        names = list(train)
        options["cols"] = draw.sample(names, draw.integer(1, len(names)))
    if options.get("cols") == ["number"] or set(options.get("cols", ["text"])) <= {"number", "count"}:
        options["drop_invariant"] = False
    return Case(ce.HashingEncoder(max_process=1, **options), train, test)


if hasattr(ce, "CountTargetEncoder"):

    @parity("category_encoders.CountTargetEncoder", family=FAMILY, generations=("current",))
    def count_target(draw: Draw) -> Case:
        options = {"min_samples_leaf": draw.choice([1, 5, 20]), "smoothing": draw.choice([0.5, 10])}
        return _case(draw, ce.CountTargetEncoder, draw.choice(["binary", "multiclass"]), **options)


if hasattr(ce, "MultiHotEncoder"):

    @parity("category_encoders.MultiHotEncoder", family=FAMILY, generations=("current",))
    def multi_hot(draw: Draw) -> Case:
        delimiter = draw.choice(["|", "|", ",", ", ", "::"])
        words = ["cat", "dog", " dog ", "été", "İ", "", " ", "a b", "1", "1.0", "nan"]

        def joined(count: int, missing: float, extra: list[str]) -> Any:
            texts: list[Any] = []
            for _ in range(count):
                chosen = [draw.choice([*words, *extra]) for _ in range(draw.integer(0, 4))]
                texts.append(np.nan if draw.chance(missing) else delimiter.join(chosen))
            return pd.Series(texts, dtype=object)

        draw.rows(3)
        names = draw.names(draw.integer(1, 3))
        share = draw.choice([0.0, 0.2])
        train = pd.DataFrame({name: joined(draw.n_train, share, []) for name in names})
        test = pd.DataFrame({name: joined(draw.n_test, share, ["never seen"]) for name in names})
        options: dict[str, Any] = {"delimiter": delimiter, "use_cat_names": draw.chance()}
        if draw.chance(0.3):
            train["number"], test["number"] = draw.choice([draw.floats, draw.ints])(missing=0.1)
            if draw.chance():
                options["cols"] = ["number", *names]
        options["handle_unknown"] = draw.choice(["value", "error", "return_nan", "indicator"])
        options["handle_missing"] = draw.choice(["value", "error", "return_nan", "indicator", "ignore"])
        options["drop_invariant"] = draw.chance(0.2)
        options["return_df"] = draw.chance(0.8)
        return Case(ce.MultiHotEncoder(**options), train, test)


if "composite_cols" in ce.TargetEncoder().get_params():

    @parity("category_encoders.TargetEncoder (of columns together)", family=FAMILY, generations=("current",))
    def composite(draw: Draw) -> Case:
        cls = draw.choice([ce.TargetEncoder, ce.LeaveOneOutEncoder, ce.MEstimateEncoder, ce.CatBoostEncoder])
        case = _case(draw, cls, "binary", composite_cols=None)
        train, test = draw.category_frames(2, 4, missing=draw.choice([0.0, 0.2]), unseen=0.2, integers=0.2)
        names = list(train)
        if draw.chance():
            train["number"], test["number"] = draw.choice([draw.floats, draw.ints])(missing=draw.choice([0.0, 0.1]))
            names.append("number")
        case.X_train, case.X_test, case.y = train, test, draw.target("binary")
        groups = [tuple(draw.sample(names, 2))]
        if len(names) > 2 and draw.chance():
            groups.append(tuple(draw.sample(names, 3)))
        case.transformer.set_params(composite_cols=groups, keep_components=draw.chance(), cols=None)
        return case


@parity("category_encoders.wrapper.PolynomialWrapper", family=FAMILY)
def polynomial_wrapper(draw: Draw) -> Case:
    case = _case(
        draw, draw.choice([ce.TargetEncoder, ce.WOEEncoder, ce.MEstimateEncoder, ce.CatBoostEncoder]), "binary"
    )
    case.transformer.set_params(drop_invariant=False, return_df=True)
    draw.rows(13)
    case.transformer = PolynomialWrapper(case.transformer)
    case.y = pd.Series([["b", "a", "c"][i % 3] for i in range(len(case.X_train))])
    return case


@parity("category_encoders.wrapper.NestedCVWrapper", family=FAMILY)
def nested_cv_wrapper(draw: Draw) -> Case:
    case = _case(draw, draw.choice([ce.TargetEncoder, ce.LeaveOneOutEncoder, ce.JamesSteinEncoder]), "binary")
    case.transformer = NestedCVWrapper(case.transformer, cv=2, random_state=0)
    return case
