"""Multi-layer perceptrons."""

from __future__ import annotations

from typing import Any

import numpy as np

from .build import Value
from .formulas import formula, labels_from, two_sided

_CLASSIFIER = "sklearn.neural_network.MLPClassifier"


def _activate(name: str, z: Value) -> Value:
    if name == "relu":
        return z.maximum(0.0)
    if name == "tanh":
        return z.tanh()
    if name == "logistic":
        return z.sigmoid()
    return z.softmax() if name == "softmax" else z


def _forward(model: Any, x: Value) -> Value:
    last = len(model.coefs_) - 1
    for i, (weights, bias) in enumerate(zip(model.coefs_, model.intercepts_)):
        x = x @ np.asarray(weights, dtype=np.float64) + np.asarray(bias, dtype=np.float64)
        x = _activate(model.activation if i < last else model.out_activation_, x)
    return x


@formula("numbers", "sklearn.neural_network.MLPRegressor")
def network_numbers(model: Any, x: Value) -> Value:
    return _forward(model, x)


@formula("probabilities", _CLASSIFIER)
def network_probabilities(model: Any, x: Value) -> Value:
    out = _forward(model, x)
    return two_sided(out) if out.width == 1 else out


labels_from("probabilities", _CLASSIFIER)
