"""Cases of scikit-learn's encoders."""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn.preprocessing
from sklearn.preprocessing import LabelBinarizer, LabelEncoder, MultiLabelBinarizer, OneHotEncoder, OrdinalEncoder

from .draw import Draw
from .harness import Case, parity


def _given(draw: Draw, train: Any, *, extra: bool) -> Any:
    """Categories as a user may give them: those of the training rows and a few more, numbers sorted."""
    given = []
    for name in train:
        values = list(train[name].dropna().unique())
        if extra and values and draw.chance():
            values += [max(values) + 3] if not isinstance(values[0], str) else ["given, not seen"]
        numbers = values and not isinstance(values[0], str)
        values = sorted(values) if numbers else draw.sample(values, len(values))
        if train[name].isna().any():
            values.append(float("nan"))
        given.append(values)
    return given


@parity("sklearn.preprocessing.OneHotEncoder", family="encode")
def one_hot_encoder(draw: Draw) -> Case:
    train, test = draw.category_frames(missing=draw.choice([0.0, 0.0, 0.1, 0.3]), unseen=0.15, integers=0.2)
    if draw.chance(0.15):
        train["number"], test["number"] = draw.floats(missing=0.1, extremes=False)
    options: dict[str, Any] = {}
    options["handle_unknown"] = draw.choice(["error", "ignore", "infrequent_if_exist"])
    if "feature_name_combiner" in OneHotEncoder().get_params() and draw.chance(0.1):
        options["handle_unknown"] = "warn" if hasattr(OneHotEncoder, "__sklearn_tags__") else "ignore"
    options["drop"] = draw.choice([None, None, "first", "if_binary"])
    if draw.chance(0.3):
        options["min_frequency"] = draw.choice([1, 2, 3, 0.1, 0.3])
    if draw.chance(0.3):
        options["max_categories"] = draw.integer(1, 4)
    if draw.chance(0.2):
        options["categories"] = _given(draw, train, extra=True)
    if draw.chance(0.1) and "categories" not in options:
        options["drop"] = [draw.choice(list(train[name].unique())) for name in train]
    if draw.chance(0.2):
        options["dtype"] = draw.choice(["int64", "float32", "int8"])
    options["sparse_output"] = draw.chance()
    # A missing value and the string of its name give two columns of one name, which an artifact tells apart.
    return Case(
        OneHotEncoder(**options),
        train,
        test,
    )


@parity("sklearn.preprocessing.OrdinalEncoder", family="encode")
def ordinal_encoder(draw: Draw) -> Case:
    train, test = draw.category_frames(missing=draw.choice([0.0, 0.0, 0.1, 0.3]), unseen=0.15, integers=0.2)
    if draw.chance(0.15):
        train["number"], test["number"] = draw.floats(missing=0.1, extremes=False)
    options: dict[str, Any] = {}
    if draw.chance(0.6):
        options.update(handle_unknown="use_encoded_value", unknown_value=draw.choice([-1, float("nan"), 99]))
    if draw.chance(0.4):
        options["encoded_missing_value"] = draw.choice([-2, 77])
    if "max_categories" in OrdinalEncoder().get_params():
        if draw.chance(0.3):
            options["max_categories"] = draw.integer(1, 4)
        if draw.chance(0.3):
            options["min_frequency"] = draw.choice([1, 2, 3, 0.1, 0.3])
    if draw.chance(0.2):
        options["categories"] = _given(draw, train, extra=True)
    return Case(OrdinalEncoder(**options), train, test)


@parity("sklearn.preprocessing.TargetEncoder", family="encode", generations=("current",))
def target_encoder(draw: Draw) -> Case:
    kind = draw.choice(["binary", "float", "multiclass"])
    draw.rows(13)
    train, test = draw.category_frames(missing=draw.choice([0.0, 0.1, 0.3]), unseen=0.2, integers=0.2)
    y = draw.target(kind)
    if kind == "multiclass" and draw.chance():
        y = y.map({0: "b", 1: "a", 2: "c"})
    smooth = draw.choice(["auto", 0.0, 1.0, 12.5])
    kinds = {"binary": "binary", "float": "continuous", "multiclass": "multiclass"}
    encoder = sklearn.preprocessing.TargetEncoder(smooth=smooth, target_type=draw.choice(["auto", kinds[kind]]))
    return Case(encoder, train, test, y=y)


def _one(step: Any, frame: Any) -> Any:
    return step.transform(frame.iloc[:, 0])


def _fit_one(step: Any, frame: Any, _: Any) -> Any:
    return step.fit(frame.iloc[:, 0])


@parity("sklearn.preprocessing.LabelEncoder", family="encode")
def label_encoder(draw: Draw) -> Case:
    train, test = draw.category_frames(1, 1, unseen=0.15, integers=0.3)
    return Case(LabelEncoder(), train, test, fit=_fit_one, transform=_one)


@parity("sklearn.preprocessing.LabelBinarizer", family="encode")
def label_binarizer(draw: Draw) -> Case:
    train, test = draw.category_frames(1, 1, unseen=0.15, integers=0.3)
    low, high = draw.choice([(0, 1), (-1, 1), (0, 5)])
    binarizer = LabelBinarizer(neg_label=low, pos_label=high)
    return Case(binarizer, train, test, fit=_fit_one, transform=_one)


@parity("sklearn.preprocessing.MultiLabelBinarizer", family="encode")
def multi_label_binarizer(draw: Draw) -> Case:
    """Of a column of strings each is the set of its characters; unknown ones are left out, with a warning."""
    train, test = draw.category_frames(1, 1, missing=0.0, unseen=0.3)
    if draw.chance(0.3):
        test.iloc[0, 0] = np.nan
    binarizer = MultiLabelBinarizer(sparse_output=draw.chance(0.3))
    return Case(binarizer, train, test, fit=_fit_one, transform=_one)
