"""The schema that is derived from a frame, and what overrides make of it."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from seaworthy_export import SchemaError, rows_to_frame
from seaworthy_export.profile import category_profile, number_profile
from seaworthy_export.schema import derive_schema

NA = pd.NA


def field(values: Any, dtype: Any = None, **overrides: Any) -> dict[str, Any]:
    frame = pd.DataFrame({"x": pd.Series(values, dtype=dtype)})
    spec = derive_schema(frame, ["x"], {"x": overrides} if overrides else None).fields[0]
    assert spec.pop("name") == "x"
    return spec


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([1, 2, 3], "int64", ("int", False)),
        ([1, 2, 3], "int8", ("int", False)),
        ([1, 2, 3], "uint32", ("int", False)),
        ([1, NA, 3], "Int64", ("int", True)),
        ([1.5, 2.0], "float64", ("float", False)),
        ([1.5, np.nan], "float32", ("float", True)),
        ([1.5, NA], "Float64", ("float", True)),
        ([1.0, 2.0], "float64", ("float", False)),
        ([True, False], "bool", ("bool", False)),
        ([True, NA], "boolean", ("bool", True)),
        ([True, None], "object", ("bool", True)),
        (["a", "b"], "object", ("string", False)),
        (["a", None], "object", ("string", True)),
        (["a", np.nan], "object", ("string", True)),
        (["a", NA], "string", ("string", True)),
        (["a", "b"], "category", ("string", False)),
        (["a", None], "category", ("string", True)),
        ([1, 2], "category", ("int", False)),
        ([1.5, 2], "category", ("float", False)),
        ([1, 2], "object", ("int", False)),
        ([np.int32(1), 2, None], "object", ("int", True)),
        ([1, 2.5], "object", ("float", False)),
    ],
)
def test_types(values: Any, dtype: str, expected: tuple[str, bool]) -> None:
    spec = field(values, dtype)
    assert (spec["type"], spec["nullable"]) == expected
    assert spec["required"] is not expected[1]


def test_numbers() -> None:
    assert field([3, 1, 2, 2]) == {
        "type": "int", "nullable": False, "required": True, "minimum": 1, "maximum": 3, "example": 2,
    }  # fmt: skip
    spec = field([0.5, np.nan, -1e300, 7.0])
    assert (spec["minimum"], spec["maximum"], spec["example"]) == (-1e300, 7.0, 0.5)
    assert field([2**53 + 1, 2**53 + 1])["maximum"] == 2**53 + 1


def test_texts_have_sorted_categories_and_a_frequent_example() -> None:
    spec = field(["b", "a", "b", None, "C"])
    assert spec["categories"] == ["C", "a", "b"]
    assert spec["example"] == "b"


def test_integers_are_categories_only_when_they_are_objects_or_categorical() -> None:
    assert "categories" not in field([20, 60])
    assert field([20, 60, 20], "object")["categories"] == [20, 60]
    assert field([60, 20, 20], "category")["categories"] == [20, 60]


def test_too_many_categories_are_left_out() -> None:
    assert len(field([f"{i:04}" for i in range(1000)])["categories"]) == 1000
    assert "categories" not in field([str(i) for i in range(1001)])


def test_overrides() -> None:
    spec = field(
        [1, 2, 3], type="float", nullable=True, default=2, minimum=0, maximum=None, enforce=True, description="d",
        example=9.5, aliases=["y"],
    )  # fmt: skip
    assert spec == {
        "type": "float", "nullable": True, "required": False, "default": 2.0, "aliases": ["y"], "minimum": 0.0,
        "example": 9.5, "enforce": True, "description": "d",
    }  # fmt: skip
    assert field([1.0, np.nan, 3.0], type="int")["maximum"] == 3
    assert field([1, 2], type="string")["categories"] == ["1", "2"]
    assert field(["b", "a"], categories=["z", "b"])["categories"] == ["b", "z"]
    assert "categories" not in field(["b", "a"], categories=None)
    assert "example" not in field(["b", "a"], sensitive=True)
    assert field([np.nan, np.nan], type="float") == {"type": "float", "nullable": True, "required": False}


def test_dates_are_fields() -> None:
    days = [datetime.datetime(2020, 1, 1), None, datetime.datetime(2020, 1, 2, 3, 4, 5)]
    assert field(days) == {"type": "datetime", "nullable": True, "required": False, "example": "2020-01-01"}
    zoned = pd.Series(days).dt.tz_localize("Europe/Berlin")
    assert field(zoned)["example"] == "2019-12-31T23:00:00Z"


@pytest.mark.parametrize(
    ("values", "overrides", "message"),
    [
        ([1.5, 2.0], {"type": "int"}, "is said to be int, and holds 1.5"),
        (["5", "6"], {"type": "int"}, "strings are never parsed as numbers"),
        ([1, 0], {"type": "bool"}, r"convert the column with astype\(bool\)"),
        ([1, 2], {"type": "image"}, "this version exports the types int, float, string, bool, datetime"),
        ([1, 2], {"type": "datetime"}, "is said to be datetime, and holds int"),
        ([1, 2], {"typ": "int"}, "no such key: typ"),
        ([1, 2], {"example": 1.5}, "is int, so its `example` cannot be 1.5"),
        ([1, 2], {"default": "a"}, "is int, so its `default` cannot be 'a'"),
        (["a"], {"minimum": 1}, "`minimum` is for int and float"),
        ([1, 2], {"required": False}, "neither required nor nullable, and has no default"),
        ([1, "a"], {}, r"several types: int \(1\), string \('a'\)"),
        ([None, None], {}, "nothing but missing values"),
        ([(1, 2)], {}, r"\(a tuple\), which no field can hold"),
        ([datetime.timedelta(days=1)], {}, "which no field can have"),
        ([1j], {}, "which no field can have"),
    ],
)
def test_what_makes_no_field(values: Any, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        field(values, **overrides)


def test_names_are_checked() -> None:
    frame = pd.DataFrame({"area": [1], "depth": [2]})
    with pytest.raises(SchemaError, match="fields: `Area` is no column that the pipeline takes; did you mean area"):
        derive_schema(frame, ["area", "depth"], {"Area": {}})
    with pytest.raises(SchemaError, match="aliases: `x` is no column"):
        derive_schema(frame, ["area", "depth"], aliases={"y": "x"})
    with pytest.raises(SchemaError, match="`depth` is a name or an alias of both `area` and `depth`"):
        derive_schema(frame, ["area", "depth"], aliases={"depth": "area"})


def test_the_frame_keeps_the_types_that_the_pipeline_was_fitted_on() -> None:
    frame = pd.DataFrame(
        {
            "small": pd.Series([1, 2], dtype="int8"),
            "half": pd.Series([1.5, 2], dtype="float32"),
            "code": pd.Series([20, 60], dtype=object),
            "text": pd.Series(["a", None], dtype=object),
            "kind": pd.Series(["a", "b"], dtype="category"),
            "maybe": pd.Series([1, None], dtype="Int64"),
        }
    )
    schema = derive_schema(frame, list(frame))
    assert schema.frame["small"].dtype == "int64"
    assert schema.frame["half"].dtype == "float64"
    assert schema.frame["code"].dtype == object
    assert isinstance(schema.frame["code"].iloc[0], int)
    assert not isinstance(schema.frame["kind"].dtype, pd.CategoricalDtype)
    assert schema.frame["maybe"].dtype == "Int64"
    assert schema.row(1) == {"small": 2, "half": 2.0, "code": 60, "text": None, "kind": "b", "maybe": None}
    pd.testing.assert_frame_equal(schema.frame_of([schema.row(0), schema.row(1)]), schema.frame)


def test_rows_to_frame() -> None:
    dtypes = {"n": np.dtype("int64"), "x": np.dtype("float64"), "t": np.dtype(object)}
    frame = rows_to_frame([{"n": 2**62 + 1, "x": 1, "t": "a"}, {"n": 5, "x": None, "t": None}], dtypes)
    assert frame["n"].tolist() == [2**62 + 1, 5]
    assert frame.dtypes.astype(str).tolist() == ["int64", "float64", "object"]
    assert frame["t"].isna().tolist() == [False, True]
    assert rows_to_frame([{"n": None, "x": 1, "t": "a"}], dtypes)["n"].dtype == "float64"


# --- profiles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_bins_hold_every_number_once(seed: int) -> None:
    chance = np.random.default_rng(seed)
    samples = [
        chance.normal(size=1000),
        np.where(chance.random(1000) < 0.9, 0.0, chance.exponential(100, 1000)),
        chance.integers(0, 12, 1000).astype(float),
        chance.integers(0, 500, 300).astype(float),
        np.array([5.0, 5.0]),
        np.array([0.0, 5e-324, 1.7e308, -1.7e308]),
    ]
    for values in samples:
        profile = number_profile(values)
        edges, counts = profile["edges"], profile["counts"]
        assert len(edges) == len(counts) + 1 <= 21
        assert (edges[0], edges[-1]) == (values.min(), values.max())
        assert edges == sorted(edges)
        expected = [
            sum((low < v <= high) or (i == 0 and v == low) for v in values.tolist())
            for i, (low, high) in enumerate(zip(edges, edges[1:]))
        ]
        assert counts == expected
        assert sum(counts) == len(values)


def test_a_heavy_minimum_has_a_bin_of_its_own() -> None:
    profile = number_profile(np.array([0.0] * 90 + list(range(1, 61))))
    assert profile["counts"][0] == 90
    assert number_profile(np.array([0.0] * 9 + [1.0]))["counts"] == [9, 1]


def test_profiles_of_nothing_and_of_much() -> None:
    empty = number_profile(np.array([np.nan, np.inf]))
    assert (empty["missing"], empty["edges"], empty["mean"]) == (2, [], None)
    many = category_profile([str(i % 150) for i in range(300)] + ["0", None])
    assert (many["values"][0], many["counts"][0], len(many["values"])) == ("0", 3, 100)
    assert (many["missing"], many["other"]) == (1, 100)
