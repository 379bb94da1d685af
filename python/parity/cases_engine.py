"""Cases of feature-engine's transformers of numbers: imputers, discretisers, outliers, creation, selection."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from feature_engine import creation, discretisation, imputation, outliers, selection, transformation
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeRegressor

from .cases_impute import without_times
from .cases_numeric import floats, holes
from .draw import Draw
from .harness import Case, parity

Frames = tuple[pd.DataFrame, pd.DataFrame]


def variables(draw: Draw, train: pd.DataFrame) -> Any:
    """All of the columns, or some."""
    return None if draw.chance() else draw.sample(list(train.columns), draw.integer(1, train.shape[1]))


def has(cls: Any, parameter: str) -> bool:
    """Whether this version of the class has the parameter."""
    import inspect

    return parameter in inspect.signature(cls.__init__).parameters


# --- imputation -----------------------------------------------------------------------------------------------------


@parity("feature_engine.imputation.ArbitraryNumberImputer", family="impute")
def arbitrary_number_imputer(draw: Draw) -> Case:
    train, test = draw.number_frames(missing=draw.choice([0.0, 0.2, 0.5]), nullable=False)
    if draw.chance():
        numbers = {name: draw.choice([0, -1, 99.5]) for name in variables(draw, train) or train.columns}
        return Case(imputation.ArbitraryNumberImputer(imputer_dict=numbers), train, test)
    number = draw.choice([999, -1, 2.5])
    return Case(
        imputation.ArbitraryNumberImputer(arbitrary_number=number, variables=variables(draw, train)), train, test
    )


@parity("feature_engine.imputation.EndTailImputer", family="impute")
def end_tail_imputer(draw: Draw) -> Case:
    train, test = draw.number_frames(missing=draw.choice([0.0, 0.2]), nullable=False)
    method = draw.choice(["gaussian", "iqr", "max"])
    tail = draw.choice(["left", "right"])
    return Case(
        imputation.EndTailImputer(
            imputation_method=method, tail=tail, fold=draw.choice([1, 2.5, 3]), variables=variables(draw, train)
        ),
        train, test,
    )  # fmt: skip


@parity("feature_engine.imputation.DropMissingData", family="impute")
def drop_missing_data(draw: Draw) -> Case:
    kinds: list[Any] = [draw.floats, draw.categories, draw.categories, draw.datetimes]
    columns = {
        name: draw.choice(kinds)(missing=draw.choice([0.0, 0.2, 0.3])) for name in draw.names(draw.integer(1, 5))
    }
    train, test = draw.frames(columns)
    if len(train.dropna()) == 0:  # a row at least must pass
        train = train.bfill().ffill().dropna(axis=1)
        test = test[train.columns]
    threshold = draw.choice([None, None, 0.3, 0.5, 0.75, 1])
    transformer = imputation.DropMissingData(
        missing_only=draw.chance(), threshold=threshold, variables=variables(draw, train)
    )
    return Case(without_times(transformer, train), train, test)


# --- discretisation -------------------------------------------------------------------------------------------------


def cut_options(draw: Draw, cls: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"return_object": draw.chance(0.3), "return_boundaries": draw.chance(0.3)}
    if has(cls, "precision"):
        options["precision"] = draw.choice([1, 3, 5])
    return options


@parity("feature_engine.discretisation.EqualFrequencyDiscretiser", family="discretise")
def equal_frequency_discretiser(draw: Draw) -> Case:
    draw.rows(8)
    cls = discretisation.EqualFrequencyDiscretiser
    train, test = floats(draw)
    return Case(
        cls(q=draw.integer(2, 6), variables=variables(draw, train), **cut_options(draw, cls)),
        train,
        holes(draw, test, 0.1),
    )


@parity("feature_engine.discretisation.EqualWidthDiscretiser", family="discretise")
def equal_width_discretiser(draw: Draw) -> Case:
    draw.rows(8)
    cls = discretisation.EqualWidthDiscretiser
    train, test = draw.number_frames(nullable=False)
    return Case(
        cls(bins=draw.integer(2, 6), variables=variables(draw, train), **cut_options(draw, cls)),
        train,
        holes(draw, test, 0.1),
    )


@parity("feature_engine.discretisation.GeometricWidthDiscretiser", family="discretise", generations=("current",))
def geometric_width_discretiser(draw: Draw) -> Case:
    draw.rows(8)
    cls = discretisation.GeometricWidthDiscretiser
    train, test = floats(draw)
    return Case(
        cls(bins=draw.integer(2, 6), variables=variables(draw, train), **cut_options(draw, cls)),
        train,
        holes(draw, test, 0.1),
    )


@parity("feature_engine.discretisation.ArbitraryDiscretiser", family="discretise")
def arbitrary_discretiser(draw: Draw) -> Case:
    cls = discretisation.ArbitraryDiscretiser
    train, test = draw.number_frames(nullable=False)
    bins = {}
    for name in train.columns:
        edges = sorted(
            {float(np.round(x, 2)) for x in [*draw.sample(list(train[name]), min(3, len(train))), -1e9, 1e9]}
        )
        bins[name] = edges if draw.chance(0.6) else [-np.inf, *edges[1:-1], 0.5, np.inf]
        bins[name] = sorted(set(bins[name]))
    return Case(cls(binning_dict=bins, errors=draw.choice(["ignore", "raise"]), **cut_options(draw, cls)), train, test)


@parity("feature_engine.discretisation.DecisionTreeDiscretiser", family="discretise")
def decision_tree_discretiser(draw: Draw) -> Case:
    draw.rows(20)
    cls = discretisation.DecisionTreeDiscretiser
    train, test = floats(draw, 1, 3)
    regression = draw.chance()
    options: dict[str, Any] = {}
    if has(cls, "bin_output"):
        output = draw.choice(["prediction", "prediction", "bin_number", "boundaries"])
        options = {
            "bin_output": output,
            "precision": draw.choice([1, 3]) if output == "boundaries" else draw.choice([None, 2]),
        }
    return Case(
        cls(cv=2, regression=regression, scoring="neg_mean_squared_error" if regression else "roc_auc",
            random_state=0, variables=variables(draw, train), **options),
        train, holes(draw, test, 0.1), draw.target("float" if regression else "binary"),
    )  # fmt: skip


# --- transformation -------------------------------------------------------------------------------------------------


def spoiled(draw: Draw, test: pd.DataFrame) -> pd.DataFrame:
    """With a value now and then that is refused."""
    for name in test.columns:
        if draw.chance(0.3) and str(test[name].dtype) == "float64":
            test.loc[0, name] = draw.choice([0.0, -1.0, np.nan])
    return test


@parity("feature_engine.transformation.LogCpTransformer", family="function")
def log_cp_transformer(draw: Draw) -> Case:
    train, test = floats(draw)
    c = draw.choice(["auto", "number", "dict"])
    low = float(-train.min().min())
    if c == "number":
        constant: Any = max(low, 0) + 1.5
    else:
        constant = {name: max(float(-train[name].min()), 0) + 0.5 for name in train.columns} if c == "dict" else "auto"
    return Case(
        transformation.LogCpTransformer(
            variables=None if c == "dict" else variables(draw, train), base=draw.choice(["e", "10"]), C=constant
        ),
        train, holes(draw, test, 0.1),
    )  # fmt: skip


@parity("feature_engine.transformation.ReciprocalTransformer", family="function")
def reciprocal_transformer(draw: Draw) -> Case:
    train, test = draw.number_frames(positive=True, nullable=False)
    return Case(
        transformation.ReciprocalTransformer(variables=variables(draw, train)),
        train,
        spoiled(draw, test),
        tolerance=0.0,
    )


@parity("feature_engine.transformation.PowerTransformer", family="function")
def engine_power_transformer(draw: Draw) -> Case:
    train, test = draw.number_frames(positive=draw.chance(), nullable=False)
    return Case(
        transformation.PowerTransformer(variables=variables(draw, train), exp=draw.choice([0.5, 2, 3, 0.3, 1.7])),
        train,
        holes(draw, test, 0.1),
    )


@parity("feature_engine.transformation.BoxCoxTransformer", family="function")
def box_cox_transformer(draw: Draw) -> Case:
    draw.rows(8)
    train, test = floats(draw, positive=True)
    return Case(
        transformation.BoxCoxTransformer(variables=variables(draw, train)), train, spoiled(draw, test)
    )  # fmt: skip


@parity("feature_engine.transformation.YeoJohnsonTransformer", family="function")
def yeo_johnson_transformer(draw: Draw) -> Case:
    draw.rows(8)
    train, test = floats(draw)
    return Case(
        transformation.YeoJohnsonTransformer(variables=variables(draw, train)), train, holes(draw, test, 0.1)
    )  # fmt: skip


@parity("feature_engine.transformation.ArcsinTransformer", family="function")
def arcsin_transformer(draw: Draw) -> Case:
    train, test = draw.frames({name: draw.floats(low=0.0, high=1.0) for name in draw.names(draw.integer(1, 4))})
    if draw.chance(0.5):
        test.iloc[0, 0] = draw.choice([0.0, 1.0, 1.0000001, -1e-9, np.nan])
    return Case(transformation.ArcsinTransformer(variables=variables(draw, train)), train, test)


if hasattr(transformation, "ArcSinhTransformer"):

    @parity("feature_engine.transformation.ArcSinhTransformer", family="function", generations=("current",))
    def arc_sinh_transformer(draw: Draw) -> Case:
        train, test = draw.number_frames(nullable=False)
        options = {"loc": draw.choice([0.0, 1.5]), "scale": draw.choice([1.0, 0.3])}
        return Case(
            transformation.ArcSinhTransformer(variables=variables(draw, train), **options),
            train,
            holes(draw, test, 0.1),
        )


# --- outliers -------------------------------------------------------------------------------------------------------


def capping(draw: Draw) -> dict[str, Any]:
    method = draw.choice(["gaussian", "iqr", "mad", "quantiles"])
    return {
        "capping_method": method, "tail": draw.choice(["left", "right", "both"]),
        "fold": draw.choice([0.05, 0.1, 0.2]) if method == "quantiles" else draw.choice([0.5, 1.5, 3]),
        "missing_values": draw.choice(["raise", "ignore"]),
    }  # fmt: skip


@parity("feature_engine.outliers.Winsorizer", family="outliers")
def winsorizer(draw: Draw) -> Case:
    draw.rows(8)
    options = capping(draw)
    train, test = floats(draw, missing=0.2 if options["missing_values"] == "ignore" else 0.0)
    transformer = outliers.Winsorizer(variables=variables(draw, train), add_indicators=draw.chance(), **options)
    return Case(transformer, train, holes(draw, test, 0.1), tolerance=0.0)


@parity("feature_engine.outliers.ArbitraryOutlierCapper", family="outliers")
def arbitrary_outlier_capper(draw: Draw) -> Case:
    missing = draw.choice(["raise", "ignore"])
    train, test = draw.number_frames(missing=0.2 if missing == "ignore" else 0.0, nullable=False)
    names = list(train.columns)
    high = {name: draw.choice([1.5, 10, 0.0]) for name in draw.sample(names, draw.integer(1, len(names)))}
    low = {name: draw.choice([-1.5, -10, -0.5]) for name in draw.sample(names, draw.integer(1, len(names)))}
    bounds = draw.choice([(high, low), (high, None), (None, low)])
    transformer = outliers.ArbitraryOutlierCapper(
        max_capping_dict=bounds[0], min_capping_dict=bounds[1], missing_values=missing
    )
    return Case(transformer, train, holes(draw, test, 0.1), tolerance=0.0)


@parity("feature_engine.outliers.OutlierTrimmer", family="outliers")
def outlier_trimmer(draw: Draw) -> Case:
    draw.rows(8)
    options = capping(draw)
    train, test = floats(draw, missing=0.2 if options["missing_values"] == "ignore" else 0.0)
    return Case(
        outliers.OutlierTrimmer(variables=variables(draw, train), **options),
        train,
        holes(draw, test, 0.1),
        tolerance=0.0,
    )


# --- creation -------------------------------------------------------------------------------------------------------


@parity("feature_engine.creation.MathFeatures", family="create")
def math_features(draw: Draw) -> Case:
    missing = draw.choice(["raise", "ignore"])
    draw_missing = 0.2 if missing == "ignore" else 0.0
    names = draw.names(draw.integer(2, 6))
    train, test = draw.frames({name: draw.floats(missing=draw_missing, extremes=False) for name in names})
    functions = ["sum", "prod", "mean", "std", "var", "median", "min", "max"]
    chosen: Any = draw.sample(functions, draw.integer(1, 4))
    if draw.chance(0.4):
        own = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "std": np.std, "var": np.var, "median": np.median,
               "min": np.min, "max": np.max}  # fmt: skip
        chosen = [own[name] if draw.chance(0.6) else name for name in chosen]
    if len(chosen) == 1:
        chosen = chosen[0]
    transformer = creation.MathFeatures(
        variables=draw.sample(names, draw.integer(2, len(names))), func=chosen, missing_values=missing,
        drop_original=draw.chance(0.3),
    )  # fmt: skip
    return Case(transformer, train, holes(draw, test, 0.1))


@parity("feature_engine.creation.RelativeFeatures", family="create")
def relative_features(draw: Draw) -> Case:
    draw.rows(3)
    missing = draw.choice(["raise", "ignore"])
    names = draw.names(draw.integer(2, 5))
    train, test = draw.frames(
        {name: draw.floats(missing=0.2 if missing == "ignore" else 0.0, extremes=False, positive=True)
         if draw.chance(0.8) else draw.ints(low=1, high=9) for name in names}
    )  # fmt: skip
    cut = draw.integer(1, len(names) - 1)
    functions = ["add", "sub", "mul", "div", "truediv", "floordiv", "mod", "pow"]
    options = {}
    if has(creation.RelativeFeatures, "fill_value") and draw.chance():
        options["fill_value"] = draw.choice([0, -1, 9.5])
    for name in names[cut:]:
        if draw.chance(0.3) and str(test[name].dtype) == "float64":
            test.loc[0, name] = draw.choice([0.0, -1.5])
    transformer = creation.RelativeFeatures(
        variables=names[:cut], reference=names[cut:], func=draw.sample(functions, draw.integer(1, 5)),
        missing_values=missing, drop_original=draw.chance(0.3), **options,
    )  # fmt: skip
    # Without the originals it names columns that it does not give.
    return Case(transformer, train, test, refusable=True)


@parity("feature_engine.creation.CyclicalFeatures", family="create")
def cyclical_features(draw: Draw) -> Case:
    train, test = draw.frames(
        {
            name: draw.ints(low=1, high=24) if draw.chance() else draw.floats(low=0.5, high=60.0)
            for name in draw.names(draw.integer(1, 4))
        }
    )
    values = draw.choice([None, {train.columns[0]: 7}])
    return Case(
        creation.CyclicalFeatures(
            variables=None if values is None else list(values), max_values=values, drop_original=draw.chance(0.3)
        ),
        train, holes(draw, test, 0.1),
    )  # fmt: skip


if hasattr(creation, "DecisionTreeFeatures"):

    @parity("feature_engine.creation.DecisionTreeFeatures", family="create", generations=("current",))
    def decision_tree_features(draw: Draw) -> Case:
        draw.rows(20)
        train, test = floats(draw, 2, 3)
        kind = draw.choice(["float", "binary", "multiclass"])
        return Case(
            creation.DecisionTreeFeatures(
                cv=2, regression=kind == "float", precision=draw.choice([None, 2]), random_state=0,
                features_to_combine=draw.choice([None, 1, 2]), drop_original=draw.chance(0.3),
                scoring="neg_mean_squared_error" if kind == "float" else "accuracy",
            ),
            train, holes(draw, test, 0.1), draw.target(kind),
        )  # fmt: skip


if hasattr(creation, "GeoDistanceFeatures"):

    @parity("feature_engine.creation.GeoDistanceFeatures", family="create", generations=("current",))
    def geo_distance_features(draw: Draw) -> Case:
        names = draw.names(4)
        train, test = draw.frames({name: draw.floats(low=-90.0, high=90.0) for name in names})
        return Case(
            creation.GeoDistanceFeatures(
                *names, method=draw.choice(["haversine", "euclidean", "manhattan"]),
                output_unit=draw.choice(["km", "miles", "meters", "feet"]), drop_original=draw.chance(0.3),
            ),
            train, holes(draw, test, 0.1),
        )  # fmt: skip


# --- selection ------------------------------------------------------------------------------------------------------


def chosen(draw: Draw, transformer: Any, y: Any = None) -> Case:
    draw.rows(20)
    names = draw.names(draw.integer(3, 6))
    train, test = draw.frames({name: draw.floats(extremes=False, distinct=True) for name in names})
    train["same"], test["same"] = train[names[0]], test[names[0]]
    train["flat"], test["flat"] = 1.0, 2.0
    return Case(transformer, train, holes(draw, test, 0.1), draw.target(y) if y else None, tolerance=0.0)


def _selection(name: str, make: Any, y: Any = None, generations: Any = ("current", "2023")) -> None:
    cls = getattr(selection, name, None)
    if cls is None:
        return

    @parity(f"feature_engine.selection.{name}", family="select", generations=generations)
    def generate(draw: Draw) -> Case:
        return chosen(draw, make(cls, draw), y)


_selection(
    "DropConstantFeatures",
    lambda cls, draw: cls(tol=draw.choice([1, 0.9]), missing_values=draw.choice(["raise", "ignore"])),
)
_selection("DropDuplicateFeatures", lambda cls, draw: cls())
_selection("DropCorrelatedFeatures", lambda cls, draw: cls(threshold=draw.choice([0.3, 0.8])))
_selection(
    "SmartCorrelatedSelection",
    lambda cls, draw: cls(
        threshold=draw.choice([0.3, 0.8]), selection_method=draw.choice(["variance", "cardinality", "missing_values"])
    ),
)
_selection("DropHighPSIFeatures", lambda cls, draw: cls(split_frac=0.5, bins=3))
_selection(
    "RecursiveFeatureAddition",
    lambda cls, draw: cls(DecisionTreeRegressor(random_state=0), scoring="r2", cv=2),
    "float",
)
_selection(
    "RecursiveFeatureElimination",
    lambda cls, draw: cls(DecisionTreeRegressor(random_state=0), scoring="r2", cv=2),
    "float",
)
_selection("SelectByShuffling", lambda cls, draw: cls(LinearRegression(), scoring="r2", cv=2, random_state=0), "float")
_selection(
    "SelectBySingleFeaturePerformance",
    lambda cls, draw: cls(LinearRegression(), scoring="neg_mean_squared_error", cv=2),
    "float",
)
_selection(
    "SelectByTargetMeanPerformance",
    lambda cls, draw: cls(scoring="r2", bins=2, cv=2, threshold=-1e9, regression=True),
    "float",
)
_selection("SelectByInformationValue", lambda cls, draw: cls(bins=2, threshold=0.0, strategy="equal_width"), "binary")
_selection(
    "ProbeFeatureSelection",
    lambda cls, draw: cls(DecisionTreeRegressor(random_state=0), scoring="r2", cv=2, random_state=0),
    "float",
)
_selection("MRMR", lambda cls, draw: cls(method="FCQ", regression=True, max_features=2), "float", ("current",))
