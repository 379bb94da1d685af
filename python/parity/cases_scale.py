"""Cases of the scalers and other functions of one number."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    RobustScaler,
    StandardScaler,
)

from .draw import Draw
from .harness import LIBM, Case, parity


@parity("sklearn.preprocessing.MinMaxScaler", family="scale")
def min_max_scaler(draw: Draw) -> Case:
    low = draw.choice([0.0, -1.0, 0.1, -5.0])
    scaler = MinMaxScaler(feature_range=(low, low + draw.choice([1.0, 2.0, 1e-3, 7.3])), clip=draw.chance())
    return Case(scaler, *draw.number_frames(missing=draw.choice([0.0, 0.0, 0.2])))


@parity("sklearn.preprocessing.StandardScaler", family="scale")
def standard_scaler(draw: Draw) -> Case:
    scaler = StandardScaler(with_mean=draw.chance(0.7), with_std=draw.chance(0.7))
    return Case(scaler, *draw.number_frames(missing=draw.choice([0.0, 0.0, 0.2])))


@parity("sklearn.preprocessing.MaxAbsScaler", family="scale")
def max_abs_scaler(draw: Draw) -> Case:
    options = {"clip": draw.chance()} if "clip" in MaxAbsScaler().get_params() else {}
    return Case(MaxAbsScaler(**options), *draw.number_frames(missing=draw.choice([0.0, 0.0, 0.2])))


@parity("sklearn.preprocessing.RobustScaler", family="scale")
def robust_scaler(draw: Draw) -> Case:
    scaler = RobustScaler(
        with_centering=draw.chance(0.7),
        with_scaling=draw.chance(0.7),
        quantile_range=draw.choice([(25.0, 75.0), (5.0, 95.0), (0.0, 100.0), (10.0, 60.0)]),
        unit_variance=draw.chance(0.3),
    )
    # unit_variance with the quantiles 0 and 100 divides by 0.
    return Case(scaler, *draw.number_frames(missing=draw.choice([0.0, 0.0, 0.2])), refusable=True)


@parity("sklearn.preprocessing.Binarizer", family="scale")
def binarizer(draw: Draw) -> Case:
    train, test = draw.number_frames()
    threshold = draw.choice([0.0, 1.0, -0.5, float(train.iloc[0, 0])])
    for name in test.columns:
        if draw.chance(0.3) and str(test[name].dtype) == "float64":
            test.loc[0, name] = np.nan
    return Case(Binarizer(threshold=threshold), train, test)


FUNCTIONS = (
    "log", "log10", "log2", "log1p", "exp", "expm1", "sqrt", "cbrt", "square", "reciprocal", "absolute", "negative",
    "arcsin", "arcsinh", "sin", "cos", "tanh", "floor", "ceil", "rint", "sign",
)  # fmt: skip


@parity("sklearn.preprocessing.FunctionTransformer", family="function")
def function_transformer(draw: Draw) -> Case:
    name = draw.choice(FUNCTIONS)
    validate = draw.chance(0.3)
    extremes = name not in ("sin", "cos")
    columns = {
        label: draw.floats(
            missing=0.0 if validate else draw.choice([0.0, 0.2]), positive=draw.chance(0.3), extremes=extremes
        )
        for label in draw.names(draw.integer(1, 3))
    }
    return Case(
        FunctionTransformer(getattr(np, name), validate=validate, feature_names_out="one-to-one"),
        *draw.frames(columns),
        tolerance=1e-15,
        reason=LIBM,
    )


@parity("sklearn.preprocessing.FunctionTransformer (with arguments)", family="function")
def function_with_arguments(draw: Draw) -> Case:
    function, arguments = draw.choice(
        [
            (np.clip, {"a_min": -1.0, "a_max": draw.choice([2.5, None])}),
            (pd.DataFrame.clip, {"lower": draw.choice([0, None]), "upper": 10.5}),
            (np.round, {"decimals": draw.choice([0, 1, 3, -1])}),
            (np.around, {"decimals": 2}),
            (np.nan_to_num, {"nan": draw.choice([0.0, -1.5])}),
            (pd.DataFrame.fillna, {"value": draw.choice([0.0, 7.25])}),
        ]
    )
    missing = draw.choice([0.0, 0.2])
    train, test = draw.frames(
        {
            name: draw.floats(missing=missing) if draw.chance(0.7) else draw.ints(missing=missing)
            for name in draw.names(draw.integer(1, 3))
        }
    )
    return Case(FunctionTransformer(function, kw_args=arguments), train, test)
