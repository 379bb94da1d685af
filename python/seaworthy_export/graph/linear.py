"""Linear models with their links, and discriminants.

Which link a classifier has is chosen by scikit-learn from `multi_class`, `solver` and version; which one it chose shows
in the numbers. The same goes for models that are not known by name: a formula is taken when it gives what the estimator
gives.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from .base import Matrix
from .build import Value, joined
from .formulas import NotExpressibleError, fallback, formula, two_sided


def coefficients(estimator: Any, n_features: int) -> tuple[Matrix, Matrix] | None:
    """`coef_` as `[features, outputs]` and `intercept_` as `[outputs]`, in float64."""
    try:
        weights = estimator.coef_
        weights = weights.toarray() if hasattr(weights, "toarray") else weights
        weights = np.atleast_2d(np.asarray(weights, dtype=np.float64)).T
        bias = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64).reshape(-1), (weights.shape[1],))
    except (AttributeError, TypeError, ValueError):
        return None
    if weights.shape[0] != n_features or not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        return None
    return weights, bias


def agree(found: Matrix, expected: Matrix) -> bool:
    """Whether the numbers are the same but for rounding."""
    return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=1e-9, atol=1e-12))


def scores_of(x: Value, weights: Matrix, bias: Matrix, name: str | None = None) -> Value:
    """The products with the weights, and the intercepts."""
    product = x.product(weights, name="product", constant="coefficients")
    return product.plus(bias, name=name, constant="intercept")


def _probe(n_features: int) -> Matrix:
    """Rows of no meaning, near and far."""
    rows = np.random.default_rng(0).normal(size=(64, n_features))
    return np.vstack([rows, rows * 0.1, rows * 10.0, np.zeros((1, n_features))])


@fallback("numbers")
def linear_numbers(estimator: Any, x: Value) -> Value | None:
    """A regressor that is linear, or has a logarithm as its link: found by its numbers. None when it is neither."""
    found = coefficients(estimator, x.width)
    if found is None or (hasattr(estimator, "support_vectors_") and getattr(estimator, "kernel", "linear") != "linear"):
        return None
    weights, bias = found
    # Small, so that the power of a score stays finite.
    probe = _probe(x.width)
    scale = float(np.abs(probe @ weights).max(initial=0.0))
    probe = probe / max(scale, 1.0)
    try:
        expected = np.asarray(estimator.predict(probe), dtype=np.float64).reshape(len(probe), -1)
    except (AttributeError, TypeError, ValueError):
        return None
    scores = probe @ weights + bias
    if agree(scores, expected):
        return scores_of(x, weights, bias)
    if agree(np.exp(scores), expected):
        # A generalized linear model with a log link: Poisson, Gamma, Tweedie.
        return scores_of(x, weights, bias, "scores").exp()
    return None


def _sigmoid(z: Matrix) -> Matrix:
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-z)))


def _softmax(z: Matrix) -> Matrix:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _two(p: Matrix) -> Matrix:
    return np.hstack([1.0 - p, p])


def _huber(z: Matrix) -> Matrix:
    return (np.clip(z, -1.0, 1.0) + 1.0) / 2.0


def _shares(p: Matrix) -> Matrix:
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _write_shares(p: Value) -> Value:
    return p / p.sum()


def _write_huber(z: Value) -> Value:
    return (z.clip(-1.0, 1.0) + 1.0) / 2.0


def _write_huber_shares(z: Value) -> Value:
    """As SGDClassifier: where all are zero, each class has the same share."""
    p = _write_huber(z)
    nothing = p.sum().equals(0.0)
    return nothing.where(1.0, p) / nothing.where(float(p.width), p.sum())


def _huber_shares(z: Matrix) -> Matrix:
    p = _huber(z)
    p[p.sum(axis=1) == 0.0] = 1.0
    return _shares(p)


# For one score or for several: the link in NumPy, by which it is recognised, and in the graph.
_Link = tuple[Callable[[Matrix], Matrix], Callable[[Value], Value]]
_BINARY: list[_Link] = [
    (lambda z: _two(_sigmoid(z)), lambda z: two_sided(z.sigmoid())),
    (lambda z: _softmax(np.hstack([-z, z])), lambda z: joined([-z, z]).softmax()),
    (lambda z: _two(_huber(z)), lambda z: two_sided(_write_huber(z))),
]
_SEVERAL: list[_Link] = [
    (_softmax, lambda z: z.softmax()),
    (lambda z: _shares(_sigmoid(z)), lambda z: _write_shares(z.sigmoid())),
    (_huber_shares, _write_huber_shares),
]


@fallback("probabilities")
def linear_probabilities(estimator: Any, x: Value) -> Value | None:
    """A classifier whose probabilities are a known link of linear scores; None when it is not one."""
    found = coefficients(estimator, x.width)
    if found is None or np.ndim(estimator.classes_) != 1 or hasattr(estimator, "support_vectors_"):
        return None
    weights, bias = found
    binary = weights.shape[1] == 1 and len(estimator.classes_) == 2
    if not binary and weights.shape[1] != len(estimator.classes_):
        return None
    probe = _probe(x.width)
    # Rows on both sides of where the classes meet, so that links which agree where all is certain are told apart.
    scale = float(np.abs(probe @ weights).max(initial=0.0))
    probe = np.vstack([probe / max(scale, 1.0), probe * (4.0 / max(scale, 1e-300))])
    try:
        expected = np.asarray(estimator.predict_proba(probe), dtype=np.float64)
    except (AttributeError, TypeError, ValueError, NotImplementedError):
        return None
    scores = probe @ weights + bias
    for link, write in _BINARY if binary else _SEVERAL:
        if agree(link(scores.copy()), expected):
            return write(scores_of(x, weights, bias, "scores"))
    return None


@fallback("decision")
def linear_decision(estimator: Any, x: Value) -> Value | None:
    """The scores of a linear classifier."""
    found = coefficients(estimator, x.width)
    if found is None or hasattr(estimator, "support_vectors_"):
        return None
    weights, bias = found
    n_classes = len(getattr(estimator, "classes_", ()))
    if weights.shape[1] not in (1, n_classes):
        return None
    probe = _probe(x.width)
    try:
        expected = np.asarray(estimator.decision_function(probe), dtype=np.float64).reshape(len(probe), -1)
    except (AttributeError, TypeError, ValueError):
        return None
    return scores_of(x, weights, bias, "scores") if agree(probe @ weights + bias, expected) else None


@formula("probabilities", "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis")
def quadratic_probabilities(model: Any, x: Value) -> Value:
    return quadratic_decisions(model, x).softmax()


def quadratic_decisions(model: Any, x: Value) -> Value:
    """The log-likelihood of each class, but for a constant."""
    parts = []
    if not hasattr(model, "rotations_"):
        raise NotExpressibleError("QuadraticDiscriminantAnalysis without rotations_")
    for i in range(len(model.classes_)):
        rotation, scaling = np.asarray(model.rotations_[i]), np.asarray(model.scalings_[i])
        spread = (x - np.asarray(model.means_[i]).reshape(1, -1)) @ (rotation * scaling**-0.5)
        norm = (spread * spread).sum()
        constant = -0.5 * float(np.sum(np.log(scaling))) + float(np.log(model.priors_[i]))
        parts.append(norm * -0.5 + constant)
    return joined(parts)


@formula("label", "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis")
def quadratic_label(model: Any, x: Value) -> Value:
    return quadratic_decisions(model, x).position()
