"""scikit-learn's trees: single ones, forests, gradient boosting, histogram gradient boosting, isolation forests.

Those over float64 thresholds see a feature as float32; the ones over histograms see it in float64. Sums start where the
library's do and take the trees in its order, so that they have the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .build import Value, joined
from .ensemble import Tree, constant_tree, ensemble
from .formulas import NotExpressibleError, ask, formula, labels_from, two_sided

_TREES = tuple(f"sklearn.tree.{name}" for name in ("DecisionTreeClassifier", "ExtraTreeClassifier"))
_TREE_NUMBERS = tuple(f"sklearn.tree.{name}" for name in ("DecisionTreeRegressor", "ExtraTreeRegressor"))
_FORESTS = tuple(f"sklearn.ensemble.{name}" for name in ("RandomForestClassifier", "ExtraTreesClassifier"))
_FOREST_NUMBERS = tuple(f"sklearn.ensemble.{name}" for name in ("RandomForestRegressor", "ExtraTreesRegressor"))


def read_tree(fitted: Any, value: NDArray[Any] | None = None, *, features: Any = None, target: int = 0) -> Tree:
    """A fitted tree of scikit-learn, with other values for its nodes when they are given.

    `features` says which columns it was fitted on, where those are not all.
    """
    inner = fitted.tree_
    nodes = inner.__getstate__()["nodes"]
    feature = np.asarray(inner.feature, dtype=np.int64)
    if features is not None:
        feature = np.where(feature >= 0, np.asarray(features)[np.maximum(feature, 0)], 0)
    return Tree(
        feature=feature,
        threshold=np.asarray(inner.threshold, dtype=np.float64),
        left=np.asarray(inner.children_left, dtype=np.int64),
        right=np.asarray(inner.children_right, dtype=np.int64),
        value=np.asarray(inner.value, dtype=np.float64).reshape(inner.node_count, -1) if value is None else value,
        # Since scikit-learn 1.3 trees take missing values.
        missing_left=nodes["missing_go_to_left"] if "missing_go_to_left" in (nodes.dtype.names or ()) else None,
        target=target,
    )


def shares(fitted: Any) -> NDArray[np.float64]:
    """The share of each class in each node of a tree; before scikit-learn 1.3 they were counts."""
    if fitted.n_outputs_ != 1:
        raise NotExpressibleError(f"a tree of {fitted.n_outputs_} targets with classes")
    counts = np.asarray(fitted.tree_.value, dtype=np.float64)[:, 0, :]
    sums = counts.sum(axis=1, keepdims=True)
    if np.allclose(sums, 1.0, rtol=0, atol=1e-6):
        return counts
    sums[sums == 0.0] = 1.0
    return np.asarray(counts / sums)


@formula("probabilities", *_TREES)
def tree_probabilities(model: Any, x: Value) -> Value:
    return ensemble(x.rounded(), [read_tree(model, shares(model))], len(model.classes_))


@formula("numbers", *_TREE_NUMBERS)
def tree_numbers(model: Any, x: Value) -> Value:
    return ensemble(x.rounded(), [read_tree(model)], model.n_outputs_)


@formula("probabilities", *_FORESTS)
def forest_probabilities(model: Any, x: Value) -> Value:
    trees = [read_tree(tree, shares(tree)) for tree in model.estimators_]
    return ensemble(x.rounded(), trees, len(model.classes_)) / float(len(trees))


@formula("numbers", *_FOREST_NUMBERS)
def forest_numbers(model: Any, x: Value) -> Value:
    trees = [read_tree(tree) for tree in model.estimators_]
    return ensemble(x.rounded(), trees, model.n_outputs_) / float(len(trees))


labels_from("probabilities", *_TREES, *_FORESTS)


# --- gradient boosting ---------------------------------------------------------------------------------------------


def _raw_scores(model: Any, x: Value) -> Value:
    """What `_raw_predict` gives: the start, then each stage times the learning rate."""
    stages = model.estimators_
    width = stages.shape[1]
    start, moving = _start(model, x, width)
    trees = [constant_tree(float(value), k) for k, value in enumerate(start)]
    for stage in stages:
        for k, tree in enumerate(stage):
            value = model.learning_rate * np.asarray(tree.tree_.value, dtype=np.float64).reshape(-1, 1)
            trees.append(read_tree(tree, value, target=k))
    scores = ensemble(x.rounded(), trees, width)
    return scores if moving is None else moving + scores


def _start(model: Any, x: Value, width: int) -> tuple[NDArray[np.float64], Value | None]:
    """The number that the sum starts from, and the value of an estimator given as `init`."""
    zeros = np.zeros(width)
    if isinstance(model.init_, str):
        return zeros, None
    if type(model.init_).__name__ in ("DummyClassifier", "DummyRegressor"):
        probe = np.zeros((1, model.n_features_in_), dtype=np.float32)
        return np.asarray(model._raw_predict_init(probe), dtype=np.float64)[0], None
    # The library fits and asks it in float32.
    x.writer.precision = "float32"
    seen = x.rounded()
    if not hasattr(model, "classes_"):
        return zeros, ask("numbers", model.init_, seen)
    shares = ask("probabilities", model.init_, seen)
    eps = float(np.finfo(np.float32 if _old_loss(model) else np.float64).eps)
    if width == 1:
        positive = shares.column(1).clip(eps, 1.0 - eps)
        logit = (positive / (1.0 - positive)).log()
        return zeros, logit * 0.5 if model.loss == "exponential" else logit
    logs = shares.clip(eps, 1.0 - eps).log()
    # Since scikit-learn 1.4 the multinomial link is symmetric: each logarithm less their mean.
    return zeros, logs if _old_loss(model) else logs - logs.mean()


def _old_loss(model: Any) -> bool:
    """Whether the losses are those of scikit-learn before 1.4."""
    return type(model._loss).__module__.endswith("_gb_losses")


@formula("numbers", "sklearn.ensemble.GradientBoostingRegressor")
def boosting_numbers(model: Any, x: Value) -> Value:
    return _raw_scores(model, x)


@formula("decision", "sklearn.ensemble.GradientBoostingClassifier")
def boosting_decision(model: Any, x: Value) -> Value:
    return _raw_scores(model, x)


@formula("probabilities", "sklearn.ensemble.GradientBoostingClassifier")
def boosting_probabilities(model: Any, x: Value) -> Value:
    scores = _raw_scores(model, x)
    if model.loss == "exponential":
        return two_sided((scores * 2.0).sigmoid())
    return two_sided(scores.sigmoid()) if scores.width == 1 else scores.softmax()


@formula("label", "sklearn.ensemble.GradientBoostingClassifier")
def boosting_label(model: Any, x: Value) -> Value:
    scores = _raw_scores(model, x)
    return (scores >= 0.0).cast("int64") if scores.width == 1 else scores.position()


# --- histogram gradient boosting -----------------------------------------------------------------------------------

_HIST = "sklearn.ensemble.HistGradientBoosting"


def _hist_scores(model: Any, x: Value) -> Value:
    x, order = _hist_columns(model, x)
    baseline = np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1)
    trees = [constant_tree(float(value), k) for k, value in enumerate(baseline)]
    for stage in model._predictors:
        for k, predictor in enumerate(stage):
            trees.append(_hist_tree(predictor, order, k))
    return ensemble(x, trees, len(baseline))


def _hist_columns(model: Any, x: Value) -> tuple[Value, NDArray[np.int64]]:
    """The features as the trees see them, and where each of their features is.

    A category is its code. What is not known is missing, which is where the trees send it.
    """
    categorical = getattr(model, "is_categorical_", None)
    everything = np.arange(x.width, dtype=np.int64)
    if categorical is None or not np.any(categorical):
        return x, everything
    flags = np.asarray(categorical, dtype=bool)
    preprocessor = getattr(model, "_preprocessor", None)
    parts: list[Value] = []
    if preprocessor is not None:
        # Since scikit-learn 1.4: an OrdinalEncoder of the categorical columns, which then come first.
        known = preprocessor.named_transformers_["encoder"].categories_
        codes = [np.arange(len(entry), dtype=np.float64) for entry in known]
        order = np.concatenate([everything[flags], everything[~flags]])
    else:
        known = [
            np.flatnonzero(_bits(row)).astype(np.float64)
            for row in model._bin_mapper.make_known_categories_bitsets()[0]
        ]
        codes, order = known, everything
    positions = everything[flags].tolist()
    for column in everything.tolist():
        if not flags[column]:
            parts.append(x.column(column))
            continue
        entry = positions.index(column)
        values = np.asarray(known[entry], dtype=np.float64)
        present = ~np.isnan(values)
        values, table = values[present], np.asarray(codes[entry], dtype=np.float64)[present]
        seen = x.column(column)
        if preprocessor is None:
            # The old trees look at the whole part of a number.
            seen = seen.whole()
        equal = seen.equals(values.reshape(1, -1)).cast("float64")
        equal.width = len(values)
        found = equal.sum() > 0.0
        parts.append(found.where(equal @ table.reshape(-1, 1), np.nan))
    return joined(parts), order


def _bits(words: NDArray[np.uint32]) -> NDArray[np.bool_]:
    return np.array([bool(int(words[i // 32]) >> (i % 32) & 1) for i in range(32 * len(words))])


def _hist_tree(predictor: Any, order: NDArray[np.int64], target: int) -> Tree:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    members = {}
    for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf).tolist():
        members[node] = (
            np.flatnonzero(_bits(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]])).astype(float).tolist()
        )
    return Tree(
        feature=np.where(leaf, 0, order[np.where(leaf, 0, nodes["feature_idx"])]),
        threshold=np.where(leaf, 0.0, nodes["num_threshold"]),
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        value=nodes["value"].astype(np.float64).reshape(-1, 1),
        missing_left=nodes["missing_go_to_left"].astype(bool) & ~leaf,
        members=members,
        target=target,
    )


@formula("numbers", _HIST + "Regressor")
def hist_numbers(model: Any, x: Value) -> Value:
    scores = _hist_scores(model, x)
    return scores.exp() if model.loss in ("poisson", "gamma") else scores


@formula("decision", _HIST + "Classifier")
def hist_decision(model: Any, x: Value) -> Value:
    return _hist_scores(model, x)


@formula("probabilities", _HIST + "Classifier")
def hist_probabilities(model: Any, x: Value) -> Value:
    scores = _hist_scores(model, x)
    return two_sided(scores.sigmoid()) if scores.width == 1 else scores.softmax()


labels_from("probabilities", _HIST + "Classifier")


# --- isolation -----------------------------------------------------------------------------------------------------


@formula("decision", "sklearn.ensemble.IsolationForest")
def isolation_decision(model: Any, x: Value) -> Value:
    """How normal a row is; negative for an outlier."""
    from sklearn.ensemble._iforest import _average_path_length

    trees = []
    for tree, features in zip(model.estimators_, model.estimators_features_):
        inner = tree.tree_
        depth = np.ones(inner.node_count)
        for node in range(inner.node_count):
            for child in (inner.children_left[node], inner.children_right[node]):
                if child >= 0:
                    depth[child] = depth[node] + 1.0
        length = depth + _average_path_length(inner.n_node_samples) - 1.0
        trees.append(read_tree(tree, length.reshape(-1, 1), features=features))
    samples = getattr(model, "_max_samples", None)
    samples = model.max_samples_ if samples is None else samples
    denominator = len(trees) * float(_average_path_length([samples])[0])
    depths = ensemble(x.rounded(), trees, 1)
    exponent = -(depths / denominator) if denominator else -(depths * 0.0 + 1.0)
    return -exponent.exp2() - float(model.offset_)


@formula("label", "sklearn.ensemble.IsolationForest")
def isolation_label(model: Any, x: Value) -> Value:
    return (isolation_decision(model, x) >= 0.0).cast("int64")
