"""Nearest neighbours and nearest centres.

Distances are computed as scikit-learn computes them: feature by feature where it walks a tree, by a product of
matrices where it goes through all rows. Of neighbours at exactly the same distance the first in the training data is
taken; a tree of scikit-learn takes the one that it meets first, which depends on the query. So rows with such a tie at
the k-th place may differ, and no operator can tell.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .build import Value
from .formulas import NotExpressibleError, formula, labels_from

_NEIGHBOURS = "sklearn.neighbors."
MAX_FEATURES = 256
"""More would make more nodes than a graph should have."""


def _squared(x: Value, points: NDArray[np.float64], *, by_product: bool) -> tuple[Value, Value | None]:
    """What orders the points by distance, `[batch, points]`, and what must be added for the squared distance."""
    if by_product:
        norms = np.einsum("ij,ij->i", points, points)
        return x @ (-2.0 * points.T) + norms, (x * x).sum()
    sum_: Value | None = None
    for i in range(x.width):
        difference = x.column(i) - points[:, i].reshape(1, -1)
        term = difference * difference
        sum_ = term if sum_ is None else sum_ + term
    if sum_ is None:
        raise NotExpressibleError("neighbours without features")
    return sum_, None


def _distances(model: Any, x: Value) -> tuple[Value, str]:
    """What orders the training rows, and how a distance comes of it: `root`, `none` or a power."""
    points = np.asarray(model._fit_X, dtype=np.float64)
    if hasattr(model._fit_X, "toarray"):
        raise NotExpressibleError("neighbours of sparse rows")
    metric = model.effective_metric_
    parameters = dict(model.effective_metric_params_ or {})
    p = float(parameters.pop("p", 2.0)) if metric == "minkowski" else None
    if any(value is not None for value in parameters.values()):
        raise NotExpressibleError(f"neighbours with metric_params {sorted(parameters)}")
    by_product = (model._fit_method == "brute" and metric in ("euclidean", "sqeuclidean")) or x.width > MAX_FEATURES
    if metric == "euclidean" or p == 2.0:
        return _squared(x, points, by_product=by_product)[0], "root"
    if x.width > MAX_FEATURES:
        raise NotExpressibleError(f"neighbours by {metric} over more than {MAX_FEATURES} features")
    if metric not in ("manhattan", "cityblock", "l1", "chebyshev", "minkowski"):
        raise NotExpressibleError(f"neighbours by the metric {metric!r}")
    found: Value | None = None
    for i in range(x.width):
        term = (x.column(i) - points[:, i].reshape(1, -1)).absolute()
        if p is not None and p != 1.0:
            term = term.power(p)
        found = term if found is None else found.maximum(term) if metric == "chebyshev" else found + term
    assert found is not None
    return found, "none" if p is None or p == 1.0 else repr(1.0 / p)


def _nearest(model: Any, x: Value) -> tuple[Value, Value | None]:
    """The positions of the nearest training rows, `[batch, k]`, and their weights; None when all count the same."""
    if not hasattr(model, "_fit_X") or x.width == 0:
        raise NotExpressibleError("neighbours without training rows")
    order, root = _distances(model, x)
    order.width = len(model._fit_X)
    nearest, positions = order.smallest(int(model.n_neighbors))
    if model.weights == "uniform" or model.weights is None:
        return positions, None
    if model.weights != "distance":
        raise NotExpressibleError("neighbours with a function as weights")
    if root == "root":
        points = np.asarray(model._fit_X, dtype=np.float64)
        rest = (
            _squared(x, points, by_product=True)[1] if model._fit_method == "brute" or x.width > MAX_FEATURES else None
        )
        distance = (nearest if rest is None else (nearest + rest).maximum(0.0)).sqrt()
    else:
        distance = nearest if root == "none" else nearest.power(float(root))
    zero = distance.equals(0.0)
    flags = zero.cast("float64")
    flags.width = nearest.width
    return positions, (flags.sum() > 0.0).where(flags, 1.0 / distance)


def _weighted(positions: Value, weights: Value | None, table: NDArray[np.float64]) -> Value:
    """For each row the sum of its neighbours' rows of the table, times their weights."""
    writer = positions.writer
    k = positions.width
    rows = writer.node("Gather", [writer.constant(table), positions.name], axis=0)[0]
    axis = writer.constant(np.array([1], dtype=np.int64))
    factors = writer.constant(np.ones((1, k))) if weights is None else writer.node("Unsqueeze", [weights.name, axis])[0]
    summed = writer.node("MatMul", [factors, rows])[0]
    return Value(writer, writer.node("Squeeze", [summed, axis])[0], table.shape[1])


@formula("probabilities", _NEIGHBOURS + "KNeighborsClassifier")
def neighbour_probabilities(model: Any, x: Value) -> Value:
    if model.outputs_2d_:
        raise NotExpressibleError("neighbours with several targets")
    votes = np.eye(len(model.classes_))[np.asarray(model._y).reshape(-1)]
    counts = _weighted(*_nearest(model, x), votes)
    sums = counts.sum()
    return counts / sums.equals(0.0).where(1.0, sums)


labels_from("probabilities", _NEIGHBOURS + "KNeighborsClassifier")


@formula("numbers", _NEIGHBOURS + "KNeighborsRegressor")
def neighbour_numbers(model: Any, x: Value) -> Value:
    y = np.asarray(model._y, dtype=np.float64).reshape(len(model._y), -1)
    positions, weights = _nearest(model, x)
    sums = _weighted(positions, weights, y)
    return sums / (float(positions.width) if weights is None else weights.sum())


def _centre(x: Value, centres: NDArray[Any]) -> Value:
    centres = np.asarray(centres, dtype=np.float64)
    order, _ = _squared(x, centres, by_product=True)
    return (-order).position()


@formula("label", "sklearn.cluster.KMeans", "sklearn.cluster.MiniBatchKMeans")
def cluster_label(model: Any, x: Value) -> Value:
    return _centre(x, model.cluster_centers_)
