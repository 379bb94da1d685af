"""Every converter against the real transformer, on random rows."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pandas as pd
import pytest
from feature_engine.encoding import OrdinalEncoder, RareLabelEncoder
from feature_engine.imputation import (
    AddMissingIndicator,
    ArbitraryNumberImputer,
    CategoricalImputer,
    EndTailImputer,
    MeanMedianImputer,
)
from feature_engine.selection import DropFeatures
from feature_engine.transformation import LogTransformer
from feature_engine.wrappers import SklearnTransformerWrapper
from helpers import NEW, exported, fit, manifest, ops, require_parity, training_rows
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.preprocessing import OrdinalEncoder as SklearnOrdinalEncoder

NUMBERS = ["count", "year", "sold", "area", "depth"]
GAPS = [*NUMBERS, "front"]
TEXTS = ["zone", "style", "fire"]


def impute() -> list[tuple[str, Any]]:
    return [
        ("fire", CategoricalImputer(imputation_method="missing", variables=["fire"])),
        ("front", MeanMedianImputer(imputation_method="median", variables=["front"])),
    ]


def encode(**options: Any) -> tuple[str, Any]:
    return ("encode", OrdinalEncoder(encoding_method="arbitrary", variables=TEXTS, **options))


FEATURE_ENGINE = {
    "missing_imputer": (["depth", *TEXTS], [impute()[0], encode()]),
    "missing_imputer_with_a_value": (
        ["depth", *TEXTS],
        [("i", CategoricalImputer(fill_value="TA", variables=["fire"], return_object=True)), encode()],
    ),
    "frequent_imputer": (
        ["depth", *TEXTS],
        [("i", CategoricalImputer(imputation_method="frequent", variables=["fire"])), encode()],
    ),
    "median_imputer": (GAPS, [("i", MeanMedianImputer(imputation_method="median", variables=["front"]))]),
    "mean_imputer": (GAPS, [("i", MeanMedianImputer(imputation_method="mean"))]),
    "arbitrary_number_imputer": (GAPS, [("i", ArbitraryNumberImputer(arbitrary_number=-7, variables=["front"]))]),
    "end_tail_imputer": (GAPS, [("i", EndTailImputer(variables=["front"]))]),
    "indicator": (GAPS, [("n", AddMissingIndicator()), impute()[1]]),
    "indicator_of_everything": (
        ["count", "front", "fire"],
        [("n", AddMissingIndicator(missing_only=False)), *impute(), ("d", DropFeatures(["fire"]))],
    ),
    "drop": (NUMBERS, [("d", DropFeatures(features_to_drop=["year", "count"]))]),
    "drop_one": (NUMBERS, [("d", DropFeatures(features_to_drop="year" if not NEW else ["year"]))]),
    "log": (GAPS, [impute()[1], ("log", LogTransformer(variables=["area", "front", "year"]))]),
    "log10": (NUMBERS, [("log", LogTransformer(variables=["area"], base="10"))]),
    "rare_labels": (
        ["depth", *TEXTS],
        [impute()[0], ("rare", RareLabelEncoder(tol=0.15, n_categories=1, variables=TEXTS)), encode()],
    ),
    "rare_labels_few_categories": (
        ["depth", *TEXTS],
        [impute()[0], ("rare", RareLabelEncoder(tol=0.15, n_categories=10, variables=TEXTS)), encode()],
    ),
    "rare_labels_at_most_two": (
        ["depth", *TEXTS],
        [
            impute()[0],
            (
                "rare",
                RareLabelEncoder(tol=0.01, n_categories=1, max_n_categories=2, replace_with="else", variables=TEXTS),
            ),
            encode(unseen="raise"),
        ],
    ),
    "rare_codes": (
        ["depth", "code"],
        [
            ("rare", RareLabelEncoder(tol=0.2, n_categories=1, variables=["code"])),
            ("encode", OrdinalEncoder(encoding_method="ordered", variables=["code"])),
        ],
    ),
    "rare_integers": (
        ["depth", "count"],
        [
            ("rare", RareLabelEncoder(tol=0.17, n_categories=1, variables=["count"], ignore_format=True)),
            ("encode", OrdinalEncoder(encoding_method="ordered", variables=["count"], ignore_format=True)),
        ],
    ),
    "rare_integers_to_an_integer": (
        ["depth", "count"],
        [
            (
                "rare",
                RareLabelEncoder(tol=0.17, n_categories=1, replace_with=-1, variables=["count"], ignore_format=True),
            ),
        ],
    ),
    "ordered_codes": (["depth", "zone"], [("e", OrdinalEncoder(encoding_method="ordered", variables=["zone"]))]),
    "unseen_raises": (["depth", "zone"], [("e", OrdinalEncoder(encoding_method="arbitrary", unseen="raise"))]),
    "unseen_is_encoded": (["depth", "zone"], [("e", OrdinalEncoder(encoding_method="arbitrary", unseen="encode"))]),
    "wrapped_scaler": (NUMBERS, [("w", SklearnTransformerWrapper(StandardScaler(), variables=["year", "depth"]))]),
    "wrapped_binarizer": (NUMBERS, [("w", SklearnTransformerWrapper(Binarizer(threshold=2), variables=["count"]))]),
    "wrapped_imputer": (GAPS, [("w", SklearnTransformerWrapper(SimpleImputer(), variables=["front"]))]),
    "wrapped_function": (
        NUMBERS,
        [("w", SklearnTransformerWrapper(FunctionTransformer(np.tanh), variables=["depth", "count"]))],
    ),
}
if NEW:
    FEATURE_ENGINE |= {
        "rare_labels_keep_missing": (
            ["depth", *TEXTS],
            [
                ("rare", RareLabelEncoder(tol=0.15, n_categories=1, variables=TEXTS, missing_values="ignore")),
                impute()[0],
                encode(),
            ],
        ),
        "missing_is_encoded": (["depth", *TEXTS], [encode(missing_values="ignore", unseen="encode")]),
    }


@pytest.mark.parametrize("case", FEATURE_ENGINE)
@pytest.mark.parametrize("seed", [0, 1])
def test_feature_engine(case: str, seed: int, tmp_path: Any) -> None:
    columns, steps = FEATURE_ENGINE[case]
    frame = training_rows(seed)[columns]
    if case == "rare_codes" and NEW:
        assert frame["code"].dtype == object
    pipeline = fit(steps, frame)
    require_parity(pipeline, frame, exported(pipeline, frame, tmp_path), seed=seed)


@pytest.mark.skipif(not NEW, reason="feature-engine 1.5 knows no missing_values")
def test_missing_raises_after_all(tmp_path: Any) -> None:
    frame = training_rows()[["depth", "zone"]]
    pipeline = fit([("e", OrdinalEncoder(encoding_method="arbitrary", missing_values="ignore", unseen="raise"))], frame)
    directory = exported(pipeline, frame, tmp_path, fields={"zone": {"nullable": True}})
    assert {"field": "zone", "code": "missing_value"} in [line.get("error") for line in helpers.golden(directory)]
    require_parity(pipeline, frame, directory)


NUMERIC = {
    "standard": StandardScaler(),
    "standard_without_mean": StandardScaler(with_mean=False),
    "standard_without_std": StandardScaler(with_std=False),
    "min_max": MinMaxScaler(feature_range=(-2, 5)),
    "min_max_clipped": MinMaxScaler(clip=True),
    "max_abs": MaxAbsScaler(),
    "robust": RobustScaler(),
    "robust_unit_variance": RobustScaler(with_centering=False, unit_variance=True),
    "robust_centred": RobustScaler(with_scaling=False),
    "binarizer": Binarizer(threshold=0.5),
    "identity": FunctionTransformer(),
    "tanh": FunctionTransformer(np.tanh),
    "cbrt_validated": FunctionTransformer(np.cbrt, validate=True),
    "square": FunctionTransformer(np.square),
    "negative": FunctionTransformer(np.negative),
    "sign": FunctionTransformer(np.sign),
    "log": FunctionTransformer(np.log),
    "passthrough": "passthrough",
    "nothing": None,
}
if NEW:
    NUMERIC["max_abs_clipped"] = MaxAbsScaler(clip=True)


@pytest.mark.parametrize("case", NUMERIC)
def test_scikit_learn_on_numbers(case: str, tmp_path: Any) -> None:
    columns = ["area"] if case == "log" else NUMBERS
    frame = training_rows()[columns]
    pipeline = fit([("step", NUMERIC[case])], frame)
    # Squares of huge numbers reach 1e38, where the order of a sum shows.
    require_parity(pipeline, frame, exported(pipeline, frame, tmp_path), relative=1e-7)


@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
@pytest.mark.parametrize("indicator", [False, True])
def test_simple_imputer(strategy: str, indicator: bool, tmp_path: Any) -> None:
    frame = training_rows()[GAPS]
    imputer = SimpleImputer(strategy=strategy, add_indicator=indicator)
    pipeline = fit([("impute", imputer), ("scale", StandardScaler())], frame)
    require_parity(pipeline, frame, exported(pipeline, frame, tmp_path), relative=1e-7)


@pytest.mark.skipif(
    not NEW, reason="scikit-learn 1.2 refuses a column without any value at prediction, one row at a time"
)
def test_simple_imputer_drops_what_was_never_seen(tmp_path: Any) -> None:
    frame = training_rows()[GAPS].assign(empty=np.nan)
    pipeline = fit([("impute", SimpleImputer())], frame)
    directory = exported(pipeline, frame, tmp_path, fields={"empty": {"type": "float"}})
    assert "empty" not in manifest(directory)["features"]
    require_parity(pipeline, frame, directory)


def mixed_transformer(**options: Any) -> ColumnTransformer:
    return ColumnTransformer(
        [
            ("num", Pipeline([("fill", SimpleImputer()), ("scale", StandardScaler())]), ["front", "area"]),
            ("log", FunctionTransformer(np.log), ["area"]),
            ("flag", Binarizer(threshold=2), ["count"]),
            ("skip", "drop", ["year"]),
            ("text", SklearnOrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["zone", "style"]),
            ("same", "passthrough", ["depth"]),
        ],
        **options,
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"remainder": "passthrough"},
        {"remainder": StandardScaler()},
        {"transformer_weights": {"num": 2.0, "same": -0.5}},
        {"verbose_feature_names_out": True},
    ],
    ids=lambda options: next(iter(options), "plain"),
)
@pytest.mark.parametrize("pandas_out", [False, True])
def test_column_transformer(options: dict[str, Any], pandas_out: bool, tmp_path: Any) -> None:
    frame = training_rows()[[*GAPS, "zone", "style"]]
    transformer = mixed_transformer(**options)
    if pandas_out:
        transformer.set_output(transform="pandas")
    pipeline = fit([("columns", transformer), ("scale", MaxAbsScaler())], frame)
    directory = exported(pipeline, frame, tmp_path)
    assert len(set(manifest(directory)["features"])) == len(manifest(directory)["features"])
    require_parity(pipeline, frame, directory, relative=1e-7)


@pytest.mark.parametrize(
    "columns",
    [[0, 3], slice(0, 3), [True, False, False, True, True], ["area", "count"], slice("year", "area"), [-1]],
    ids=str,
)
def test_column_transformer_selections(columns: Any, tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    pipeline = fit(
        [("columns", ColumnTransformer([("some", MinMaxScaler(), columns)], remainder="passthrough"))], frame
    )
    require_parity(pipeline, frame, exported(pipeline, frame, tmp_path))


def test_nested_column_transformers(tmp_path: Any) -> None:
    frame = training_rows()[[*NUMBERS, "zone"]]
    inner = ColumnTransformer([("one", StandardScaler(), ["area"]), ("two", MinMaxScaler(), ["depth", "area"])])
    outer = ColumnTransformer(
        [("inner", inner, ["depth", "area"]), ("zone", OneHotEncoder(handle_unknown="ignore"), ["zone"])],
        remainder="passthrough",
    )
    pipeline = fit(
        [("outer", Pipeline([("columns", outer), ("scale", MaxAbsScaler())]))], frame, estimator=Ridge(solver="lsqr")
    )
    directory = exported(pipeline, frame, tmp_path)
    assert {step["name"] for step in manifest(directory)["pipeline"]} >= {"outer/columns/inner/two", "outer/scale"}
    require_parity(pipeline, frame, directory)


@pytest.mark.parametrize("handle_unknown", ["ignore", "error"])
@pytest.mark.parametrize("drop", [None, "first", "if_binary"])
def test_one_hot_encoder(handle_unknown: str, drop: Any, tmp_path: Any) -> None:
    frame = training_rows()[["depth", "zone", "style", "count"]]
    encoder = OneHotEncoder(handle_unknown=handle_unknown, drop=drop)
    columns = ColumnTransformer([("cat", encoder, ["zone", "style", "count"])], remainder="passthrough")
    # A ridge, because the columns of a one-hot encoding add up.
    pipeline = fit([("columns", columns)], frame, estimator=Ridge(solver="lsqr"))
    require_parity(pipeline, frame, exported(pipeline, frame, tmp_path))


def test_scikit_learn_ordinal_encoder_refuses_the_unseen(tmp_path: Any) -> None:
    frame = training_rows()[["depth", "zone"]]
    columns = ColumnTransformer([("zone", SklearnOrdinalEncoder(), ["zone"])], remainder="passthrough")
    pipeline = fit([("columns", columns)], frame)
    directory = exported(pipeline, frame, tmp_path)
    require_parity(pipeline, frame, directory)
    assert {"field": "zone", "code": "unseen_category"} in [line.get("error") for line in helpers.golden(directory)]


def test_feature_engine_after_an_array(tmp_path: Any) -> None:
    # Behind a step that gives an array, feature-engine calls the columns x0, x1, …
    frame = training_rows()[["area", "year"]]
    pipeline = fit([("array", FunctionTransformer(np.sqrt, validate=True)), ("log", LogTransformer())], frame)
    require_parity(pipeline, frame, exported(pipeline, frame, tmp_path))


def test_checks_stand_before_what_they_protect(tmp_path: Any) -> None:
    frame = training_rows()[["area", "depth"]]
    pipeline = fit([("log", LogTransformer(variables=["area"])), ("scale", StandardScaler())], frame)
    directory = exported(pipeline, frame, tmp_path)
    assert ops(directory) == ["check", "function", "check", "affine", "check"]
    steps = manifest(directory)["pipeline"]
    assert steps[0]["refuse"] == ["missing", "infinite", "not_positive"]
    assert steps[2]["refuse"] == ["infinite"]
    assert steps[4]["refuse"] == ["missing", "infinite"]


def test_the_integers_of_years_wrap_as_in_numpy(tmp_path: Any) -> None:
    frame = training_rows()[["count", "depth"]]
    pipeline = fit([("square", FunctionTransformer(np.square))], frame)
    directory = exported(pipeline, frame, tmp_path)
    row = {"count": 2**62 + 3, "depth": 1.0}
    expected = helpers.python_answer(pipeline, row, frame.dtypes.to_dict())
    (answer,) = helpers.reference.open_artifact(directory).run([row])
    assert answer["output"]["prediction"] == pytest.approx(expected[0], rel=1e-9)
    assert "combine" in ops(directory)


@pytest.mark.parametrize("dtype", ["category", "string", "object"])
def test_texts_of_every_type(dtype: str, tmp_path: Any) -> None:
    frame = training_rows()[["depth", "zone"]].astype({"zone": dtype})
    plain = frame.astype({"zone": object})
    steps = [
        ("e", OrdinalEncoder(encoding_method="arbitrary", variables=["zone"], ignore_format=True, unseen="encode"))
    ]
    pipeline = fit(steps, plain if dtype == "string" and not NEW else frame)
    directory = exported(pipeline, frame, tmp_path)
    require_parity(pipeline, frame, directory, frame_types=plain)


@pytest.mark.parametrize("dtype", ["Int64", "Float64"])
def test_numbers_that_may_be_missing(dtype: str, tmp_path: Any) -> None:
    frame = training_rows()[["depth", "front"]]
    frame = frame.assign(front=frame["front"].astype(dtype))
    pipeline = fit(
        [("impute", ColumnTransformer([("i", SimpleImputer(strategy="median"), ["depth", "front"])]))], frame
    )
    directory = exported(pipeline, frame, tmp_path)
    assert manifest(directory)["inputs"][1]["type"] == dtype[:-2].lower()
    require_parity(pipeline, frame, directory)


def test_integers_with_missing_values_compute_as_floats(tmp_path: Any) -> None:
    frame = training_rows()[["depth", "front"]]
    pipeline = fit([("square", FunctionTransformer(np.square)), ("impute", SimpleImputer())], frame)
    directory = exported(pipeline, frame, tmp_path, fields={"front": {"type": "int"}})
    assert manifest(directory)["inputs"][1]["type"] == "int"
    require_parity(pipeline, frame, directory)


def test_booleans(tmp_path: Any) -> None:
    frame = training_rows()[["depth", "new"]]
    pipeline = fit([("scale", StandardScaler())], frame)
    directory = exported(pipeline, frame, tmp_path)
    assert manifest(directory)["inputs"][1] == {
        "name": "new", "type": "bool", "nullable": False, "required": True, "example": bool(frame["new"].mode()[0]),
    }  # fmt: skip
    require_parity(pipeline, frame, directory)


def test_an_array_after_scaling_keeps_the_names(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    pipeline = fit([("scale", StandardScaler()), ("again", MinMaxScaler())], frame)
    assert manifest(exported(pipeline, frame, tmp_path))["features"] == NUMBERS


def test_pandas_makes_integers_of_objects_only_in_the_new_generation() -> None:
    # What house-prices 3.3.0 has to say `ignore_format` for; should it change, so should that script.
    frame = pd.DataFrame({"code": pd.Series([20, 60], dtype=object), "text": ["a", "a"]})
    after = CategoricalImputer(imputation_method="frequent", variables=["text"]).fit_transform(frame)
    assert (after["code"].dtype == object) != NEW
