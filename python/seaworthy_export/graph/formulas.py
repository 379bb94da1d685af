"""Which function writes what an estimator answers.

An answer is asked for by its kind: `numbers` (`predict` of a regressor), `probabilities` (`predict_proba`), `decision`
(`decision_function`, always a matrix), `label` (`predict` of a classifier, as positions in `classes_`) or `multilabel`
(the probability of each label, of which several may apply). A function is registered for a class by name; estimators
inside of estimators are asked in the same way.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ..errors import ExportError
from ..registry import names_class
from ..values import class_name
from .build import Value, joined

Formula = Callable[[Any, Value], Value]
KINDS = ("numbers", "probabilities", "decision", "label", "multilabel")

_FALLBACKS: dict[str, Callable[[Any, Value], Value | None]] = {}
_FORMULAS: dict[str, dict[str, Formula]] = {kind: {} for kind in KINDS}


class NotExpressibleError(ExportError):
    """There is no formula for this estimator, or not with these parameters."""


def formula(kind: str, *names: str) -> Callable[[Formula], Formula]:
    """Registers the decorated function for classes by their full names, which may leave out trailing modules."""

    def register(function: Formula) -> Formula:
        for name in names:
            _FORMULAS[kind][name] = function
        return function

    return register


def find_formula(kind: str, estimator: Any) -> Formula | None:
    """The function for exactly this class."""
    cls = type(estimator)
    found = [name for name in _FORMULAS[kind] if name.rpartition(".")[2] == cls.__name__ and names_class(name, cls)]
    return _FORMULAS[kind][max(found, key=len)] if found else None


def fallback(kind: str) -> Callable[[Callable[[Any, Value], Value | None]], Callable[[Any, Value], Value | None]]:
    """Registers a function that is tried for classes without a formula of their own; None when it does not apply."""

    def register(function: Callable[[Any, Value], Value | None]) -> Callable[[Any, Value], Value | None]:
        _FALLBACKS[kind] = function
        return function

    return register


def ask(kind: str, estimator: Any, x: Value) -> Value:
    """What the estimator answers for these features.

    Raises NotExpressibleError where no formula applies.
    """
    found = find_formula(kind, estimator)
    if found is not None:
        return found(estimator, x)
    if kind in _FALLBACKS:
        value = _FALLBACKS[kind](estimator, x)
        if value is not None:
            return value
    if kind == "label":
        try:
            decision = ask("decision", estimator, x)
        except NotExpressibleError:
            return ask("probabilities", estimator, x).position()
        return (decision > 0.0).cast("int64") if decision.width == 1 else decision.position()
    raise NotExpressibleError(f"no formula is known for `{kind}` of {class_name(estimator)}")


def labels_from(kind: str, *names: str) -> None:
    """Says that the label of these classes comes from the largest of this kind."""

    def label(estimator: Any, x: Value) -> Value:
        return ask(kind, estimator, x).position()

    formula("label", *names)(label)


def two_sided(positive: Value) -> Value:
    """The probabilities of both classes from that of the second."""
    return joined([1.0 - positive, positive])


def positions_of(classes: Any, among: Any) -> np.ndarray[Any, Any]:
    """Where each of the classes stands among others."""
    known = list(among)
    return np.array([known.index(entry) for entry in classes], dtype=np.int64)
