"""What graphs are made of, and what went wrong with them before."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import onnx
import pytest
from helpers import exported, fit, manifest, training_rows
from onnx import numpy_helper
from sklearn.ensemble import (
    AdaBoostClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, SVR, NuSVC

from seaworthy_export.graph import build_graph, open_session, run_graph
from seaworthy_export.graph.build import Writer
from seaworthy_export.graph.ensemble import Tree, constant_tree, ensemble
from seaworthy_export.graph.formulas import ask
from seaworthy_export.outputs import describe

CHANCE = np.random.default_rng(3)
X = CHANCE.normal(size=(300, 5))
SCORE = X[:, 0] + X[:, 1] * X[:, 2] + CHANCE.normal(size=300) * 0.3
THREE = np.searchsorted(np.quantile(SCORE, [0.3, 0.6]), SCORE)


def run(value: Any, rows: Any) -> Any:
    graph = value.writer.finish({"prediction": value})
    return run_graph(open_session(graph), graph, np.asarray(rows, dtype=np.float64))


@pytest.mark.parametrize(
    ("estimator", "y"),
    [
        (GradientBoostingRegressor(n_estimators=30), SCORE),
        (GradientBoostingClassifier(n_estimators=10), THREE),
        (HistGradientBoostingRegressor(max_iter=20), SCORE),
        (RandomForestClassifier(20, max_depth=4), THREE),
        (AdaBoostClassifier(n_estimators=10), THREE),
        (SVR(kernel="poly"), SCORE),
        (SVC(), THREE),
        (NuSVC(nu=0.2, kernel="sigmoid"), THREE > 0),
        (SGDClassifier(loss="modified_huber", random_state=0), THREE),
        (KNeighborsClassifier(weights="distance"), THREE),
        (GaussianNB(), THREE),
        (MLPClassifier((8,), activation="tanh", max_iter=30), THREE),
        (
            VotingClassifier([("a", LogisticRegression()), ("b", GaussianNB())], voting="soft", weights=[1, 3]),
            THREE,
        ),
        (StackingClassifier([("a", LogisticRegression()), ("b", SVC())], cv=2), THREE),
        (IsolationForest(n_estimators=20), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_graphs_in_float64_and_the_same_bits_alone(estimator: Any, y: Any) -> None:
    estimator.fit(X, y) if y is not None else estimator.fit(X)
    outputs = describe(estimator, X)
    graph = build_graph(estimator, X, outputs)
    assert (graph.way, graph.precision) == ("own graph", "float64")
    session = open_session(graph)
    rows = np.vstack([X, X * 3.0])
    found = run_graph(session, graph, rows)
    np.testing.assert_allclose(found, outputs.tensor(estimator, rows), rtol=1e-12, atol=1e-12)
    for i in (0, 1, 17, 599):
        assert run_graph(session, graph, rows[i : i + 1]).tobytes() == found[i : i + 1].tobytes()


def test_probabilities_of_libsvm_are_coupled_as_it_does() -> None:
    for y in (THREE, THREE > 0):
        try:
            estimator = SVC(probability=True).fit(X, y)
        except TypeError:
            pytest.skip("this version of scikit-learn has no probabilities of SVC")
        writer = Writer(5)
        value = ask("probabilities", estimator, writer.features)
        np.testing.assert_allclose(run(value, X), estimator.predict_proba(X), rtol=1e-11, atol=1e-13)
        # Its label is that of the votes, which is a tensor of its own.
        outputs = describe(estimator, X)
        assert (outputs.kind, outputs.has_label) == ("probabilities", True)
        graph = build_graph(estimator, X, outputs)
        assert [(entry["name"], entry["type"]) for entry in graph.outputs] == [
            ("probabilities", "float64"), ("label", "int64"),
        ]  # fmt: skip
        found = run_graph(open_session(graph), graph, X)
        assert [outputs.labels[int(i)] for i in found[:, -1]] == estimator.predict(X).tolist()  # type: ignore[index]


def test_a_factor_beside_a_product_is_not_rounded_to_float32() -> None:
    # ONNX Runtime makes a FusedMatMul of the two, whose attribute alpha is float32.
    writer = Writer(5)
    weights = CHANCE.normal(size=(5, 3))
    many, one = writer.features.product(weights) * 0.1, writer.features.product(weights[:, :1]) / 0.3
    np.testing.assert_allclose(run(many, X), X @ weights * 0.1, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(run(one, X), X @ weights[:, :1] / 0.3, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(
        run((writer.features * 0.1).product(weights), X), X * 0.1 @ weights, rtol=1e-12, atol=1e-15
    )


def test_sums_of_trees_have_the_bits_of_the_library() -> None:
    model = GradientBoostingRegressor(n_estimators=300, random_state=0).fit(X, SCORE)
    graph = build_graph(model, X)
    assert run_graph(open_session(graph), graph, X).ravel().tolist() == model.predict(X).tolist()


def test_a_leaf_of_several_numbers_is_written_as_several_trees() -> None:
    forest = RandomForestClassifier(5, random_state=0).fit(X, THREE)
    node = next(n for n in onnx.load_from_string(build_graph(forest, X).data).graph.node if n.op_type == "TreeEnsemble")
    roots = next(a for a in node.attribute if a.name == "tree_roots").ints
    assert len(roots) == 5, "leaves are pure, so that each tree is written once"
    shallow = RandomForestClassifier(5, max_depth=2, random_state=0).fit(X, THREE)
    node = next(
        n for n in onnx.load_from_string(build_graph(shallow, X).data).graph.node if n.op_type == "TreeEnsemble"
    )
    roots = next(a for a in node.attribute if a.name == "tree_roots").ints
    assert 5 < len(roots) <= 15
    splits = numpy_helper.to_array(next(a for a in node.attribute if a.name == "nodes_splits").t)
    assert splits.dtype == np.float64


def test_trees_of_one_leaf_and_empty_sets() -> None:
    writer = Writer(2)
    none = np.array([0, 0, 0])
    leaf = Tree(
        feature=none, threshold=np.zeros(3), left=np.array([1, -1, -1]), right=np.array([2, -1, -1]),
        value=np.array([[0.0], [1.0], [2.0]]), missing_left=np.array([True, False, False]), members={0: []},
    )  # fmt: skip
    value = ensemble(writer.features, [constant_tree(0.25), leaf], 1)
    assert run(value, [[0.0, 0.0], [np.nan, 1.0]]).tolist() == [[2.25], [1.25]]


def test_a_number_too_large_for_float32_is_an_error_of_its_row(tmp_path: Any) -> None:
    frame = training_rows()[["count", "area", "depth"]]
    directory = exported(fit([], frame, estimator=GradientBoostingRegressor(n_estimators=5)), frame, tmp_path)
    check = manifest(directory)["pipeline"][-1]
    assert check["refuse"] == ["outside"]
    assert np.float32(check["between"][1]) == np.finfo(np.float32).max
    answers = helpers.reference.open_artifact(directory).run([{"count": 1, "area": 1e39, "depth": 0.0}])
    assert answers == [{"error": {"field": "area", "code": "out_of_domain"}}]


def test_what_is_not_known_goes_through_skl2onnx() -> None:
    pytest.importorskip("skl2onnx")
    graph = build_graph(GaussianProcessRegressor().fit(X[:40], SCORE[:40]), X[:40])
    assert graph.way == "skl2onnx"


def test_a_threshold_that_was_fitted_is_taken_over(tmp_path: Any) -> None:
    model_selection = pytest.importorskip("sklearn.model_selection")
    if not hasattr(model_selection, "FixedThresholdClassifier"):
        pytest.skip("this version of scikit-learn has no thresholds")
    frame = training_rows()[["count", "area", "depth"]]
    estimator = model_selection.FixedThresholdClassifier(
        LogisticRegression(), threshold=0.8, response_method="predict_proba"
    )
    y = (frame["depth"] > 0).astype(int)
    pipeline = fit([], frame, y=y, estimator=estimator)
    directory = exported(pipeline, frame, tmp_path)
    assert manifest(directory)["outputs"]["probabilities"]["threshold"] == 0.8
    assert helpers.reference.differences(directory) == []


def test_rows_near_a_border_of_float32_are_golden_rows(tmp_path: Any, monkeypatch: Any, caplog: Any) -> None:
    import seaworthy_export.graph as module

    frame = training_rows()[["area", "depth"]]
    # One row lies between a threshold and what float32 makes of it.
    step = float(np.float64(np.float32(1000.1)))
    frame.loc[7, "area"] = np.nextafter(step, np.inf)

    def in_float32(estimator: Any, n_features: int, outputs: Any) -> Any:
        writer = Writer(n_features)
        node = [np.array(part) for part in ([0, 0, 0], [step, 0.0, 0.0], [1, -1, -1], [2, -1, -1])]
        tree = Tree(node[0], node[1], node[2], node[3], np.array([[0.0], [1.0], [2.0]]))
        return writer.finish({"prediction": ensemble(writer.features.cast("float32"), [tree], 1)})

    class Stump(GradientBoostingRegressor):
        def predict(self, rows: Any) -> Any:
            return np.where(np.asarray(rows)[:, 0] <= step, 1.0, 2.0)

    monkeypatch.setattr(module, "write_graph", in_float32)
    pipeline = fit([], frame, estimator=Stump(n_estimators=1))
    directory = exported(pipeline, frame, tmp_path)
    assert manifest(directory)["model"]["precision"] == "float32"
    assert "float32 sends 1 of 240 training rows the other way" in caplog.text
    inputs = [line["input"]["area"] for line in helpers.golden(directory)]
    assert frame.loc[7, "area"] not in inputs
    assert helpers.reference.differences(directory) == []
