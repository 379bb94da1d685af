"""The estimator as an ONNX graph.

Most are written here, in float64 and from operations that give a row the same bits alone and in a batch: `build` has the
operations, `ensemble` the trees, and the other modules say what each class computes. A formula of ours is taken only if
it reproduces the estimator on the training rows. Anything else goes through skl2onnx.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ExportError
from ..values import class_name
from . import bayes, combine, linear, neighbours, neural, trees, vectors  # noqa: F401 - importing registers them
from .base import Graph, Matrix, open_session, run_graph
from .build import Writer
from .formulas import NotExpressibleError, ask
from .other import by_skl2onnx

__all__ = ["Graph", "build_graph", "is_classifier", "open_session", "run_graph"]

log = logging.getLogger("seaworthy_export")

# What `outputs` of the manifest may hold, and which answer of an estimator that is.
_ANSWERS = {
    "prediction": "numbers",
    "probabilities": "probabilities",
    "label": "label",
    "multilabel": "probabilities",
}


def is_classifier(estimator: Any) -> bool:
    """Whether the estimator predicts classes."""
    return hasattr(estimator, "classes_")


def build_graph(estimator: Any, features: Matrix) -> Graph:
    """The graph of a fitted estimator; `features` are training rows on which it is compared with the estimator."""
    if is_classifier(estimator):
        if not hasattr(estimator, "predict_proba"):
            raise ExportError(
                f"{class_name(estimator)} gives no probabilities, and the artifact of a classifier holds them\n"
                "hint: fit it with probabilities (SVC(probability=True)), or wrap it in CalibratedClassifierCV"
            )
        kind = "probabilities"
    else:
        one = np.asarray(estimator.predict(features[:1]))
        if one.size != 1:
            raise ExportError(f"{class_name(estimator)} predicts {one.size} numbers a row, and a model serves one")
        kind = "prediction"
    graph = write_graph(estimator, features.shape[1], kind)
    if graph is not None and _reproduces(graph, estimator, features, kind):
        return graph
    return by_skl2onnx(estimator, features, classifier=is_classifier(estimator))


def write_graph(estimator: Any, n_features: int, kind: str) -> Graph | None:
    """The graph by formulas of ours; None where there are none."""
    writer = Writer(n_features)
    try:
        value = ask(_ANSWERS[kind], estimator, writer.features)
    except NotExpressibleError as error:
        log.info("%s", error)
        return None
    return writer.finish(value, kind)


def expected_output(estimator: Any, features: Matrix, kind: str) -> NDArray[Any]:
    """What the library says, in the shape of the graph's output."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if kind == "probabilities":
            return np.asarray(estimator.predict_proba(features), dtype=np.float64)
        return np.asarray(estimator.predict(features), dtype=np.float64).reshape(len(features), -1)


def _reproduces(graph: Graph, estimator: Any, features: Matrix, kind: str) -> bool:
    """Whether the graph gives what the estimator gives on training rows; True where it cannot be run."""
    session = open_session(graph)
    if session is None:
        return True
    rows = features[np.unique(np.linspace(0, len(features) - 1, min(len(features), 1000)).astype(int))]
    expected = expected_output(estimator, rows, kind)
    found = run_graph(session, graph, rows).astype(np.float64)
    close = 1e-9 if graph.precision == "float64" else 1e-4
    scale = float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    good = found.shape == expected.shape and np.allclose(found, expected, rtol=close, atol=close * scale, equal_nan=True)
    if not good:
        log.warning("the formula of %s does not give what it predicts, so skl2onnx is tried", class_name(estimator))
    return bool(good)
