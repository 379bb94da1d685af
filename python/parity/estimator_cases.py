"""Which estimators are served and compared, and on what rows."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Callable

import numpy as np
import pandas as pd

N_TRAIN = 400
COLUMNS = ["a", "b", "c", "d", "code", "e", "f"]


@dataclass(frozen=True)
class Estimator:
    """One row of docs/estimators.md.

    Attributes:
        name: of the model while it is served.
        title: in the table.
        family: the heading.
        kind: what is answered: `number`, `numbers`, `probabilities`, `label` or `multilabel`.
        make: an unfitted one.
        target: what it is fitted on: `number`, `count`, `numbers`, `two`, `three`, `words`, `labels` or none.
        data: `plain`, `positive`, `codes`, `missing` or `binary`.
        library: that must be installed beside scikit-learn.
        generations: of the libraries that have it; all when empty.
        options: more arguments of `export`.
        note: for the table.

    """

    name: str
    title: str
    family: str
    kind: str
    make: Callable[[], Any]
    target: str
    data: str = "plain"
    library: str = ""
    generations: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


def frames(case: Estimator, n_rows: int) -> tuple[pd.DataFrame, Any, pd.DataFrame]:
    """Training rows, their target, and rows to ask."""
    chance = np.random.default_rng(7)
    X = chance.normal(size=(N_TRAIN + n_rows, len(COLUMNS)))
    X[:, 4] = chance.integers(0, 9, len(X))
    # Some of the rows asked are far away, some lie on values that training had.
    X[N_TRAIN::7] *= 3.0
    X[N_TRAIN + 1 :: 5, :4] = X[chance.integers(0, N_TRAIN, len(X[N_TRAIN + 1 :: 5])), :4]
    noise = chance.normal(size=len(X)) * 0.4
    score = X[:, 0] + X[:, 1] * X[:, 2] + X[:, 4] % 3 + noise
    if case.data == "positive":
        X = np.abs(X)
    elif case.data == "codes":
        X[:, :4] = np.floor(np.abs(X[:, :4])).clip(0, 2)
        X[:, 5:] = np.floor(np.abs(X[:, 5:])).clip(0, 2)
        X[:, 4] = np.floor(np.abs(X[:, 4])) % 9
    elif case.data == "missing":
        X[chance.random(X.shape) < 0.1] = np.nan
    frame = pd.DataFrame(X, columns=COLUMNS)
    train, test = frame.iloc[:N_TRAIN], frame.iloc[N_TRAIN:].reset_index(drop=True)
    return train, _target(case.target, score[:N_TRAIN], X[:N_TRAIN]), test


def _target(kind: str, score: Any, X: Any) -> Any:
    if kind == "none":
        return None
    if kind == "number":
        return score
    if kind == "count":
        return np.floor(np.exp(score.clip(-3, 3) / 2)) + 1.0
    if kind == "numbers":
        return np.column_stack([score, score * 2 + X[:, 3], -X[:, 0]])
    if kind == "labels":
        return np.column_stack([score > 1, X[:, 0] > 0, score + X[:, 3] > 2]).astype(int)
    edges = {"two": [0.5], "three": [0.33, 0.67], "words": [0.2, 0.5, 0.8]}[kind]
    positions = np.searchsorted(np.quantile(score, edges), score)
    return np.array(["low", "middle", "high", "top"])[positions] if kind == "words" else positions


def _class(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


CASES: list[Estimator] = []


def _add(
    family: str, path: str, *, variant: str = "", targets: str = "", slow: Mapping[str, Any] | None = None, **more: Any
) -> None:
    """One case for each target."""
    del slow
    parameters = more.pop("parameters", {})
    for target in targets.split():
        kind = more.get("kind") or {
            "number": "number", "count": "number", "numbers": "numbers", "labels": "multilabel", "none": "label",
        }.get(target, "probabilities")  # fmt: skip
        short = path.rpartition(".")[2]
        parts = [short, variant, "" if target == "number" else target]
        name = "-".join(part for part in parts if part).lower().replace(" ", "-").replace("_", "-")
        shown = {"two": "2 classes", "three": "3 classes", "words": "4 strings"}.get(target, "")
        title = f"`{short}`" + (f" {variant}" if variant else "") + (f", {shown}" if shown else "")
        rest = {key: value for key, value in more.items() if key != "kind"}

        def make(path: str = path, parameters: Any = parameters) -> Any:
            given = parameters() if callable(parameters) else dict(parameters)
            return _class(path)(**given)

        CASES.append(Estimator(name, title, family, kind, make, target, **rest))


def _scaled(path: str, **parameters: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), _class(path)(**parameters))


_LINEAR = "sklearn.linear_model."
for _name in ("LinearRegression", "Ridge", "Lasso", "ElasticNet", "BayesianRidge", "HuberRegressor"):
    _add("Linear models", _LINEAR + _name, targets="number")
_add("Linear models", _LINEAR + "SGDRegressor", targets="number", parameters={"random_state": 0})
_add("Linear models", _LINEAR + "LinearRegression", targets="numbers")
for _name in ("PoissonRegressor", "GammaRegressor"):
    _add("Linear models", _LINEAR + _name, targets="count")
_add("Linear models", _LINEAR + "TweedieRegressor", targets="count", parameters={"power": 1.5})
_add("Linear models", _LINEAR + "LogisticRegression", targets="two three words", parameters={"max_iter": 500})
_add(
    "Linear models", _LINEAR + "LogisticRegression", variant="multinomial", targets="two", generations=("2023",),
    parameters={"multi_class": "multinomial"},
)  # fmt: skip
_add(
    "Linear models", _LINEAR + "SGDClassifier", variant="log_loss", targets="two three",
    parameters={"loss": "log_loss", "random_state": 0},
)  # fmt: skip
_add("Linear models", _LINEAR + "SGDClassifier", targets="two three", kind="label", parameters={"random_state": 0})
_add(
    "Linear models", _LINEAR + "SGDClassifier", variant="modified_huber", targets="two three",
    parameters={"loss": "modified_huber", "random_state": 0},
)  # fmt: skip
for _name in ("RidgeClassifier", "Perceptron"):
    _add("Linear models", _LINEAR + _name, targets="two words", kind="label")
_add("Linear models", "sklearn.svm.LinearSVC", targets="two words", kind="label", parameters={"random_state": 0})
_add("Linear models", "sklearn.svm.LinearSVR", targets="number", parameters={"random_state": 0, "max_iter": 20000})
_add("Linear models", "sklearn.discriminant_analysis.LinearDiscriminantAnalysis", targets="two words")
_add("Linear models", "sklearn.discriminant_analysis.QuadraticDiscriminantAnalysis", targets="two words")

for _kernel in ("linear", "rbf", "poly", "sigmoid"):
    _add("Support vectors", "sklearn.svm.SVR", variant=_kernel, targets="number", parameters={"kernel": _kernel})
    _add(
        "Support vectors", "sklearn.svm.SVC", variant=_kernel, targets="two words", kind="label",
        parameters={"kernel": _kernel},
    )  # fmt: skip
_add("Support vectors", "sklearn.svm.NuSVR", targets="number")
_add("Support vectors", "sklearn.svm.NuSVC", targets="two words", kind="label", parameters={"nu": 0.2})
_add(
    "Support vectors", "sklearn.svm.SVC", variant="with probabilities", targets="two words",
    parameters={"probability": True, "random_state": 0},
)  # fmt: skip
_add("Support vectors", "sklearn.svm.OneClassSVM", targets="none", parameters={"nu": 0.1})

_TIES = "a row whose k-th neighbour is one of several at the same distance may differ, see docs/exporter.md"
for _weights in ("uniform", "distance"):
    _add(
        "Neighbours", "sklearn.neighbors.KNeighborsClassifier", variant=_weights, targets="two words",
        parameters={"weights": _weights}, note=_TIES if _weights == "uniform" else "",
    )  # fmt: skip
    _add(
        "Neighbours", "sklearn.neighbors.KNeighborsRegressor", variant=_weights, targets="number",
        parameters={"weights": _weights},
    )  # fmt: skip
_add(
    "Neighbours", "sklearn.neighbors.KNeighborsClassifier", variant="brute", targets="words",
    parameters={"algorithm": "brute"},
)  # fmt: skip
_add("Neighbours", "sklearn.cluster.KMeans", targets="none", parameters={"n_init": 2, "random_state": 0})

for _name, _data in (
    ("GaussianNB", "plain"), ("BernoulliNB", "plain"), ("MultinomialNB", "positive"), ("ComplementNB", "positive"),
    ("CategoricalNB", "codes"),
):  # fmt: skip
    _add("Naive Bayes", "sklearn.naive_bayes." + _name, targets="two words", data=_data)

_SEED = {"random_state": 0}
for _name in ("DecisionTree", "ExtraTree"):
    _add("Trees", f"sklearn.tree.{_name}Regressor", targets="number numbers", parameters=_SEED)
    _add("Trees", f"sklearn.tree.{_name}Classifier", targets="two words", parameters=_SEED)
_FEW = {"n_estimators": 40, "random_state": 0}
for _name in ("RandomForest", "ExtraTrees"):
    _add("Trees", f"sklearn.ensemble.{_name}Regressor", targets="number numbers", parameters=_FEW)
    _add("Trees", f"sklearn.ensemble.{_name}Classifier", targets="two words labels", parameters=_FEW)
_add(
    "Trees", "sklearn.ensemble.RandomForestClassifier", variant="shallow", targets="words",
    parameters={"max_depth": 4, **_FEW},
)  # fmt: skip
_add(
    "Trees", "sklearn.ensemble.RandomForestRegressor", variant="missing values", targets="number", data="missing",
    parameters=_FEW, generations=("current",),
)  # fmt: skip
_add("Trees", "sklearn.ensemble.IsolationForest", targets="none", parameters=_FEW)

_GB = "sklearn.ensemble.GradientBoosting"
for _loss in ("squared_error", "absolute_error", "huber", "quantile"):
    _add("Boosting", _GB + "Regressor", variant=_loss, targets="number", parameters={"loss": _loss, **_FEW})
_add("Boosting", _GB + "Regressor", variant="500 trees", targets="number", parameters={"n_estimators": 500})
_add("Boosting", _GB + "Regressor", variant="from zero", targets="number", parameters={"init": "zero", **_FEW})
_add("Boosting", _GB + "Classifier", targets="two words", parameters=_FEW)
_add("Boosting", _GB + "Classifier", variant="exponential", targets="two", parameters={"loss": "exponential", **_FEW})
_add(
    "Boosting", _GB + "Classifier", variant="from another", targets="two words",
    parameters=lambda: {"init": _class(_LINEAR + "LogisticRegression")(), **_FEW},
    note="the library fits and asks an `init` in float32, so the answer has that precision",
)  # fmt: skip
_HGB = "sklearn.ensemble.HistGradientBoosting"
_SHORT = {"max_iter": 40, "random_state": 0}
_add("Boosting", _HGB + "Regressor", targets="number", parameters=_SHORT)
_add("Boosting", _HGB + "Regressor", variant="poisson", targets="count", parameters={"loss": "poisson", **_SHORT})
_add("Boosting", _HGB + "Regressor", variant="missing values", targets="number", data="missing", parameters=_SHORT)
_add(
    "Boosting", _HGB + "Regressor", variant="categories", targets="number", data="missing",
    parameters={"categorical_features": [4], **_SHORT},
)  # fmt: skip
_add("Boosting", _HGB + "Classifier", targets="two words", parameters=_SHORT)
_add(
    "Boosting", _HGB + "Classifier", variant="categories", targets="words", data="missing",
    parameters={"categorical_features": [4], **_SHORT},
)  # fmt: skip
_ADA = "sklearn.ensemble.AdaBoost"
_add("Boosting", _ADA + "Regressor", targets="number", parameters=_FEW)
_add("Boosting", _ADA + "Classifier", targets="two words", parameters=_FEW)

_PARTS: Callable[[], list[tuple[str, Any]]] = lambda: [  # noqa: E731
    ("a", _scaled(_LINEAR + "LogisticRegression")),
    ("b", _class("sklearn.ensemble.RandomForestClassifier")(10, random_state=0)),
    ("c", _class("sklearn.naive_bayes.GaussianNB")()),
]
_NUMBERS: Callable[[], list[tuple[str, Any]]] = lambda: [  # noqa: E731
    ("a", _scaled(_LINEAR + "Ridge")),
    ("b", _class("sklearn.ensemble.RandomForestRegressor")(10, random_state=0)),
]
_META = "Made of others"
_add(_META, "sklearn.ensemble.BaggingRegressor", targets="number", parameters=_SEED)
_add(_META, "sklearn.ensemble.BaggingClassifier", targets="two words", parameters={"max_features": 0.6, **_SEED})
_add(_META, "sklearn.ensemble.VotingRegressor", targets="number", parameters=lambda: {"estimators": _NUMBERS()})
_add(
    _META, "sklearn.ensemble.VotingClassifier", variant="soft", targets="two words",
    parameters=lambda: {"estimators": _PARTS(), "voting": "soft", "weights": [1, 2, 0.5]},
)  # fmt: skip
_add(
    _META, "sklearn.ensemble.VotingClassifier", variant="hard", targets="words", kind="label",
    parameters=lambda: {"estimators": _PARTS()},
)  # fmt: skip
_add(_META, "sklearn.ensemble.StackingRegressor", targets="number", parameters=lambda: {"estimators": _NUMBERS()})
_add(_META, "sklearn.ensemble.StackingClassifier", targets="two words", parameters=lambda: {"estimators": _PARTS()})
for _method in ("sigmoid", "isotonic"):
    _add(
        _META, "sklearn.calibration.CalibratedClassifierCV", variant=_method, targets="two words",
        parameters=lambda method=_method: {
            ("estimator" if _new() else "base_estimator"): _class("sklearn.svm.LinearSVC")(random_state=0),
            "method": method,
        },
    )  # fmt: skip
_add(
    _META, "sklearn.multiclass.OneVsRestClassifier", targets="words labels",
    parameters=lambda: {"estimator": _class(_LINEAR + "LogisticRegression")()},
)  # fmt: skip
_add(
    _META, "sklearn.multiclass.OneVsOneClassifier", targets="words", kind="label",
    parameters=lambda: {"estimator": _class(_LINEAR + "LogisticRegression")()},
)  # fmt: skip
_add(
    _META, "sklearn.multioutput.MultiOutputRegressor", targets="numbers",
    parameters=lambda: {"estimator": _class(_GB + "Regressor")(n_estimators=10, random_state=0)},
)  # fmt: skip
_add(
    _META, "sklearn.multioutput.RegressorChain", targets="numbers",
    parameters=lambda: {"base_estimator" if not _new() else "estimator": _class(_LINEAR + "Ridge")()},
)  # fmt: skip
_add(
    _META, "sklearn.multioutput.MultiOutputClassifier", targets="labels",
    parameters=lambda: {"estimator": _class(_LINEAR + "LogisticRegression")()},
)  # fmt: skip
_add(
    _META, "sklearn.multioutput.ClassifierChain", targets="labels",
    parameters=lambda: {
        "base_estimator" if not _new() else "estimator": _class(_LINEAR + "LogisticRegression")(), "random_state": 0
    },
)  # fmt: skip
_add(
    _META, "sklearn.compose.TransformedTargetRegressor", targets="count",
    parameters=lambda: {"regressor": _class(_GB + "Regressor")(), "func": np.log1p, "inverse_func": np.expm1},
)  # fmt: skip
_add(
    _META, "sklearn.model_selection.GridSearchCV", targets="two",
    parameters=lambda: {"estimator": _class(_LINEAR + "LogisticRegression")(), "param_grid": {"C": [0.1, 1.0]}},
)  # fmt: skip

_MLP = "sklearn.neural_network.MLP"
for _activation in ("relu", "tanh", "logistic", "identity"):
    _small = {"hidden_layer_sizes": (20, 10), "max_iter": 60, "random_state": 0, "activation": _activation}
    _add("Neural networks", _MLP + "Regressor", variant=_activation, targets="number", parameters=_small)
    _add("Neural networks", _MLP + "Classifier", variant=_activation, targets="two words", parameters=_small)
_add("Neural networks", _MLP + "Classifier", targets="labels", parameters={"max_iter": 60, "random_state": 0})

_XGB = "XGBoost, LightGBM, CatBoost"
_BOOST = {"n_estimators": 60}
_add(_XGB, "xgboost.XGBRegressor", targets="number", parameters=_BOOST, library="xgboost")
_add(
    _XGB,
    "xgboost.XGBRegressor",
    variant="missing values",
    targets="number",
    data="missing",
    parameters=_BOOST,
    library="xgboost",
)
_add(
    _XGB, "xgboost.XGBRegressor", variant="poisson", targets="count", library="xgboost",
    parameters={"objective": "count:poisson", **_BOOST},
)  # fmt: skip
_add(
    _XGB, "xgboost.XGBRegressor", variant="categories", targets="number", library="xgboost",
    parameters={"enable_categorical": True, "feature_types": ["q", "q", "q", "q", "c", "q", "q"], **_BOOST},
)  # fmt: skip
_add(_XGB, "xgboost.XGBClassifier", targets="two three", parameters=_BOOST, library="xgboost")
_LGBM = {"n_estimators": 60, "verbose": -1, "num_threads": 1}
_add(_XGB, "lightgbm.LGBMRegressor", targets="number", parameters=_LGBM, library="lightgbm")
_add(
    _XGB,
    "lightgbm.LGBMRegressor",
    variant="missing values",
    targets="number",
    data="missing",
    parameters=_LGBM,
    library="lightgbm",
)
_add(
    _XGB, "lightgbm.LGBMRegressor", variant="categories", targets="number", library="lightgbm",
    parameters={"categorical_feature": [4], "min_data_per_group": 5, **_LGBM},
)  # fmt: skip
_add(
    _XGB, "lightgbm.LGBMRegressor", variant="poisson", targets="count", library="lightgbm",
    parameters={"objective": "poisson", **_LGBM},
)  # fmt: skip
_add(_XGB, "lightgbm.LGBMClassifier", targets="two words", parameters=_LGBM, library="lightgbm")
_CAT = {"iterations": 60, "verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 0}
_add(_XGB, "catboost.CatBoostRegressor", targets="number", parameters=_CAT, library="catboost")
_add(
    _XGB,
    "catboost.CatBoostRegressor",
    variant="missing values",
    targets="number",
    data="missing",
    parameters=_CAT,
    library="catboost",
)
_add(
    _XGB, "catboost.CatBoostRegressor", variant="lossguide", targets="number", library="catboost",
    parameters={"grow_policy": "Lossguide", **_CAT},
)  # fmt: skip
_add(_XGB, "catboost.CatBoostClassifier", targets="two words", parameters=_CAT, library="catboost")


def _new() -> bool:
    from sklearn import __version__

    return int(__version__.split(".")[1]) >= 5
