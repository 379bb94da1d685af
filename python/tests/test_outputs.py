"""What an estimator predicts, as the manifest has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.svm import SVC

from seaworthy_export.errors import ExportError
from seaworthy_export.outputs import describe

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
BINARY = (X[:, 0] > 0).astype(int)
SEVERAL = np.column_stack([X[:, 0] > 0, X[:, 1] > 0.2]).astype(int)
TERNARY = np.array(["low", "middle", "top"])[np.digitize(X[:, 0], [-0.5, 0.5])]


def same(numbers: Any) -> Any:
    return numbers


@pytest.mark.parametrize(
    ("estimator", "target", "kind", "labels", "names", "task"),
    [
        (LinearRegression(), X[:, 0], "prediction", None, None, "regression"),
        (LinearRegression(), X[:, :2], "prediction", None, ["output_0", "output_1"], "regression"),
        (LogisticRegression(), BINARY, "probabilities", [0, 1], None, "binary_classification"),
        (LogisticRegression(), TERNARY, "probabilities", ["low", "middle", "top"], None, "multiclass_classification"),
        (RidgeClassifier(), TERNARY, "label", ["low", "middle", "top"], None, "multiclass_classification"),
        (SVC(), BINARY, "label", [0, 1], None, "binary_classification"),
        (KMeans(4, n_init=1, random_state=0), None, "label", [0, 1, 2, 3], None, "other"),
        (IsolationForest(n_estimators=5, random_state=0), None, "label", [-1, 1], None, "other"),
        (OneVsRestClassifier(LogisticRegression()), SEVERAL, "multilabel", [0, 1], None, "multilabel"),
        (
            MultiOutputClassifier(LogisticRegression()),
            SEVERAL,
            "multilabel",
            ["output_0", "output_1"],
            None,
            "multilabel",
        ),
        (RandomForestClassifier(5), SEVERAL, "multilabel", ["output_0", "output_1"], None, "multilabel"),
    ],
)
def test_kind_labels_and_names(estimator: Any, target: Any, kind: str, labels: Any, names: Any, task: str) -> None:
    estimator.fit(X, target) if target is not None else estimator.fit(X)
    found = describe(estimator, X)
    assert (found.kind, found.labels, found.names, found.task) == (kind, labels, names, task)
    tensor = found.tensor(estimator, X)
    assert tensor.shape == (len(X), found.width)
    predictions, probabilities = found.answers(estimator, X, same)
    own = estimator.predict(X)
    if kind == "label":
        assert [found.labels[i] for i in tensor.ravel()] == own.tolist() == predictions  # type: ignore[index]
    elif kind == "multilabel":
        assert predictions == [[label for label, yes in zip(labels, row) if yes] for row in own]
        assert probabilities is not None
    else:
        assert predictions == own.tolist()
    assert list(found.spec(["t", "l"], None, None)) == [kind]


def test_names_are_those_that_are_given() -> None:
    fitted = LinearRegression().fit(X, X[:, :2])
    found = describe(fitted, X, ["a", "b"])
    assert found.spec(["y"], None, None) == {"prediction": {"tensor": "y", "names": ["a", "b"]}}
    fitted = MultiOutputClassifier(LogisticRegression()).fit(X, SEVERAL)
    assert describe(fitted, X, ["a", "b"]).keys == ["a", "b"]
    with pytest.raises(ExportError, match="predicts 2 value"):
        describe(fitted, X, ["a"])
    with pytest.raises(ExportError, match="predicts 1 value"):
        describe(LinearRegression().fit(X, X[:, 0]), X, ["a"])


def test_outputs_of_several_classes_each_are_refused() -> None:
    target = np.column_stack([TERNARY, TERNARY])
    with pytest.raises(ExportError, match="not all of them yes or no"):
        describe(RandomForestClassifier(3).fit(X, target), X)


def test_the_most_probable_labels() -> None:
    found = describe(LogisticRegression().fit(X, TERNARY), X)
    assert found.spec(["p"], None, 2)["probabilities"]["top_k"] == 2
    for threshold, top_k, message in ((0.5, None, "two classes"), (None, 4, "from 1 to")):
        with pytest.raises(ExportError, match=message):
            found.spec(["p"], threshold, top_k)
    with pytest.raises(ExportError, match="top_k is for classifiers with probabilities"):
        describe(SVC().fit(X, BINARY), X).spec(["l"], None, 1)
