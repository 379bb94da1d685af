"""Graphs against estimators: links, precision, and the same bits alone and among others."""

from __future__ import annotations

import builtins
import importlib.util
from typing import Any

import helpers
import numpy as np
import onnx
import pandas as pd
import pytest
from helpers import exported, fit, golden, manifest, require_parity, training_rows
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    HuberRegressor,
    Lasso,
    LassoCV,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, QuantileTransformer, RobustScaler, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVR

from seaworthy_export import ExportError, ParityError
from seaworthy_export.graph import build_graph, open_session, run_graph

NUMBERS = ["count", "year", "area", "depth"]
SCALE = [("scale", StandardScaler())]
needs_skl2onnx = pytest.mark.skipif(
    importlib.util.find_spec("skl2onnx") is None, reason="these graphs are made by skl2onnx, which is not installed"
)

LINEAR = {
    "least_squares": LinearRegression(),
    "no_intercept": LinearRegression(fit_intercept=False),
    "lasso": Lasso(alpha=0.01),
    "lasso_cv": LassoCV(cv=3, alphas=[0.1, 0.01]),
    "ridge": Ridge(),
    "elastic_net": ElasticNet(alpha=0.01),
    "huber": HuberRegressor(max_iter=1000),
    "bayesian": BayesianRidge(),
    "support_vectors": LinearSVR(max_iter=20000),
    "linear_kernel": SVR(kernel="linear"),
}


@pytest.mark.parametrize("case", LINEAR)
def test_linear_regressors(case: str, tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    pipeline = fit(SCALE, frame, estimator=LINEAR[case])
    directory = exported(pipeline, frame, tmp_path)
    model = manifest(directory)["model"]
    assert model["precision"] == "float64"
    assert model["inputs"] == [{"name": "features", "type": "float64", "shape": [None, 4]}]
    assert model["outputs"] == [{"name": "prediction", "type": "float64", "shape": [None, 1]}]
    assert (model["opset"], model["ir_version"]) == (18, 10)
    require_parity(pipeline, frame, directory)


def labels(frame: pd.DataFrame, n: int) -> Any:
    edges = np.quantile(frame["depth"], np.linspace(0, 1, n + 1)[1:-1])
    noise = np.random.default_rng(5).normal(0, 1.5, len(frame))
    return np.searchsorted(edges, frame["depth"] + noise)


CLASSIFIERS = {
    "two": (LogisticRegression(), 2, ["no", "yes"]),
    "two_integers": (LogisticRegression(), 2, [0, 1]),
    "two_booleans": (LogisticRegression(), 2, [False, True]),
    "three": (LogisticRegression(), 3, ["a", "b", "c"]),
    "five": (LogisticRegression(), 5, [10, 20, 30, 40, 50]),
    "cv": (LogisticRegressionCV(cv=3, Cs=2), 3, ["a", "b", "c"]),
    "sgd": (SGDClassifier(loss="log_loss", random_state=0), 2, ["no", "yes"]),
    "sgd_three": (SGDClassifier(loss="log_loss", random_state=0), 3, ["a", "b", "c"]),
}
if not helpers.NEW:
    CLASSIFIERS["one_vs_rest"] = (LogisticRegression(multi_class="ovr"), 3, ["a", "b", "c"])
    CLASSIFIERS["multinomial_of_two"] = (LogisticRegression(multi_class="multinomial"), 2, ["no", "yes"])
    CLASSIFIERS["liblinear"] = (LogisticRegression(solver="liblinear"), 3, ["a", "b", "c"])


@pytest.mark.parametrize("case", CLASSIFIERS)
def test_linear_classifiers(case: str, tmp_path: Any) -> None:
    estimator, n, names = CLASSIFIERS[case]
    frame = training_rows(n=400)[NUMBERS]
    y = np.array(names)[labels(frame, n)]
    pipeline = fit(SCALE, frame, y=y, estimator=estimator)
    directory = exported(pipeline, frame, tmp_path)
    written = manifest(directory)
    assert written["task"] == ("binary_classification" if n == 2 else "multiclass_classification")
    assert written["outputs"]["probabilities"] == {"tensor": "probabilities", "labels": names, "threshold": None}
    assert written["model"]["precision"] == "float64"
    require_parity(pipeline, frame, directory, absolute=1e-12)
    for line in golden(directory):
        if "output" in line:
            row = helpers.rows_to_frame([line["input"]], frame.dtypes.to_dict())
            assert line["output"]["prediction"] == pipeline.predict(row)[0]
            assert list(line["output"]["probabilities"]) == [str(name) for name in names]


def test_a_threshold_moves_the_label(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    pipeline = fit(SCALE, frame, y=np.array(["no", "yes"])[labels(frame, 2)], estimator=LogisticRegression())
    directory = exported(pipeline, frame, tmp_path, threshold=0.9)
    assert manifest(directory)["outputs"]["probabilities"]["threshold"] == 0.9
    seen = set()
    for line in golden(directory):
        if "output" in line:
            expected = "yes" if line["output"]["probabilities"]["yes"] >= 0.9 else "no"
            assert line["output"]["prediction"] == expected
            seen.add(expected)
    assert seen == {"no", "yes"}
    require_parity(pipeline, frame, directory)


@pytest.mark.parametrize("n_classes", [0, 2, 3, 7])
@pytest.mark.parametrize("n_features", [1, 2, 5, 38, 131])
def test_a_row_has_the_same_bits_alone_and_among_others(n_classes: int, n_features: int) -> None:
    chance = np.random.default_rng(n_features)
    X = chance.normal(size=(600, n_features))
    if n_classes:
        estimator: Any = LogisticRegression(max_iter=30).fit(X, chance.integers(0, n_classes, len(X)))
    else:
        estimator = LinearRegression().fit(X, chance.normal(size=len(X)))
    graph = build_graph(estimator, X)
    session = open_session(graph)
    alone = np.concatenate([run_graph(session, graph, X[i : i + 1]) for i in range(len(X))])
    for n in (2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 64, 333, 600):
        for start in (0, 1, 3):
            together = run_graph(session, graph, X[start : start + n])
            assert together.tobytes() == alone[start : start + n].tobytes()
    expected = estimator.predict_proba(X) if n_classes else estimator.predict(X).reshape(-1, 1)
    np.testing.assert_allclose(alone, expected, rtol=1e-11, atol=1e-14)


def test_probabilities_at_the_ends_are_those_of_scikit_learn() -> None:
    X = np.array([[-800.0], [-40.0], [-1e-9], [0.0], [1e-9], [40.0], [800.0], [1e300]])
    estimator = LogisticRegression().fit([[-1.0], [1.0], [-0.5], [0.5]], [0, 1, 0, 1])
    estimator.coef_, estimator.intercept_ = np.array([[1.0]]), np.array([0.0])
    graph = build_graph(estimator, X[:-2])
    with np.errstate(all="ignore"):
        expected = estimator.predict_proba(X)
    np.testing.assert_allclose(run_graph(open_session(graph), graph, X), expected, rtol=1e-13, atol=0)


def test_a_transformed_target_becomes_postprocessing(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    estimator = TransformedTargetRegressor(LinearRegression(), func=np.log1p, inverse_func=np.expm1)
    pipeline = fit(SCALE, frame, estimator=estimator, y=np.exp(helpers.target(frame)))
    directory = exported(pipeline, frame, tmp_path)
    assert manifest(directory)["postprocess"] == [{"op": "function", "function": "expm1"}]
    require_parity(pipeline, frame, directory)


@pytest.mark.parametrize(
    ("transformer", "expected"),
    [
        (StandardScaler(), ["affine"]),
        (RobustScaler(with_centering=False), ["affine"]),
        (MinMaxScaler(), ["affine"]),
        (PowerTransformer(), ["affine", "power"]),
        (PowerTransformer("box-cox", standardize=False), ["power"]),
        (QuantileTransformer(n_quantiles=20), ["interpolate"]),
        (QuantileTransformer(n_quantiles=20, output_distribution="normal"), ["function", "interpolate"]),
    ],
)
def test_the_transformer_of_a_target_is_inverted(transformer: Any, expected: list[str], tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    estimator = TransformedTargetRegressor(LinearRegression(), transformer=transformer)
    pipeline = fit(SCALE, frame, estimator=estimator, y=np.exp(helpers.target(frame) / 1000))
    # The export compares its own inverse with the estimator's on the golden rows.
    directory = exported(pipeline, frame, tmp_path)
    assert [step["op"] for step in manifest(directory)["postprocess"]] == expected


def test_a_target_transformed_by_a_lambda_is_refused(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    estimator = TransformedTargetRegressor(LinearRegression(), func=lambda y: y, inverse_func=lambda y: y)
    with pytest.raises(ExportError, match=r"inverse of the TransformedTargetRegressor.*\n.*np\.expm1"):
        exported(fit(SCALE, frame, estimator=estimator), frame, tmp_path)


def test_postprocessing_is_applied_in_order(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    pipeline = fit(SCALE, frame)
    steps = ["exp", {"op": "affine", "multiply": 1000, "add": 5, "clip": [0, 2000]}]
    directory = exported(pipeline, frame, tmp_path, postprocess=steps)
    written = manifest(directory)["postprocess"]
    assert written[1] == {"op": "affine", "multiply": 1000.0, "add": 5.0, "clip": [0.0, 2000.0]}
    inverse = lambda y: np.clip(np.exp(y) * 1000 + 5, 0, 2000)  # noqa: E731
    require_parity(pipeline, frame, directory, inverse=inverse)


@pytest.mark.parametrize("step", ["logit", {"op": "affine", "times": 2}, {"op": "round"}], ids=str)
def test_unknown_postprocessing_is_refused(step: Any, tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    with pytest.raises(ExportError, match="postprocess"):
        exported(fit(SCALE, frame), frame, tmp_path, postprocess=[step])


def test_a_bare_estimator(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    estimator = Ridge().fit(frame, helpers.target(frame))
    directory = exported(estimator, frame, tmp_path)
    assert helpers.ops(directory) == ["check"]
    require_parity(estimator, frame, directory)


def test_a_pipeline_at_the_end_of_a_pipeline(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    inner = Pipeline([("again", StandardScaler()), ("ridge", Ridge())])
    pipeline = fit(SCALE, frame, estimator=inner)
    directory = exported(pipeline, frame, tmp_path)
    assert [step["name"] for step in manifest(directory)["pipeline"]][-1] == "model/ridge"
    require_parity(pipeline, frame, directory)


def test_the_graph_says_nothing_of_the_machine(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    model = onnx.load(exported(fit(SCALE, frame), frame, tmp_path) / "model.onnx")
    assert (model.producer_name, model.producer_version, model.graph.name) == ("seaworthy_export", "", "estimator")
    onnx.checker.check_model(model, full_check=True)


@needs_skl2onnx
@pytest.mark.parametrize(
    ("estimator", "precision"),
    [
        (RandomForestRegressor(20, max_depth=5, random_state=0), "float64"),
        (HistGradientBoostingRegressor(max_iter=20, random_state=0), "float64"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_regressors(estimator: Any, precision: str, tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    pipeline = fit(SCALE, frame, estimator=estimator)
    directory = exported(pipeline, frame, tmp_path)
    assert manifest(directory)["model"]["precision"] == precision
    assert manifest(directory)["model"]["outputs"][0]["name"] == "prediction"
    assert helpers.reference.differences(directory) == []


@needs_skl2onnx
def test_an_estimator_that_takes_missing_values_is_not_checked_for_them(tmp_path: Any) -> None:
    frame = training_rows()[[*NUMBERS, "front"]]
    pipeline = fit([], frame, estimator=HistGradientBoostingRegressor(max_iter=10, random_state=0))
    directory = exported(pipeline, frame, tmp_path)
    refused = {refusal for step in manifest(directory)["pipeline"] for refusal in step["refuse"]}
    assert "missing" not in refused
    assert any(None in line["features"] for line in golden(directory) if "features" in line)
    assert helpers.reference.differences(directory) == []


@needs_skl2onnx
def test_a_forest_of_classes(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    forest = RandomForestClassifier(10, max_depth=4, random_state=0)
    pipeline = fit(SCALE, frame, y=np.array(["a", "b", "c"])[labels(frame, 3)], estimator=forest)
    directory = exported(pipeline, frame, tmp_path)
    assert [output["name"] for output in manifest(directory)["model"]["outputs"]] == ["probabilities"]
    assert helpers.reference.differences(directory) == []


def test_a_graph_in_which_rows_depend_on_their_neighbours_is_refused(tmp_path: Any, monkeypatch: Any) -> None:
    import seaworthy_export.graph as module
    from seaworthy_export.graph.build import Value, Writer

    def with_exp(estimator: Any, n_features: int, outputs: Any) -> Any:
        writer = Writer(n_features)
        # ONNX Runtime computes it four at a time, and what is left over in another way.
        return writer.finish({"prediction": Value(writer, writer.node("Exp", [writer.features.sum().name])[0], 1)})

    monkeypatch.setattr(module, "write_graph", with_exp)
    monkeypatch.setattr(module, "_reproduces", lambda *_: True)
    frame = training_rows()[NUMBERS]
    tolerance = {"output": {"relative": 1e3, "absolute": 1e9}}
    with pytest.raises(ParityError, match="other bits alone than among others"):
        exported(fit(SCALE, frame), frame, tmp_path, golden_tolerance=tolerance)


def test_a_generalized_linear_model_is_not_taken_for_a_linear_one(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    y = np.random.default_rng(0).poisson(2.0, len(frame))
    pipeline = fit(SCALE, frame, y=y, estimator=PoissonRegressor())
    directory = exported(pipeline, frame, tmp_path)
    assert "Pow" in {node.op_type for node in onnx.load(directory / "model.onnx").graph.node}
    require_parity(pipeline, frame, directory)


def test_without_skl2onnx_the_error_says_what_to_install(tmp_path: Any, monkeypatch: Any) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.split(".")[0] == "skl2onnx":
            raise ImportError(name)
        return real(name, *arguments, **options)

    frame = training_rows()[NUMBERS]
    pipeline = fit(SCALE, frame, estimator=GaussianProcessRegressor())
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExportError, match=r"GaussianProcessRegressor is not known here.*\nhint: pip install") as error:
        exported(pipeline, frame, tmp_path)
    assert "seaworthy-export[onnx]" in str(error.value)
    assert not (tmp_path / "models").exists()


def test_a_classifier_without_probabilities_gives_labels(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    pipeline = fit(SCALE, frame, y=np.array(["a", "b", "c"])[labels(frame, 3)], estimator=SVC())
    directory = exported(pipeline, frame, tmp_path)
    assert manifest(directory)["outputs"] == {"label": {"tensor": "label", "labels": ["a", "b", "c"]}}
    assert {line["output"]["prediction"] for line in golden(directory) if "output" in line} == {"a", "b", "c"}


def test_several_numbers_have_names(tmp_path: Any) -> None:
    frame = training_rows()[NUMBERS]
    y = np.column_stack([helpers.target(frame), helpers.target(frame, 1)])
    directory = exported(fit(SCALE, frame, y=y), frame, tmp_path, output_names=["low", "high"])
    assert manifest(directory)["outputs"] == {"prediction": {"tensor": "prediction", "names": ["low", "high"]}}


def test_a_graph_that_differs_is_not_written(tmp_path: Any, monkeypatch: Any) -> None:
    import seaworthy_export.graph as module

    frame = training_rows()[NUMBERS]
    pipeline = fit(SCALE, frame)
    monkeypatch.setattr(module.linear, "agree", lambda *_: True)
    monkeypatch.setattr(module, "_reproduces", lambda *_: True)
    shifted = type(
        "Shifted", (LinearRegression,), {"predict": lambda self, X: super(type(self), self).predict(X) + 1e-6}
    )
    pipeline.steps[-1][1].__class__ = shifted
    with pytest.raises(ParityError, match=r"golden row 0: the graph gives .* differ"):
        exported(pipeline, frame, tmp_path)
    assert not (tmp_path / "models").exists()
