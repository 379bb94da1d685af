"""Support vector machines of libsvm: kernels, votes of pairs, and probabilities coupled from pairs."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from onnx import TensorProto

from .build import Value, Writer, joined
from .formulas import NotExpressibleError, formula

_CLASSIFIERS = ("sklearn.svm.SVC", "sklearn.svm.NuSVC")
_NUMBERS = ("sklearn.svm.SVR", "sklearn.svm.NuSVR")
_COUPLING_ROUNDS = 100
_LEAST = 1e-7


def _kernel(model: Any, x: Value) -> Value:
    """The kernel of each row with each support vector, `[batch, vectors]`."""
    vectors = model.support_vectors_
    if hasattr(vectors, "toarray") or callable(model.kernel) or model.kernel == "precomputed":
        raise NotExpressibleError(f"support vectors with the kernel {model.kernel!r}, or of sparse rows")
    vectors = np.asarray(vectors, dtype=np.float64)
    if model.kernel == "rbf":
        # About their middle, so that squares of large numbers do not cancel.
        middle = vectors.mean(axis=0)
        near: Value = x - middle
        about = vectors - middle
        norms = np.einsum("ij,ij->i", about, about)
        distance: Value = (near * near).sum() + (near.product(-2.0 * about.T) + norms)
        distance.width = len(vectors)
        return (distance.maximum(0.0) * -float(model._gamma)).exp()
    product = x.product(vectors.T)
    if model.kernel == "linear":
        return product
    product = product * float(model._gamma) + float(model.coef0)
    if model.kernel == "poly":
        return product.power(float(model.degree))
    if model.kernel == "sigmoid":
        return product.tanh()
    raise NotExpressibleError(f"the kernel {model.kernel!r}")


def _pairs(model: Any, x: Value) -> Value:
    """The decision of libsvm for each pair of classes, in its order; positive for the first of the pair."""
    dual = np.asarray(model._dual_coef_, dtype=np.float64)
    counts = np.asarray(model._n_support)
    ends = np.cumsum(counts)
    parts = [slice(end - n, end) for end, n in zip(ends.tolist(), counts.tolist())]
    pairs = list(combinations(range(len(counts)), 2))
    weights = np.zeros((dual.shape[1], len(pairs)))
    for column, (i, j) in enumerate(pairs):
        weights[parts[i], column] = dual[j - 1, parts[i]]
        weights[parts[j], column] = dual[i, parts[j]]
    decisions: Value = _kernel(model, x).product(weights) + np.asarray(model._intercept_, dtype=np.float64).reshape(-1)
    return decisions


def _signs(n: int) -> np.ndarray[Any, Any]:
    """Which class a pair speaks for, and which against."""
    pairs = list(combinations(range(n), 2))
    signs = np.zeros((len(pairs), n))
    for row, (i, j) in enumerate(pairs):
        signs[row, i], signs[row, j] = 1.0, -1.0
    return signs


def _votes(decisions: Value, n: int) -> Value:
    first = (decisions > 0.0).cast("float64")
    first.width = decisions.width
    # A vote for the first of a pair, or else for the second.
    signs = _signs(n)
    votes: Value = first.product(signs) + (signs < 0).sum(axis=0).astype(np.float64)
    return votes


@formula("decision", *_CLASSIFIERS)
def vector_decision(model: Any, x: Value) -> Value:
    decisions, n = _pairs(model, x), len(model.classes_)
    if n == 2:
        return -decisions
    if model.decision_function_shape == "ovo":
        raise NotExpressibleError("the decision of pairs")
    # A decision of exactly zero is a vote for the first here, and for the second where libsvm predicts.
    first = (decisions >= 0.0).cast("float64")
    first.width = decisions.width
    signs = _signs(n)
    votes: Value = first.product(signs) + (signs < 0).sum(axis=0).astype(np.float64)
    sums = decisions.product(signs)
    return votes + sums / ((sums.absolute() + 1.0) * 3.0)


@formula("label", *_CLASSIFIERS)
def vector_label(model: Any, x: Value) -> Value:
    n = len(model.classes_)
    if model.break_ties and n > 2 and model.decision_function_shape == "ovr":
        return vector_decision(model, x).position()
    return _votes(_pairs(model, x), n).position()


@formula("probabilities", *_CLASSIFIERS)
def vector_probabilities(model: Any, x: Value) -> Value:
    n = len(model.classes_)
    a = np.asarray(model._probA, dtype=np.float64).reshape(-1)
    b = np.asarray(model._probB, dtype=np.float64).reshape(-1)
    if len(a) == 0:
        raise NotExpressibleError("support vectors without probabilities")
    decisions = _pairs(model, x)
    wins = (1.0 / ((decisions * a + b).exp() + 1.0)).clip(_LEAST, 1.0 - _LEAST)
    return _coupled(wins, n)


def _coupled(wins: Value, n: int) -> Value:
    """The `multiclass_probability` of libsvm: a loop that each row leaves when it is near enough."""
    shares: dict[tuple[int, int], Value] = {}
    for column, (i, j) in enumerate(combinations(range(n), 2)):
        shares[i, j] = wins.column(column)
        shares[j, i] = 1.0 - shares[i, j]
    rows: list[Value] = []
    for t in range(n):
        entries = []
        for j in range(n):
            if j == t:
                diagonal = [shares[i, t] * shares[i, t] for i in range(n) if i != t]
                sum_ = diagonal[0]
                for term in diagonal[1:]:
                    sum_ = sum_ + term
                entries.append(sum_)
            else:
                entries.append(-(shares[j, t] * shares[t, j]))
        rows += entries
    matrix = joined(rows)
    start = wins.constant(np.full(n, 1.0 / n))
    writer = wins.writer
    body = _coupling_body(n)
    count = writer.constant(np.array(max(_COUPLING_ROUNDS, n), dtype=np.int64))
    go = writer.constant(np.array(True))
    names = writer.node("Loop", [count, go, start.name, matrix.name], outputs=2, body=body)
    return Value(writer, names[0], n)


def _coupling_body(n: int) -> Any:
    """One round for all rows; those that have arrived stay where they are."""
    inner = Writer(n * n, prefix="b")
    p, q = Value(inner, "b_p", n), Value(inner, "b_q", n * n)
    parts = [p.column(t) for t in range(n)]
    cells = [[q.column(t * n + j) for j in range(n)] for t in range(n)]

    def dot(left: list[Value], right: list[Value]) -> Value:
        sum_ = left[0] * right[0]
        for a, b in zip(left[1:], right[1:]):
            sum_ = sum_ + a * b
        return sum_

    qp = [dot(cells[t], parts) for t in range(n)]
    pqp = dot(parts, qp)
    error = joined([(entry - pqp).absolute() for entry in qp]).largest()
    active = error >= 0.005 / n
    for t in range(n):
        step = (pqp - qp[t]) / cells[t][t]
        more = step + 1.0
        parts[t] = parts[t] + step
        pqp = (pqp + step * (step * cells[t][t] + 2.0 * qp[t])) / more / more
        qp = [(qp[j] + step * cells[t][j]) / more for j in range(n)]
        parts = [part / more for part in parts]
    after = active.where(joined(parts), p)
    any_active = inner.node("ReduceMax", [active.cast("int64").name], keepdims=0)[0]
    go = inner.node("Cast", [any_active], to=TensorProto.BOOL)[0]
    kept = inner.node("Identity", [q.name])[0]
    return inner.body(
        inputs=[
            ("b_i", TensorProto.INT64, []),
            ("b_go", TensorProto.BOOL, []),
            ("b_p", TensorProto.DOUBLE, None),
            ("b_q", TensorProto.DOUBLE, None),
        ],
        outputs=[(go, TensorProto.BOOL, []), (after.name, TensorProto.DOUBLE, None), (kept, TensorProto.DOUBLE, None)],
    )


@formula("numbers", *_NUMBERS)
def vector_numbers(model: Any, x: Value) -> Value:
    dual = np.asarray(model._dual_coef_, dtype=np.float64)
    return _kernel(model, x).product(dual.T) + np.asarray(model._intercept_, dtype=np.float64).reshape(-1)


@formula("decision", "sklearn.svm.OneClassSVM")
def outlier_decision(model: Any, x: Value) -> Value:
    """Positive inside of what training had seen."""
    return vector_numbers(model, x)


@formula("label", "sklearn.svm.OneClassSVM")
def outlier_label(model: Any, x: Value) -> Value:
    return (vector_numbers(model, x) > 0.0).cast("int64")
