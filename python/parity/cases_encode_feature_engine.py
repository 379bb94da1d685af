"""Cases of feature-engine's encoders."""

from __future__ import annotations

from typing import Any

import feature_engine.encoding as encoding
import pandas as pd
from feature_engine.wrappers import SklearnTransformerWrapper
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from .draw import Draw
from .harness import Case, parity

Frames = tuple[pd.DataFrame, pd.DataFrame]


def _frames(draw: Draw, options: dict[str, Any], *, missing: bool = True, dtype: str | None = None) -> Frames:
    """Categories, sometimes with a number beside them that is left alone, sometimes with numbers as categories."""
    share = draw.choice([0.0, 0.0, 0.15])
    train, test = draw.category_frames(missing=share if missing else 0.0, unseen=0.15, dtype=dtype)
    if draw.chance(0.2):
        train["number"], test["number"] = draw.floats()
    elif draw.chance(0.25):
        train["code"], test["code"] = draw.categories(integers=1.0, missing=share if missing else 0.0)
        options["ignore_format"] = True
    if draw.chance(0.3):
        options["variables"] = draw.sample(list(train.columns), draw.integer(1, train.shape[1]))
        if "number" in options["variables"]:
            options["ignore_format"] = True
    return train, test


def _missing(draw: Draw, options: dict[str, Any], encoder: type) -> None:
    if "missing_values" in encoder().get_params():
        options["missing_values"] = draw.choice(["raise", "ignore", "ignore"])


def _made(encoder: type, options: dict[str, Any]) -> Any:
    """Until feature-engine 1.3 `unseen` was called `errors`, or was not there; nor was `ignore_format` in 1.0."""
    known = encoder().get_params()
    if "ignore_format" not in known:
        options.pop("ignore_format", None)
    if "unseen" not in known:
        unseen = options.pop("unseen", "ignore")
        if "errors" in known and unseen != "encode":
            options["errors"] = unseen
    return encoder(**options)


@parity("feature_engine.encoding.OneHotEncoder", family="encode")
def one_hot_encoder(draw: Draw) -> Case:
    options: dict[str, Any] = {"drop_last": draw.chance(0.3), "drop_last_binary": draw.chance(0.3)}
    if draw.chance(0.3):
        options.update(top_categories=draw.integer(1, 4), drop_last=False)
    train, test = _frames(draw, options, missing=draw.chance(0.2))
    return Case(_made(encoding.OneHotEncoder, options), train, test)


@parity("feature_engine.encoding.OrdinalEncoder", family="encode")
def ordinal_encoder(draw: Draw) -> Case:
    method = draw.choice(["arbitrary", "ordered"])
    options: dict[str, Any] = {"encoding_method": method, "unseen": draw.choice(["ignore", "raise", "encode"])}
    _missing(draw, options, encoding.OrdinalEncoder)
    train, test = _frames(draw, options)
    return Case(_made(encoding.OrdinalEncoder, options), train, test, y=draw.target())


@parity("feature_engine.encoding.CountFrequencyEncoder", family="encode")
def count_frequency_encoder(draw: Draw) -> Case:
    options: dict[str, Any] = {
        "encoding_method": draw.choice(["count", "frequency"]), "unseen": draw.choice(["ignore", "raise", "encode"])
    }  # fmt: skip
    _missing(draw, options, encoding.CountFrequencyEncoder)
    train, test = _frames(draw, options)
    return Case(_made(encoding.CountFrequencyEncoder, options), train, test)


@parity("feature_engine.encoding.MeanEncoder", family="encode")
def mean_encoder(draw: Draw) -> Case:
    options: dict[str, Any] = {"unseen": draw.choice(["ignore", "raise", "encode"])}
    if "smoothing" in encoding.MeanEncoder().get_params():
        options["smoothing"] = draw.choice([0.0, "auto", 2, 7.5])
    _missing(draw, options, encoding.MeanEncoder)
    train, test = _frames(draw, options)
    return Case(_made(encoding.MeanEncoder, options), train, test, y=draw.target(draw.choice(["float", "binary"])))


@parity("feature_engine.encoding.WoEEncoder", family="encode")
def woe_encoder(draw: Draw) -> Case:
    options: dict[str, Any] = {"unseen": draw.choice(["ignore", "raise"])}
    if "fill_value" in encoding.WoEEncoder().get_params() and draw.chance(0.7):
        options["fill_value"] = draw.choice([0.5, 0.01, 1])
    draw.rows(40)
    train, test = _frames(draw, options, missing=False)
    return Case(_made(encoding.WoEEncoder, options), train, test, y=draw.target("binary"))


@parity("feature_engine.encoding.DecisionTreeEncoder", family="encode")
def decision_tree_encoder(draw: Draw) -> Case:
    regression = draw.chance()
    options: dict[str, Any] = {
        "encoding_method": draw.choice(["arbitrary", "ordered"]), "cv": 2, "regression": regression,
        "scoring": "neg_mean_squared_error" if regression else "accuracy", "random_state": 0,
    }  # fmt: skip
    if "unseen" in encoding.DecisionTreeEncoder().get_params():
        options["unseen"] = draw.choice(["ignore", "raise", "encode"])
        if options["unseen"] == "encode":
            options["fill_value"] = draw.choice([0.0, -1.5])
    if "precision" in encoding.DecisionTreeEncoder().get_params() and draw.chance(0.3):
        options["precision"] = draw.integer(1, 3)
    draw.rows(20)
    train, test = _frames(draw, options, missing=False)
    return Case(
        _made(encoding.DecisionTreeEncoder, options), train, test, y=draw.target("float" if regression else "binary")
    )


@parity("feature_engine.encoding.RareLabelEncoder (other options)", family="encode")
def rare_label_encoder(draw: Draw) -> Case:
    options: dict[str, Any] = {"tol": draw.choice([0.0, 0.05, 0.2, 0.4]), "n_categories": draw.integer(1, 4)}
    if draw.chance(0.3):
        options["max_n_categories"] = draw.integer(1, 4)
    options["replace_with"] = draw.choice(["Rare", "Rare", "", "Été", 0, 3.5])
    _missing(draw, options, encoding.RareLabelEncoder)
    # pandas 3 refuses to write a number into its strings.
    train, test = _frames(draw, options, dtype=None if isinstance(options["replace_with"], str) else "object")
    return Case(_made(encoding.RareLabelEncoder, options), train, test)


if hasattr(encoding, "PRatioEncoder"):  # until feature-engine 1.3

    @parity("feature_engine.encoding.PRatioEncoder", family="encode", generations=("2023",))
    def p_ratio_encoder(draw: Draw) -> Case:
        options: dict[str, Any] = {"encoding_method": draw.choice(["ratio", "log_ratio"])}
        draw.rows(40)
        train, test = _frames(draw, options, missing=False)
        options["unseen"] = draw.choice(["ignore", "raise"])
        return Case(_made(encoding.PRatioEncoder, options), train, test, y=draw.target("binary"))


@parity("feature_engine.wrappers.SklearnTransformerWrapper (encoders)", family="encode")
def wrapped_encoder(draw: Draw) -> Case:
    train, test = draw.category_frames(missing=draw.choice([0.0, 0.0, 0.15]), unseen=0.15)
    if draw.chance():
        train["number"], test["number"] = draw.floats()
    if draw.chance():
        inner: Any = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    else:
        inner = OneHotEncoder(sparse_output=False, handle_unknown=draw.choice(["error", "ignore"]), dtype="int64")
    names = [name for name in train if name != "number"]
    variables = draw.sample(names, draw.integer(1, len(names)))
    return Case(SklearnTransformerWrapper(transformer=inner, variables=variables), train, test)
