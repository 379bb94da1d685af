"""Estimators that skl2onnx converts, in the widest type that works."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import helper

from ..errors import ExportError
from ..outputs import Outputs
from ..values import class_name
from .base import INPUT, OPSET, Graph, Matrix, finish, open_session, run_graph


def by_skl2onnx(estimator: Any, features: Matrix, outputs: Outputs) -> Graph:
    """The graph that skl2onnx writes; float64 is tried first."""
    try:
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    except ImportError as error:
        raise ExportError(
            f"{class_name(estimator)} is not known here, so its graph is made by skl2onnx, which is not installed\n"
            "hint: pip install 'seaworthy-export[onnx]', in the environment that the model was trained in"
        ) from error
    if outputs.kind in ("label", "multilabel") or outputs.has_label:
        raise ExportError(
            f"{class_name(estimator)} is not known here, and skl2onnx is only asked for numbers and probabilities\n"
            "hint: put an estimator with probabilities at the end of the pipeline"
        )
    classes = outputs.kind == "probabilities"
    problems = []
    for precision, tensor in (("float64", DoubleTensorType), ("float32", FloatTensorType)):
        try:
            with _truth_values_as_integers():
                model = to_onnx(
                    estimator,
                    initial_types=[(INPUT, tensor([None, features.shape[1]]))],
                    target_opset={"": OPSET, "ai.onnx.ml": 3},
                    options={"zipmap": False} if classes else None,
                    name="estimator",
                )
            graph = finish(_with_one_output(model, outputs.kind), precision, "skl2onnx")
            _require_runs(graph, features)
        except Exception as error:  # converters raise whatever they please
            problems.append(
                f"  {precision}: {str(error).strip().splitlines()[0] if str(error).strip() else repr(error)}"
            )
            continue
        computed = {entry["type"] for entry in graph.outputs}
        # Trees take float64 and sum in float32; what comes out says so.
        return graph if computed == {"float64"} else Graph(**{**graph.__dict__, "precision": "float32"})
    raise ExportError(
        f"skl2onnx could not convert {class_name(estimator)}:\n" + "\n".join(problems) + "\n"
        "hint: put another estimator at the end of the pipeline, "
        "or register a converter with skl2onnx.update_registered_converter"
    )


@contextlib.contextmanager
def _truth_values_as_integers() -> Iterator[None]:
    """Lets skl2onnx 1.20 write the flags of histogram gradient boosting.

    It passes truth values where ONNX has integers, which protobuf took silently until version 7.
    """
    original = helper.make_attribute

    def make_attribute(key: str, value: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(value, (list, tuple)) and any(isinstance(entry, (bool, np.bool_)) for entry in value):
            value = [int(entry) for entry in value]
        return original(key, value, *arguments, **options)

    helper.make_attribute = make_attribute
    try:
        yield
    finally:
        helper.make_attribute = original


def _with_one_output(model: Any, wanted: str) -> Any:
    """Keeps the output that counts, under the name that it has in every artifact."""
    outputs = list(model.graph.output)
    chosen = outputs[-1] if wanted == "probabilities" else outputs[0]
    if chosen.name != wanted:
        for node in model.graph.node:
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name == chosen.name:
                        names[i] = wanted
        chosen.name = wanted
    del model.graph.output[:]
    model.graph.output.append(chosen)
    return model


def _require_runs(graph: Graph, features: Matrix) -> None:
    session = open_session(graph)
    if session is not None:
        run_graph(session, graph, features[:1])
