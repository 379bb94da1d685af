"""What a pipeline that cannot be exported is told, and how it is taught."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pandas as pd
import pytest
from helpers import exported, fit, manifest, require_parity, training_rows
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import SkewedChi2Sampler
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from seaworthy_export import (
    Constant,
    Context,
    ExportError,
    UnknownStepError,
    UnsupportedStepError,
    converter_of,
    register_converter,
    registry,
)

NUMBERS = ["count", "year", "sold", "area"]


@pytest.fixture(autouse=True)
def _registry(monkeypatch: Any) -> None:
    monkeypatch.setattr(registry, "_CONVERTERS", dict(registry._CONVERTERS))


class Stateless(TransformerMixin, BaseEstimator):
    def fit(self, X: Any, y: Any = None) -> Stateless:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


class Ages(Stateless):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        X = X.copy()
        X["age"] = X["sold"] - X["year"]
        X["decades"] = X["age"] / 10
        X["count"] = X["count"] * 3 + 1
        return X.drop(columns="year")


class Grades(Stateless):
    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        return X.assign(zone=X["zone"].map({"A": 1, "B": 2.5, "C": None}))


class MinMaxScalar(StandardScaler):
    pass


def convert_ages(step: Ages, ctx: Context) -> None:
    ctx.combine("subtract", "sold", "year", "age")
    ctx.combine("divide", "age", Constant(10), "decades")
    ctx.combine("multiply", "count", Constant(3), "count")
    ctx.combine("add", "count", Constant(1), "count")
    ctx.drop(["year"])


@pytest.mark.parametrize("by", ["class", "name"])
def test_a_transformer_of_ones_own(by: str, tmp_path: Any) -> None:
    register_converter(Ages if by == "class" else f"{Ages.__module__}.Ages")(convert_ages)
    frame = training_rows()[NUMBERS]
    pipeline = fit([("ages", Ages()), ("scale", StandardScaler())], frame)
    directory = exported(pipeline, frame, tmp_path)
    assert manifest(directory)["features"] == ["count", "sold", "area", "age", "decades"]
    assert manifest(directory)["pipeline"][0]["source"].endswith("test_registry.Ages")
    require_parity(pipeline, frame, directory)


def test_a_converter_works_inside_a_column_transformer(tmp_path: Any) -> None:
    @register_converter(Ages)
    def convert(step: Ages, ctx: Context) -> None:
        convert_ages(step, ctx)

    @register_converter(Grades)
    def convert_grades(step: Grades, ctx: Context) -> None:
        ctx.map_dict("zone", {"A": 1, "B": 2.5, "C": None})

    frame = training_rows()[[*NUMBERS, "zone"]]
    columns = ColumnTransformer(
        [
            ("ages", Ages(), ["year", "sold", "count"]),
            ("grades", Pipeline([("map", Grades()), ("fill", SimpleImputer())]), ["zone"]),
        ],
        remainder="passthrough",
    )
    pipeline = fit([("columns", columns)], frame)
    directory = exported(pipeline, frame, tmp_path)
    require_parity(pipeline, frame, directory)


def test_names_may_leave_out_trailing_modules() -> None:
    assert registry.find_converter(StandardScaler) is not None
    register_converter("numpy.matrix")(lambda step, ctx: None)
    assert registry.find_converter(np.ndarray) is None
    with pytest.raises(ValueError, match=r"full name such as `package\.module\.Scaler`"):
        register_converter("Scaler")
    with pytest.raises(KeyError, match="no converter is registered for"):
        converter_of(Ages)


def test_an_unknown_step_is_taught(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    pipeline = fit([("prepare", Pipeline([("ages", Ages())]))], frame)
    with pytest.raises(UnknownStepError) as error:
        exported(pipeline, frame, tmp_path)
    text = str(error.value)
    assert "step `prepare/ages` is a `" in text
    assert ".Ages`, and no converter is registered for that class." in text
    assert '@register_converter("' in text
    assert "def convert_ages(step, ctx: Context) -> None:" in text
    assert "the columns at this point: ['count', 'year', 'sold', 'area']" in text
    assert "--import" in text
    assert not (tmp_path / "models").exists()


def test_the_example_of_the_message_runs(tmp_path: Any) -> None:
    class Secret(Stateless):
        def transform(self, X: pd.DataFrame) -> pd.DataFrame:
            return X.assign(count=X["count"].map({"low": 1, "high": 2}))

    frame = training_rows()[NUMBERS]
    pipeline = Pipeline([("secret", Secret()), ("fill", "passthrough"), ("model", LinearRegression())])
    pipeline.steps[-1][1].fit(frame, helpers.target(frame))
    Secret.transform = lambda self, X: X  # type: ignore[method-assign]
    with pytest.raises(UnknownStepError) as error:
        exported(pipeline, frame, tmp_path)
    code = "\n".join(line[4:] for line in str(error.value).splitlines() if line.startswith("    "))
    exec(code, {"Secret": Secret, "__name__": "example"})
    assert registry.find_converter(Secret) is not None


def test_a_subclass_is_told_of_its_parent(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    pipeline = fit([("scale", MinMaxScalar())], frame)
    with pytest.raises(UnknownStepError, match=r"subclass of `sklearn\.preprocessing\._data\.StandardScaler`") as error:
        exported(pipeline, frame, tmp_path)
    assert "`sklearn.preprocessing.MinMaxScaler`" in str(error.value)
    register_converter(MinMaxScalar)(converter_of(StandardScaler))
    require_parity(pipeline, frame, exported(pipeline, frame, tmp_path))


def test_known_classes_near_it_are_named(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    with pytest.raises(UnknownStepError) as error:
        exported(fit([("waves", SkewedChi2Sampler())], frame), frame, tmp_path)
    assert "Known near it: `sklearn." in str(error.value)


def test_a_lambda_is_refused(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    pipeline = fit([("double", FunctionTransformer(lambda X: X * 2))], frame)
    with pytest.raises(UnsupportedStepError, match=r"step `double` .*its function is a lambda.*\nhint: use a NumPy"):
        exported(pipeline, frame, tmp_path)


def test_a_function_of_ones_own_is_refused(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    pipeline = fit([("double", FunctionTransformer(np.nan_to_num))], frame)
    with pytest.raises(UnsupportedStepError, match="`nan_to_num`, which is not a NumPy function known here"):
        exported(pipeline, frame, tmp_path)


def test_what_is_not_fitted_is_refused(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    with pytest.raises(ExportError, match=r"LinearRegression is not fitted\nhint: call pipeline\.fit"):
        exported(Pipeline([("scale", StandardScaler()), ("model", LinearRegression())]), frame, tmp_path)
    with pytest.raises(ExportError, match="which does not predict"):
        exported(Pipeline([("scale", StandardScaler().fit(frame))]), frame, tmp_path)


def test_reciprocals_of_integers_are_refused(tmp_path: Any) -> None:
    frame = training_rows()[["year", "sold"]]
    pipeline = fit([("one_over", FunctionTransformer(np.reciprocal))], frame)
    with pytest.raises(UnsupportedStepError, match=r"reciprocal of the integers of 'year' .*\nhint: fit .* float"):
        exported(pipeline, frame, tmp_path)


def test_unsupported_parameters_are_named(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    with pytest.raises(UnsupportedStepError, match="it takes -1 for a missing value"):
        exported(fit([("fill", SimpleImputer(missing_values=-1))], frame), frame, tmp_path)
    with pytest.raises(UnknownStepError, match="SkewedChi2Sampler"):
        exported(fit([("waves", SkewedChi2Sampler())], frame), frame, tmp_path)


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (lambda step, ctx: None, "its converter leaves 4 columns"),
        (lambda step, ctx: ctx.drop(["sold"]), "its converter leaves 3 columns"),
        (lambda step, ctx: ctx.drop(["yer"]), "refers to the column 'yer', which does not exist there"),
        (lambda step, ctx: ctx.function(["year"], "gamma"), "the function `gamma` is not among"),
        (lambda step, ctx: ctx.map("year", [1], [2], unseen="keep"), "keeps unseen values, and gives only numbers"),
        (lambda step, ctx: ctx.fill({"year": float("inf")}), "an infinite number has no place in JSON"),
        (lambda step, ctx: ctx.combine("add", "year", "sold", "count"), "its converter leaves the columns .*'count'"),
    ],
)
def test_a_wrong_converter_is_told_so(convert: Any, message: str, tmp_path: Any) -> None:
    register_converter(Ages)(convert)
    frame = training_rows()[NUMBERS]
    with pytest.raises(ExportError, match=message):
        exported(fit([("ages", Ages())], frame), frame, tmp_path)


def test_categories_may_not_reach_the_estimator_or_arithmetic(tmp_path: Any) -> None:
    register_converter(Ages)(lambda step, ctx: ctx.combine("add", "zone", Constant(1), "zone"))
    frame = training_rows()[[*NUMBERS, "zone"]]
    pipeline = Pipeline([("ages", Ages()), ("model", LinearRegression())])
    pipeline.steps[1][1].fit(frame[NUMBERS], helpers.target(frame))
    pipeline.steps[1][1].predict = lambda X: np.zeros(len(X))
    with pytest.raises(UnsupportedStepError, match="`add` takes numbers, but the column 'zone' holds categories"):
        exported(pipeline, frame, tmp_path)
