"""XGBoost, LightGBM and CatBoost, read from what each library writes of its own models.

They differ in what they compute with. XGBoost has features, thresholds, leaves and sums in float32, and a value goes
left when it is smaller; LightGBM has all in float64; CatBoost compares float32 features with borders and sums in
float64. Each has its own idea of what is missing and of what a category is.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .build import Value
from .ensemble import GREATER, LESS, Tree, constant_tree, ensemble
from .formulas import NotExpressibleError, formula, labels_from, two_sided

# --- XGBoost -------------------------------------------------------------------------------------------------------

_XGB_CLASSIFIERS = ("xgboost.XGBClassifier", "xgboost.XGBRFClassifier")
_XGB_NUMBERS = ("xgboost.XGBRegressor", "xgboost.XGBRFRegressor", "xgboost.XGBRanker")
_LOGISTIC = ("binary:logistic", "reg:logistic", "binary:logitraw")
_LOGARITHMIC = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft")


def _xgb_margin(model: Any, x: Value) -> tuple[Value, str]:
    """The sum of the trees in float32, and the name of the objective."""
    learner = json.loads(bytes(model.get_booster().save_raw("json")))["learner"]
    objective = str(learner["objective"]["name"])
    booster = learner["gradient_booster"]
    factors: list[float] | None = None
    if booster["name"] == "dart":
        factors = [float(w) for w in booster["weight_drop"]]
        booster = booster["gbtree"]
    if "trees" not in booster.get("model", {}):
        raise NotExpressibleError(f"a booster {booster['name']!r} of XGBoost")
    body = booster["model"]
    width = max(int(learner["learner_model_param"]["num_class"]), int(learner["learner_model_param"]["num_target"]), 1)
    start = np.atleast_1d(np.asarray(json.loads(learner["learner_model_param"]["base_score"]), dtype=np.float64))
    if objective in _LOGISTIC and objective != "binary:logitraw":
        start = np.log(start / (1.0 - start))
    elif objective in _LOGARITHMIC:
        start = np.log(start)
    start = np.broadcast_to(start, (width,))
    groups = body["tree_info"]
    trees = [constant_tree(float(value), k) for k, value in enumerate(start)]
    # Trees after the best round are not asked.
    rounds = getattr(model, "best_iteration", None) if "best_iteration" in _attributes(learner) else None
    last = len(body["trees"])
    if rounds is not None:
        last = int(body["iteration_indptr"][rounds + 1]) if "iteration_indptr" in body else last
    for i, tree in enumerate(body["trees"][:last]):
        trees.append(_xgb_tree(tree, int(groups[i]), 1.0 if factors is None else factors[i]))
    missing = float(model.missing) if getattr(model, "missing", None) is not None else np.nan
    if not np.isnan(missing):
        x = x.equals(missing).where(np.nan, x)
    x.writer.precision = "float32"
    return ensemble(x.cast("float32"), trees, width).cast("float64"), objective


def _attributes(learner: Any) -> Any:
    return learner.get("attributes", {})


def _xgb_tree(tree: Any, target: int, factor: float) -> Tree:
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise NotExpressibleError("trees of XGBoost with several numbers in a leaf")
    left = np.asarray(tree["left_children"], dtype=np.int64)
    right = np.asarray(tree["right_children"], dtype=np.int64)
    default = np.asarray(tree["default_left"]).astype(bool)
    conditions = np.asarray(tree["split_conditions"], dtype=np.float32)
    members: dict[int, list[float]] = {}
    for node, begin, size in zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"]):
        members[int(node)] = [float(c) for c in tree["categories"][begin : begin + size]]
    # A category of the set goes to the right.
    swapped = np.zeros(len(left), dtype=bool)
    swapped[list(members)] = True
    value = np.where(left < 0, conditions * np.float32(factor), np.float32(0.0))
    return Tree(
        feature=np.asarray(tree["split_indices"], dtype=np.int64),
        threshold=np.where(swapped, 0.0, conditions),
        left=np.where(swapped, right, left),
        right=np.where(swapped, left, right),
        value=value.reshape(-1, 1),
        missing_left=np.where(swapped, ~default, default) & (left >= 0),
        mode=LESS,
        members=members,
        target=target,
    )


@formula("numbers", *_XGB_NUMBERS)
def xgb_numbers(model: Any, x: Value) -> Value:
    margin, objective = _xgb_margin(model, x)
    if objective in _LOGARITHMIC:
        return margin.exp()
    if objective == "reg:logistic":
        return margin.sigmoid()
    if objective.startswith(("reg:", "rank:")):
        return margin
    raise NotExpressibleError(f"the objective {objective!r} of XGBoost")


@formula("probabilities", *_XGB_CLASSIFIERS)
def xgb_probabilities(model: Any, x: Value) -> Value:
    margin, objective = _xgb_margin(model, x)
    if objective in ("multi:softprob", "multi:softmax"):
        return margin.softmax()
    if objective == "binary:logistic" and margin.width == 1:
        return two_sided(margin.sigmoid())
    raise NotExpressibleError(f"the objective {objective!r} of XGBoost")


labels_from("probabilities", *_XGB_CLASSIFIERS)


@formula("multilabel", *_XGB_CLASSIFIERS)
def xgb_labels(model: Any, x: Value) -> Value:
    margin, objective = _xgb_margin(model, x)
    if objective != "binary:logistic":
        raise NotExpressibleError(f"the objective {objective!r} of XGBoost")
    return margin.sigmoid()


# --- LightGBM ------------------------------------------------------------------------------------------------------

_LGBM_ZERO = float(np.float32(1e-35))


def _lgbm_scores(model: Any, x: Value) -> tuple[Value, dict[str, str]]:
    """The sum of the trees, and the objective with its parameters."""
    best = getattr(model, "best_iteration_", None)
    dumped = model.booster_.dump_model(num_iteration=best if best else None)
    width = int(dumped["num_tree_per_iteration"])
    trees: list[Tree] = []
    zeros: set[int] = set()
    for i, entry in enumerate(dumped["tree_info"]):
        trees.append(_lgbm_tree(entry["tree_structure"], i % width, zeros))
    if zeros:
        # Features of which zero is missing.
        flags = np.zeros(x.width, dtype=bool)
        flags[list(zeros)] = True
        nothing = x.absolute() <= np.where(flags, _LGBM_ZERO, -1.0)
        x = nothing.where(np.nan, x)
    scores = ensemble(x, trees, width)
    if dumped.get("average_output"):
        scores = scores / float(len(trees) // width)
    words = str(dumped.get("objective") or "custom").split()
    parameters = dict(word.split(":", 1) for word in words[1:] if ":" in word)
    parameters["name"] = words[0]
    parameters["sqrt"] = "1" if "sqrt" in words[1:] else ""
    return scores, parameters


def _lgbm_tree(root: Any, target: int, zeros: set[int]) -> Tree:
    nodes: list[Any] = []
    stack = [root]
    places: dict[int, int] = {}
    while stack:
        node = stack.pop()
        places[id(node)] = len(nodes)
        nodes.append(node)
        if "left_child" in node:
            stack += [node["right_child"], node["left_child"]]
    n = len(nodes)
    feature, left, right = np.zeros(n, np.int64), np.full(n, -1), np.full(n, -1)
    threshold, value, missing = np.zeros(n), np.zeros((n, 1)), np.zeros(n, dtype=bool)
    members: dict[int, list[float]] = {}
    for i, node in enumerate(nodes):
        if "left_child" not in node:
            if "leaf_coeff" in node:
                raise NotExpressibleError("linear trees of LightGBM")
            value[i, 0] = node["leaf_value"]
            continue
        feature[i] = node["split_feature"]
        left[i], right[i] = places[id(node["left_child"])], places[id(node["right_child"])]
        if node["decision_type"] == "==":
            members[i] = [float(part) for part in str(node["threshold"]).split("||")]
            continue
        threshold[i] = float(node["threshold"])
        kind = node["missing_type"]
        if kind == "Zero":
            zeros.add(int(feature[i]))
        # Where nothing is missing in training, NaN is taken for zero.
        missing[i] = bool(node["default_left"]) if kind in ("NaN", "Zero") else bool(threshold[i] >= 0.0)
    return Tree(feature, threshold, left, right, value, missing, members=members, target=target)


@formula("numbers", "lightgbm.LGBMRegressor", "lightgbm.LGBMRanker")
def lgbm_numbers(model: Any, x: Value) -> Value:
    scores, objective = _lgbm_scores(model, x)
    name = objective["name"]
    if name in ("poisson", "gamma", "tweedie"):
        return scores.exp()
    if name in ("cross_entropy", "xentropy"):
        return scores.sigmoid()
    if objective["sqrt"]:
        return scores * scores.absolute()
    if name in ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"):
        return scores
    raise NotExpressibleError(f"the objective {name!r} of LightGBM")


@formula("probabilities", "lightgbm.LGBMClassifier")
def lgbm_probabilities(model: Any, x: Value) -> Value:
    scores, objective = _lgbm_scores(model, x)
    name = objective["name"]
    if name == "binary":
        return two_sided((scores * float(objective.get("sigmoid", 1.0))).sigmoid())
    if name == "multiclass":
        return scores.softmax()
    if name == "multiclassova":
        return (scores * float(objective.get("sigmoid", 1.0))).sigmoid()
    raise NotExpressibleError(f"the objective {name!r} of LightGBM")


labels_from("probabilities", "lightgbm.LGBMClassifier")


# --- CatBoost ------------------------------------------------------------------------------------------------------


def _cat_scores(model: Any, x: Value) -> Value:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.json"
        model.save_model(os.fspath(path), format="json")
        dumped = json.loads(path.read_text(encoding="utf-8"))
    if dumped["features_info"].get("categorical_features") or dumped["features_info"].get("text_features"):
        raise NotExpressibleError("CatBoost with categorical features; encode them in the pipeline")
    flat: dict[int, int] = {}
    as_true: set[int] = set()
    for entry in dumped["features_info"]["float_features"]:
        flat[entry["feature_index"]] = entry["flat_feature_index"]
        if entry.get("nan_value_treatment") == "AsTrue":
            as_true.add(entry["feature_index"])
    scale, bias = dumped["scale_and_bias"]
    bias = np.atleast_1d(np.asarray(bias, dtype=np.float64))
    if "oblivious_trees" in dumped:
        trees = [_cat_oblivious(tree, flat, as_true) for tree in dumped["oblivious_trees"]]
    else:
        trees = [_cat_tree(tree, flat, as_true) for tree in dumped["trees"]]
    width = max(len(bias), *(tree.value.shape[1] for tree in trees))
    summed = ensemble(x.rounded(), trees, width)
    return (summed * float(scale) if scale != 1 else summed) + np.broadcast_to(bias, (width,))


def _cat_split(split: Any, flat: dict[int, int]) -> tuple[int, float]:
    if split.get("split_type", "FloatFeature") != "FloatFeature":
        raise NotExpressibleError(f"a split of CatBoost of the type {split['split_type']!r}")
    return flat[split["float_feature_index"]], float(np.float32(split["border"]))


def _cat_oblivious(tree: Any, flat: dict[int, int], as_true: set[int]) -> Tree:
    """The same question at each level; the answers are the bits of the leaf, the first the lowest."""
    splits = tree["splits"] or []
    depth = len(splits)
    leaves = np.asarray(tree["leaf_values"], dtype=np.float64).reshape(2**depth, -1)
    n = 2 ** (depth + 1) - 1
    feature, left, right = np.zeros(n, np.int64), np.full(n, -1), np.full(n, -1)
    threshold, value, missing = np.zeros(n), np.zeros((n, leaves.shape[1])), np.zeros(n, dtype=bool)
    for node in range(2**depth - 1):
        level = (node + 1).bit_length() - 1
        feature[node], threshold[node] = _cat_split(splits[level], flat)
        missing[node] = splits[level]["float_feature_index"] in as_true
        # The left child is where the feature is above the border.
        left[node], right[node] = 2 * node + 1, 2 * node + 2
    for place in range(2**depth):
        bits = [not (place >> (depth - 1 - level)) & 1 for level in range(depth)]
        value[2**depth - 1 + place] = leaves[sum(1 << level for level, bit in enumerate(bits) if bit)]
    return Tree(feature, threshold, left, right, value, missing, mode=GREATER)


def _cat_tree(root: Any, flat: dict[int, int], as_true: set[int]) -> Tree:
    nodes: list[Any] = []
    stack, places = [root], {}
    while stack:
        node = stack.pop()
        places[id(node)] = len(nodes)
        nodes.append(node)
        if "split" in node:
            stack += [node["left"], node["right"]]
    n = len(nodes)
    width = max(np.size(node["value"]) for node in nodes if "split" not in node)
    feature, left, right = np.zeros(n, np.int64), np.full(n, -1), np.full(n, -1)
    threshold, value, missing = np.zeros(n), np.zeros((n, width)), np.zeros(n, dtype=bool)
    for i, node in enumerate(nodes):
        if "split" not in node:
            value[i] = node["value"]
            continue
        feature[i], threshold[i] = _cat_split(node["split"], flat)
        missing[i] = node["split"]["float_feature_index"] in as_true
        left[i], right[i] = places[id(node["right"])], places[id(node["left"])]
    return Tree(feature, threshold, left, right, value, missing, mode=GREATER)


def _cat_loss(model: Any) -> str:
    return str(model.get_all_params().get("loss_function", "")).split(":")[0]


@formula("numbers", "catboost.CatBoostRegressor")
def cat_numbers(model: Any, x: Value) -> Value:
    scores = _cat_scores(model, x)
    return scores.exp() if _cat_loss(model) in ("Poisson", "Tweedie") else scores


@formula("probabilities", "catboost.CatBoostClassifier")
def cat_probabilities(model: Any, x: Value) -> Value:
    scores = _cat_scores(model, x)
    if scores.width == 1:
        return two_sided(scores.sigmoid())
    return scores.sigmoid() if _cat_loss(model) == "MultiClassOneVsAll" else scores.softmax()


labels_from("probabilities", "catboost.CatBoostClassifier")
