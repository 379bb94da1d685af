"""Naive Bayes: the logarithm of each class's likelihood, and its softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from .build import Value, joined, total
from .formulas import formula

_NAMES = tuple(
    f"sklearn.naive_bayes.{kind}NB" for kind in ("Gaussian", "Bernoulli", "Multinomial", "Complement", "Categorical")
)


def _likelihoods(model: Any, x: Value) -> Value:
    kind = type(model).__name__
    if kind == "GaussianNB":
        variance = np.asarray(getattr(model, "var_", None) if hasattr(model, "var_") else model.sigma_)
        parts = []
        for i in range(len(model.classes_)):
            distance = x - np.asarray(model.theta_[i]).reshape(1, -1)
            spread = (distance * distance / variance[i].reshape(1, -1)).sum() * -0.5
            constant = -0.5 * np.sum(np.log(2.0 * np.pi * variance[i])) + np.log(model.class_prior_[i])
            parts.append(spread + float(constant))
        return joined(parts)
    prior = np.asarray(model.class_log_prior_, dtype=np.float64)
    if kind == "CategoricalNB":
        parts = []
        for i, logs in enumerate(model.feature_log_prob_):
            table = np.ascontiguousarray(np.asarray(logs, dtype=np.float64).T)
            # A category that training did not have is refused before; the bound keeps the look-up inside its table.
            code = x.column(i).clip(0.0, float(len(table) - 1)).cast("int64")
            parts.append(code.rows_of(table))
        return total(parts) + prior
    weights = np.asarray(model.feature_log_prob_, dtype=np.float64)
    if kind == "BernoulliNB":
        if model.binarize is not None:
            x = (x > float(model.binarize)).cast("float64")
        negative = np.log(1.0 - np.exp(weights))
        likelihoods: Value = x.product((weights - negative).T) + (prior + negative.sum(axis=1))
        return likelihoods
    scores = x.product(weights.T)
    return scores if kind == "ComplementNB" and len(model.classes_) > 1 else scores + prior


@formula("probabilities", *_NAMES)
def bayes_probabilities(model: Any, x: Value) -> Value:
    return _likelihoods(model, x).softmax()


@formula("label", *_NAMES)
def bayes_label(model: Any, x: Value) -> Value:
    return _likelihoods(model, x).position()
