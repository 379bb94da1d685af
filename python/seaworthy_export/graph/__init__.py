"""The estimator as an ONNX graph.

Most are written here, in float64 and from operations that give a row the same bits alone and in a batch: `build` has
the operations, `ensemble` the trees, and the other modules say what each class computes. A formula of ours is taken
only if it reproduces the estimator on the training rows. Anything else goes through skl2onnx.
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

import numpy as np

from ..outputs import Outputs, describe
from ..values import class_name
from . import bayes, boosters, combine, linear, neighbours, neural, trees, vectors  # noqa: F401 - importing registers them
from .base import Graph, Matrix, open_session, run_graph
from .build import Writer
from .formulas import NotExpressibleError, ask
from .other import by_skl2onnx

__all__ = ["Graph", "build_graph", "open_session", "run_graph", "write_graph"]

log = logging.getLogger("seaworthy_export")

# The kinds of `outputs`, and which answer of an estimator each is.
_ANSWERS = {
    "prediction": "numbers",
    "probabilities": "probabilities",
    "label": "label",
    "multilabel": "multilabel",
}
_PROBES = 1000
# Neighbours at the same distance, and the like: this part of the rows may differ; the export says how many.
_TIES = 0.01
# Relative; the libraries sum in another order than ONNX Runtime. Wrong formulas are off by more.
_CLOSE = {"float64": 1e-9, "float32": 1e-4}


def build_graph(estimator: Any, features: Matrix, outputs: Outputs | None = None) -> Graph:
    """The graph of a fitted estimator; `features` are training rows on which it is compared with the estimator."""
    outputs = describe(estimator, features) if outputs is None else outputs
    graph = write_graph(estimator, features.shape[1], outputs)
    if graph is not None and _reproduces(graph, estimator, features, outputs):
        return graph
    return by_skl2onnx(estimator, features, outputs)


def write_graph(estimator: Any, n_features: int, outputs: Outputs) -> Graph | None:
    """The graph by formulas of ours; None where there are none."""
    writer = Writer(n_features)
    try:
        values = {outputs.kind: ask(_ANSWERS[outputs.kind], estimator, writer.features)}
        if outputs.has_label:
            values["label"] = ask("label", estimator, writer.features)
    except NotExpressibleError as error:
        log.info("%s", error)
        return None
    return writer.finish(values)


def _reproduces(graph: Graph, estimator: Any, features: Matrix, outputs: Outputs) -> bool:
    """Whether the graph gives what the estimator gives on training rows; True where it cannot be run."""
    session = open_session(graph)
    if session is None:
        return True
    rows = features[np.unique(np.linspace(0, len(features) - 1, min(len(features), _PROBES)).astype(int))]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = outputs.tensor(estimator, rows).astype(np.float64)
    found = run_graph(session, graph, rows).astype(np.float64)
    close = _CLOSE[graph.precision]
    scale = float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0))
    good = found.shape == expected.shape
    if good:
        bad = ~np.isclose(found, expected, rtol=close, atol=close * scale, equal_nan=True).all(axis=1)
        if bad.any() and bad.mean() <= _TIES:
            log.warning(
                "%d of %d training rows are so near to a border that %s decides them otherwise than the graph",
                int(bad.sum()), len(rows), class_name(estimator),
            )  # fmt: skip
        good = bool(bad.mean() <= _TIES)
    if not good:
        log.warning("the formula of %s does not give what it predicts, so skl2onnx is tried", class_name(estimator))
    return good
