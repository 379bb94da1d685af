"""What an estimator predicts: which kind of `outputs` the manifest gets, and what Python says of rows.

The kinds are those of docs/artifact.md, 1.4: `prediction` (one number, or several with names), `probabilities`, `label`
and `multilabel`. A graph gives its answer as one tensor, of the name of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray

from .errors import ExportError
from .values import class_name, json_scalar

MULTILABEL_THRESHOLD = 0.5
Array = NDArray[Any]


@dataclass(frozen=True)
class Outputs:
    """The kind of an estimator's predictions, with its labels or names."""

    kind: str
    labels: list[Any] | None = None
    """In the order of the columns, or of the indices, of the tensor."""
    names: list[str] | None = None
    """Of several numbers."""
    is_supervised: bool = True
    """Whether the labels are those of training rows, and not of clusters or outliers."""
    has_label: bool = False
    """Whether a classifier with probabilities says its label apart, since it is not that of the largest one."""

    @property
    def keys(self) -> list[str] | None:
        """The labels as the keys of probabilities; None where there are none."""
        return [str(label) for label in self.labels or ()] if self.kind in ("probabilities", "multilabel") else None

    @property
    def width(self) -> int:
        """The columns of the tensor."""
        return 1 if self.kind == "label" else len(self.labels or self.names or (0,)) + self.has_label

    @property
    def task(self) -> str:
        """What the manifest says of it."""
        if self.kind == "prediction":
            return "regression"
        if self.kind == "multilabel":
            return "multilabel"
        if not self.is_supervised:
            return "other"
        return "binary_classification" if len(self.labels or ()) == 2 else "multiclass_classification"

    def tensor(self, estimator: Any, matrix: Any) -> Array:
        """What the graph has to give, `[n, width]`: float64, or int64 for indices of labels.

        A label that is said apart is the last column.
        """
        if self.kind in ("probabilities", "multilabel"):
            found = _probabilities(estimator, matrix)
            return np.column_stack([found, self._positions(estimator, matrix)]) if self.has_label else found
        if self.kind == "label":
            return self._positions(estimator, matrix)
        found = np.asarray(estimator.predict(matrix))
        return np.asarray(found, dtype=np.float64).reshape(len(found), -1)

    def _positions(self, estimator: Any, matrix: Any) -> Array:
        known = {label: i for i, label in enumerate(self.labels or ())}
        found = np.asarray(estimator.predict(matrix)).ravel()
        return np.array([[known[json_scalar(label)]] for label in found], dtype=np.int64)

    def answers(
        self, estimator: Any, matrix: Any, postprocess: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    ) -> tuple[list[Any], NDArray[np.float64] | None]:
        """Predictions as JSON values, and probabilities where there are any."""
        if self.kind == "prediction":
            numbers = postprocess(self.tensor(estimator, matrix)).tolist()
            return (numbers if self.names is not None else [row[0] for row in numbers]), None
        if self.kind == "multilabel":
            probabilities = _probabilities(estimator, matrix)
            return [self.above(row) for row in probabilities], probabilities
        labels = [json_scalar(label) for label in np.asarray(estimator.predict(matrix)).ravel()]
        return labels, _probabilities(estimator, matrix) if self.kind == "probabilities" else None

    def above(self, probabilities: Sequence[float] | Array) -> list[Any]:
        """The labels whose probability is above the threshold."""
        return [label for label, p in zip(self.labels or (), probabilities) if p > MULTILABEL_THRESHOLD]

    def spec(self, tensors: Sequence[str], threshold: float | None, top_k: int | None) -> dict[str, Any]:
        """`outputs` of the manifest; `tensors` are the names of the graph's."""
        tensor, labels = tensors[0], self.labels or []
        if self.kind != "probabilities" and (threshold is not None or top_k is not None):
            given = "a threshold" if threshold is not None else "top_k"
            raise ExportError(f"{given} is for classifiers with probabilities")
        if self.kind == "prediction":
            return {"prediction": {"tensor": tensor, **({} if self.names is None else {"names": self.names})}}
        if self.kind == "label":
            return {"label": {"tensor": tensor, "labels": labels}}
        if self.kind == "multilabel":
            return {"multilabel": {"tensor": tensor, "labels": labels, "threshold": MULTILABEL_THRESHOLD}}
        if threshold is not None and len(labels) != 2:
            raise ExportError(f"a threshold is for two classes; there are {len(labels)}")
        if top_k is not None and not 1 <= top_k <= len(labels):
            raise ExportError(f"top_k is a number from 1 to that of the classes, {len(labels)}")
        more: dict[str, Any] = {} if top_k is None else {"top_k": top_k}
        if self.has_label:
            more["label"] = tensors[1]
        return {"probabilities": {"tensor": tensor, "labels": labels, "threshold": threshold, **more}}


def _probabilities(estimator: Any, matrix: Any) -> Array:
    """What `predict_proba` says, `[n, labels]`."""
    found = estimator.predict_proba(matrix)
    if isinstance(found, list):  # one matrix for each output
        found = np.column_stack([_positive(p, c) for p, c in zip(found, estimator.classes_)])
    return np.asarray(found, dtype=np.float64)


def _positive(probabilities: Any, classes: Any) -> Array:
    """The column of the class 1 of one output; a class that training never saw has no column."""
    known = [json_scalar(c) for c in classes]
    probabilities = np.asarray(probabilities, dtype=np.float64)
    return probabilities[:, known.index(1)] if 1 in known else np.zeros(len(probabilities))


def describe(estimator: Any, features: Array, names: Sequence[str] | None = None) -> Outputs:
    """What a fitted estimator predicts; `names` are those of several numbers, or of labels that are each yes or no.

    Raises:
        ExportError: for predictions that no kind of output holds, such as several outputs of several classes each.

    """
    predicted = np.asarray(estimator.predict(features[:1]))
    width = predicted.shape[1] if predicted.ndim == 2 else 1
    several = predicted.ndim == 2 and width > 1
    named = [str(name) for name in names] if names is not None else [f"output_{i}" for i in range(width)]
    if names is not None and (not several or len(named) != width or len(set(named)) != width):
        raise ExportError(
            f"{class_name(estimator)} predicts {width} value(s) a row, and {len(named)} names were given for them"
        )
    classes = getattr(estimator, "classes_", None)
    if classes is None or np.size(classes) == 0:  # CatBoost's regressors have an empty list
        if (found := _groups(estimator)) is not None:
            return Outputs("label", labels=found, is_supervised=False)
        return Outputs("prediction", names=named if several else None)
    if several:
        one_each = isinstance(classes, list)
        binary = all(set(np.ravel(c).tolist()) <= {0, 1} for c in classes) if one_each else True
        if not binary or not hasattr(estimator, "predict_proba"):
            raise ExportError(
                f"{class_name(estimator)} predicts {width} outputs, not all of them yes or no with a probability\n"
                "hint: export a model for each output"
            )
        labels = [_label(c) for c in classes] if names is None and not one_each and len(classes) == width else named
        return Outputs("multilabel", labels=labels)
    labels = [_label(label) for label in np.ravel(classes)]
    if not hasattr(estimator, "predict_proba"):
        return Outputs("label", labels=labels)
    return Outputs("probabilities", labels=labels, has_label=_decides_apart(estimator))


def _decides_apart(estimator: Any) -> bool:
    """Whether `predict` is not the class of the largest probability.

    In libsvm labels come of votes, and probabilities are fitted on their own; of three classes and more, the
    probabilities of SGD's Huber loss are all zero or one far from the border.
    """
    name, classes = type(estimator).__name__, estimator.classes_
    return name in ("SVC", "NuSVC") or (name == "SGDClassifier" and estimator.loss != "log_loss" and len(classes) > 2)


def _groups(estimator: Any) -> list[int] | None:
    """The labels of an outlier detector or a clustering; None for anything else."""
    kind = getattr(estimator, "_estimator_type", None)
    if kind is None:
        try:
            from sklearn.utils import get_tags

            kind = get_tags(estimator).estimator_type
        except Exception:  # an older scikit-learn, or not one of its estimators
            kind = None
    if kind == "outlier_detector":
        return [-1, 1]
    if kind != "clusterer":
        return None
    n = getattr(estimator, "n_clusters", None)
    if n is None:
        n = len(estimator.cluster_centers_)
    return list(range(int(n)))


def _label(value: Any) -> str | int | float | bool:
    scalar = json_scalar(value)
    if scalar is None:
        raise ExportError("a class label is missing")
    return scalar
