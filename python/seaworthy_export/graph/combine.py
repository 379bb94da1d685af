"""Estimators made of estimators: each part is asked for its own formula, and the class says how they are combined."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .build import Value, joined, total
from .ensemble import ensemble
from .formulas import KINDS, NotExpressibleError, ask, find_formula, formula, labels_from, positions_of, two_sided
from .trees import read_tree, shares

# --- searches, thresholds and pipelines ----------------------------------------------------------------------------

_SEARCHES = tuple(
    f"sklearn.model_selection.{name}"
    for name in ("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV")
)


def _delegate(attribute: str, *names: str) -> None:
    for kind in KINDS:

        def answer(model: Any, x: Value, kind: str = kind) -> Value:
            return ask(kind, getattr(model, attribute), x)

        formula(kind, *names)(answer)


_delegate("best_estimator_", *_SEARCHES)


def _through(model: Any, x: Value) -> tuple[Any, Value]:
    """The last step of a pipeline, and what reaches it."""
    for _, step in model.steps[:-1]:
        if step is not None and step != "passthrough":
            x = transform(step, x)
    return model.steps[-1][1], x


def transform(step: Any, x: Value) -> Value:
    """A transformer of numbers that stands inside another estimator, where the artifact's pipeline cannot reach."""
    name = type(step).__name__
    if not type(step).__module__.startswith("sklearn."):
        name = ""
    if name == "StandardScaler":
        x = x - np.asarray(step.mean_) if step.with_mean else x
        return x / np.asarray(step.scale_) if step.with_std else x
    if name == "RobustScaler":
        x = x - np.asarray(step.center_) if step.with_centering else x
        return x / np.asarray(step.scale_) if step.with_scaling else x
    if name == "MinMaxScaler":
        x = x * np.asarray(step.scale_) + np.asarray(step.min_)
        return x.clip(*step.feature_range) if getattr(step, "clip", False) else x
    if name == "MaxAbsScaler":
        return x / np.asarray(step.scale_)
    if name == "SimpleImputer" and not step.add_indicator and np.isnan(step.missing_values):
        return x.is_missing().where(np.asarray(step.statistics_, dtype=np.float64), x)
    if name == "PCA":
        x = (x - np.asarray(step.mean_)) @ np.asarray(step.components_).T
        return x / np.sqrt(np.asarray(step.explained_variance_)) if step.whiten else x
    if name == "PolynomialFeatures":
        columns = []
        for powers in step.powers_:
            factors = [x.column(i) for i, power in enumerate(powers) for _ in range(int(power))]
            product = factors[0] if factors else x.constant([1.0])
            for factor in factors[1:]:
                product = product * factor
            columns.append(product)
        return joined(columns)
    if name and hasattr(step, "get_support"):
        return x.columns(np.flatnonzero(step.get_support()))
    raise NotExpressibleError(
        f"a {type(step).__name__} inside of the estimator; put it before, into the pipeline itself"
    )


def _pipeline(kind: str) -> None:
    def answer(model: Any, x: Value) -> Value:
        last, x = _through(model, x)
        return ask(kind, last, x)

    formula(kind, "sklearn.pipeline.Pipeline")(answer)


for _kind in KINDS:
    _pipeline(_kind)

# --- bagging -------------------------------------------------------------------------------------------------------

_BAGGING = "sklearn.ensemble.Bagging"


@formula("numbers", _BAGGING + "Regressor")
def bagging_numbers(model: Any, x: Value) -> Value:
    return _sum_of_parts("numbers", model, x) / float(len(model.estimators_))


@formula("probabilities", _BAGGING + "Classifier")
def bagging_probabilities(model: Any, x: Value) -> Value:
    return _sum_of_parts("probabilities", model, x) / float(len(model.estimators_))


labels_from("probabilities", _BAGGING + "Classifier")


def _sum_of_parts(kind: str, model: Any, x: Value) -> Value:
    """One ensemble where all parts are trees, else the sum of the parts."""
    pairs = list(zip(model.estimators_, model.estimators_features_))
    n = len(model.classes_) if kind == "probabilities" else 1
    if all(type(part).__module__.startswith("sklearn.tree.") for part, _ in pairs):
        trees = []
        for part, features in pairs:
            value = _spread(shares(part), part.classes_, n) if kind == "probabilities" else None
            trees.append(read_tree(part, value, features=features))
        return ensemble(x.rounded(), trees, n)
    parts = []
    for part, features in pairs:
        columns = x.columns(features)
        if kind == "numbers":
            parts.append(ask("numbers", part, columns))
        elif hasattr(part, "predict_proba"):
            given = ask("probabilities", part, columns)
            parts.append(given if given.width == n else given @ np.eye(n)[np.asarray(part.classes_, dtype=np.int64)])
        else:
            parts.append(_one_hot(ask("label", part, columns), part.classes_, range(n)))
    return total(parts)


def _spread(table: NDArray[np.float64], classes: Any, n: int) -> NDArray[np.float64]:
    """The shares of the classes that a part knows among those of all; the parts' classes are positions."""
    if table.shape[1] == n:
        return table
    wide = np.zeros((len(table), n))
    wide[:, np.asarray(classes, dtype=np.int64)] = table
    return wide


def _one_hot(label: Value, classes: Any, among: Any) -> Value:
    """1 in the column of the predicted class, else 0."""
    table = np.eye(len(among))[positions_of(classes, among)]
    return label.rows_of(table)


# --- AdaBoost ------------------------------------------------------------------------------------------------------

_ADA = "sklearn.ensemble.AdaBoost"


def _all_trees(model: Any) -> bool:
    return all(type(part).__module__.startswith("sklearn.tree.") for part in model.estimators_)


@formula("decision", _ADA + "Classifier")
def ada_decision(model: Any, x: Value) -> Value:
    n = len(model.classes_)
    weights = np.asarray(model.estimator_weights_, dtype=np.float64)[: len(model.estimators_)]
    all_weights = float(np.asarray(model.estimator_weights_).sum())
    real = getattr(model, "algorithm", "SAMME") == "SAMME.R"
    # Since scikit-learn 1.5 a class that is not voted for loses what the other gains.
    tables = [_votes(part, model.classes_, w, n, _loses()) for part, w in zip(model.estimators_, weights.tolist())]
    if _all_trees(model):
        trees = []
        for part, table in zip(model.estimators_, tables):
            trees.append(read_tree(part, _real_votes(part, n) if real else table[np.argmax(shares(part), axis=1)]))
        votes = ensemble(x.rounded(), trees, n)
    elif real:
        raise NotExpressibleError("AdaBoostClassifier of the algorithm SAMME.R over other than trees")
    else:
        votes = total([ask("label", part, x).rows_of(table) for part, table in zip(model.estimators_, tables)])
    votes = votes / all_weights
    return votes if n > 2 else votes.column(1) - votes.column(0)


def _loses() -> bool:
    """Whether votes add up to zero in this version of scikit-learn."""
    import sklearn

    major, minor = (int(part) for part in sklearn.__version__.split(".")[:2])
    return (major, minor) >= (1, 5)


def _votes(part: Any, classes: Any, weight: float, n: int, loses: bool) -> NDArray[np.float64]:
    """What each class of a part adds to all classes."""
    hot = np.eye(n)[positions_of(part.classes_, classes)].astype(bool)
    return np.where(hot, weight, -1.0 / (n - 1) * weight if loses else 0.0)


def _real_votes(part: Any, n: int) -> NDArray[np.float64]:
    """What each node of a tree adds to all classes, in the algorithm of real votes."""
    proba = np.clip(shares(part), np.finfo(np.float64).eps, None)
    logs = np.log(proba)
    return np.asarray((n - 1) * (logs - (1.0 / n) * logs.sum(axis=1)[:, np.newaxis]))


@formula("probabilities", _ADA + "Classifier")
def ada_probabilities(model: Any, x: Value) -> Value:
    decision = ada_decision(model, x)
    n = len(model.classes_)
    if n == 2:
        return (joined([-decision, decision]) * 0.5).softmax()
    return (decision / float(n - 1)).softmax()


@formula("numbers", _ADA + "Regressor")
def ada_numbers(model: Any, x: Value) -> Value:
    """The weighted median of the parts."""
    weights = np.asarray(model.estimator_weights_, dtype=np.float64)[: len(model.estimators_)]
    n = len(model.estimators_)
    if _all_trees(model):
        trees = [read_tree(part, target=i) for i, part in enumerate(model.estimators_)]
        answers = ensemble(x.rounded(), trees, n)
    else:
        answers = joined([ask("numbers", part, x) for part in model.estimators_])
    ordered, positions = answers.smallest(n)
    sums = positions.look_up(weights).running_sum()
    enough = sums >= sums.column(n - 1) * 0.5
    at = enough.cast("int64").position()
    return ordered.pick(at)


# --- voting and stacking -------------------------------------------------------------------------------------------

_VOTING = "sklearn.ensemble.Voting"


def _vote_weights(model: Any) -> list[float]:
    given = getattr(model, "_weights_not_none", None)
    return [1.0] * len(model.estimators_) if given is None else [float(w) for w in given]


def _average(parts: list[Value], weights: list[float]) -> Value:
    return total([part * w for part, w in zip(parts, weights)]) / float(np.sum(weights))


@formula("numbers", _VOTING + "Regressor")
def voting_numbers(model: Any, x: Value) -> Value:
    return _average([ask("numbers", part, x) for part in model.estimators_], _vote_weights(model))


@formula("probabilities", _VOTING + "Classifier")
def voting_probabilities(model: Any, x: Value) -> Value:
    if model.voting != "soft":
        raise NotExpressibleError("the probabilities of a hard vote")
    return _average([ask("probabilities", part, x) for part in model.estimators_], _vote_weights(model))


@formula("label", _VOTING + "Classifier")
def voting_label(model: Any, x: Value) -> Value:
    if model.voting == "soft":
        return voting_probabilities(model, x).position()
    n = len(model.classes_)
    parts = [
        _one_hot(ask("label", part, x), part.classes_, range(n)) * w
        for part, w in zip(model.estimators_, _vote_weights(model))
    ]
    return total(parts).position()


_STACKING = "sklearn.ensemble.Stacking"


def _stacked(model: Any, x: Value) -> Value:
    parts = []
    for part, method in zip(model.estimators_, model.stack_method_):
        if method == "predict_proba":
            given = ask("probabilities", part, x)
            parts.append(given.columns(range(1, given.width)) if len(model.classes_) == 2 else given)
        elif method == "decision_function":
            parts.append(ask("decision", part, x))
        elif hasattr(part, "classes_"):
            classes = np.asarray(part.classes_, dtype=np.float64)
            parts.append(ask("label", part, x).look_up(classes))
        else:
            parts.append(ask("numbers", part, x))
    if model.passthrough:
        parts.append(x)
    return joined(parts)


def _stacking(kind: str, name: str) -> None:
    def answer(model: Any, x: Value) -> Value:
        return ask(kind, model.final_estimator_, _stacked(model, x))

    formula(kind, _STACKING + name)(answer)


_stacking("numbers", "Regressor")
for _kind in ("probabilities", "decision", "label"):
    _stacking(_kind, "Classifier")


# --- calibration ---------------------------------------------------------------------------------------------------

_CALIBRATED = "sklearn.calibration.CalibratedClassifierCV"


@formula("probabilities", _CALIBRATED)
def calibrated_probabilities(model: Any, x: Value) -> Value:
    parts = [_calibrated(part, x) for part in model.calibrated_classifiers_]
    return parts[0] if len(parts) == 1 else total(parts) / float(len(parts))


labels_from("probabilities", _CALIBRATED)


def _calibrated(part: Any, x: Value) -> Value:
    inner = part.estimator if hasattr(part, "estimator") else part.base_estimator
    n = len(part.classes)
    by_scores = hasattr(inner, "decision_function")
    scores = ask("decision" if by_scores else "probabilities", inner, x)
    if part.method == "temperature":
        beta = float(np.asarray(part.calibrators[0].beta_))
        if not by_scores:
            scores = (scores + 1e-12).log()
        elif scores.width == 1:
            scores = joined([-scores, scores])
        return (scores * beta).softmax()
    if not by_scores and n == 2:
        scores = scores.column(1)
    columns = [_calibrator(calibrator, scores.column(i)) for i, calibrator in enumerate(part.calibrators)]
    if n == 2:
        return two_sided(columns[0])
    places = positions_of(inner.classes_, part.classes).tolist()
    zero = x.constant([0.0])
    proba = joined([columns[places.index(i)] if i in places else zero for i in range(n)])
    sums = proba.sum()
    nothing = sums.equals(0.0)
    return nothing.where(1.0 / n, proba / nothing.where(1.0, sums))


def _calibrator(calibrator: Any, score: Value) -> Value:
    if hasattr(calibrator, "a_"):
        return (-(score * float(calibrator.a_) + float(calibrator.b_))).sigmoid()
    return isotonic(calibrator, score)


@formula("numbers", "sklearn.isotonic.IsotonicRegression")
def isotonic(model: Any, x: Value) -> Value:
    """Straight lines between thresholds, as `scipy.interpolate.interp1d` has them."""
    at = np.asarray(model.X_thresholds_, dtype=np.float64)
    y = np.asarray(model.y_thresholds_, dtype=np.float64)
    if model.out_of_bounds == "raise":
        raise NotExpressibleError("IsotonicRegression that raises out of bounds")
    if len(y) == 1:
        return x * 0.0 + float(y[0])
    bounded = x.clip(float(at[0]), float(at[-1]))
    # The number of inner thresholds that are smaller says between which two it lies.
    n = len(at)
    above = (bounded > at[1:-1].reshape(1, -1)).cast("float64") if n > 2 else None
    if above is None:
        left = x.constant([0.0])
    else:
        above.width = n - 2
        left = above.sum()
    place = left.cast("int64")
    low, high = place.look_up(at[:-1]), place.look_up(at[1:])
    y_low, y_high = place.look_up(y[:-1]), place.look_up(y[1:])
    line = (y_high - y_low) / (high - low) * (bounded - low) + y_low
    if model.out_of_bounds == "nan":
        return ((x < float(at[0])) | (x > float(at[-1]))).where(np.nan, line)
    return line


# --- one against the rest, one against one, several targets --------------------------------------------------------

_REST = "sklearn.multiclass.OneVsRestClassifier"
_ONE = "sklearn.multiclass.OneVsOneClassifier"


def _binary_score(part: Any, x: Value) -> Value:
    """How sure a binary classifier is of its second class."""
    if type(part).__name__ == "_ConstantPredictor":
        return x.constant([float(np.asarray(part.y_).reshape(-1)[0])])
    if hasattr(part, "decision_function"):
        return ask("decision", part, x)
    if not hasattr(part, "predict_proba"):
        raise NotExpressibleError(f"{type(part).__name__} has neither a decision nor probabilities")
    return ask("probabilities", part, x).column(1)


def _positive(part: Any, x: Value) -> Value:
    if type(part).__name__ == "_ConstantPredictor":
        return x.constant([float(np.asarray(part.y_).reshape(-1)[0])])
    return ask("probabilities", part, x).column(1)


@formula("label", _REST)
def rest_label(model: Any, x: Value) -> Value:
    if len(model.estimators_) == 1:
        score = _binary_score(model.estimators_[0], x)
        bound = 0.0 if hasattr(model.estimators_[0], "decision_function") else 0.5
        return (score > bound).cast("int64")
    return joined([_binary_score(part, x) for part in model.estimators_]).position()


@formula("decision", _REST)
def rest_decision(model: Any, x: Value) -> Value:
    return joined([ask("decision", part, x) for part in model.estimators_])


@formula("probabilities", _REST)
def rest_probabilities(model: Any, x: Value) -> Value:
    parts = [_positive(part, x) for part in model.estimators_]
    if len(parts) == 1:
        return two_sided(parts[0])
    proba = joined(parts)
    sums = proba.sum()
    return proba / sums.equals(0.0).where(1.0, sums)


@formula("multilabel", _REST, "sklearn.multioutput.MultiOutputClassifier")
def separate_labels(model: Any, x: Value) -> Value:
    for part in model.estimators_:
        if len(getattr(part, "classes_", (0, 1))) != 2:
            raise NotExpressibleError("several targets of more than two classes each")
    return joined([_positive(part, x) for part in model.estimators_])


@formula("label", _ONE)
def one_label(model: Any, x: Value) -> Value:
    n = len(model.classes_)
    if model.pairwise_indices_ is not None:
        raise NotExpressibleError("OneVsOneClassifier over a precomputed kernel")
    parts, scores = [], []
    for part in model.estimators_:
        score = _binary_score(part, x)
        parts.append(ask("label", part, x).cast("float64"))
        scores.append(score)
    second, confidence = joined(parts), joined(scores)
    if n == 2:
        return (confidence > 0.0).cast("int64")
    signs = np.zeros((len(model.estimators_), n))
    for row, (i, j) in enumerate(combinations(range(n), 2)):
        signs[row, i], signs[row, j] = -1.0, 1.0
    votes = second.product(signs) + (signs < 0).sum(axis=0).astype(np.float64)
    sums = confidence.product(signs)
    both: Value = votes + sums / ((sums.absolute() + 1.0) * 3.0)
    return both.position()


@formula("numbers", "sklearn.multioutput.MultiOutputRegressor")
def separate_numbers(model: Any, x: Value) -> Value:
    return joined([ask("numbers", part, x) for part in model.estimators_])


@formula("numbers", "sklearn.multioutput.RegressorChain")
def chained_numbers(model: Any, x: Value) -> Value:
    columns: list[Value] = []
    for part in model.estimators_:
        columns.append(ask("numbers", part, joined([x, *columns])))
    return joined([columns[i] for i in np.argsort(model.order_).tolist()])


@formula("multilabel", "sklearn.multioutput.ClassifierChain")
def chained_labels(model: Any, x: Value) -> Value:
    before: list[Value] = []
    found: list[Value] = []
    method = getattr(model, "chain_method_", "predict")
    for part in model.estimators_:
        seen = joined([x, *before])
        found.append(_positive(part, seen))
        if method == "predict_proba":
            before.append(found[-1])
        elif method == "decision_function":
            before.append(ask("decision", part, seen))
        else:
            before.append(ask("label", part, seen).look_up(np.asarray(part.classes_, dtype=np.float64)))
    return joined([found[i] for i in np.argsort(model.order_).tolist()])


# --- estimators that have several targets by themselves ------------------------------------------------------------


@formula(
    "multilabel",
    "sklearn.ensemble.RandomForestClassifier",
    "sklearn.ensemble.ExtraTreesClassifier",
    "sklearn.tree.DecisionTreeClassifier",
    "sklearn.tree.ExtraTreeClassifier",
)
def forest_labels(model: Any, x: Value) -> Value:
    if any(len(classes) != 2 for classes in model.classes_):
        raise NotExpressibleError("several targets of more than two classes each")
    parts = model.estimators_ if hasattr(model, "estimators_") else [model]
    trees = []
    for part in parts:
        counts = np.asarray(part.tree_.value, dtype=np.float64)[:, :, :2]
        sums = counts.sum(axis=2, keepdims=True)
        if not np.allclose(sums, 1.0, rtol=0, atol=1e-6):
            sums[sums == 0.0] = 1.0
            counts = counts / sums
        trees.append(read_tree(part, np.ascontiguousarray(counts[:, :, 1])))
    summed = ensemble(x.rounded(), trees, len(model.classes_))
    return summed / float(len(trees)) if hasattr(model, "estimators_") else summed


@formula("multilabel", "sklearn.neural_network.MLPClassifier")
def network_labels(model: Any, x: Value) -> Value:
    function = find_formula("probabilities", model)
    assert function is not None
    return function(model, x)
