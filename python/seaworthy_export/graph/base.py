"""A serialized graph, what the manifest says of it, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

OPSET = 18
ML_OPSET = 5
IR_VERSION = 10
INPUT = "features"
_NUMPY_NAMES = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.INT64: "int64",
    TensorProto.INT32: "int32",
    TensorProto.STRING: "string",
    TensorProto.BOOL: "bool",
}
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Graph:
    """A serialized graph and what the manifest says of it."""

    data: bytes
    precision: str
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    opset: int
    ir_version: int
    way: str = "own graph"
    """Who wrote it, for docs/estimators.md."""


def finish(model: Any, precision: str, way: str = "own graph") -> Graph:
    """Takes out of the model what depends on the machine or on chance, checks it and reads off its signature."""
    model.producer_name = "seaworthy_export"
    model.producer_version = ""
    model.domain = ""
    model.doc_string = ""
    model.graph.doc_string = ""
    model.graph.name = "estimator"
    model.ir_version = min(model.ir_version, IR_VERSION)
    onnx.checker.check_model(model)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return Graph(
        data=model.SerializeToString(deterministic=True),
        precision=precision,
        inputs=[_signature(value) for value in model.graph.input],
        outputs=[_signature(value) for value in model.graph.output],
        opset=opset,
        ir_version=model.ir_version,
        way=way,
    )


def _signature(value: Any) -> dict[str, Any]:
    tensor = value.type.tensor_type
    shape = [dimension.dim_value if dimension.HasField("dim_value") else None for dimension in tensor.shape.dim]
    return {"name": value.name, "type": _NUMPY_NAMES[tensor.elem_type], "shape": shape}


def open_session(graph: Graph) -> Any:
    """An ONNX Runtime session on one thread, or None when that is not installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph.data, options, providers=["CPUExecutionProvider"])


def run_graph(session: Any, graph: Graph, features: Matrix) -> NDArray[Any]:
    """The graph's output for these features, cast as the server does it; several stand side by side."""
    signature = graph.inputs[0]
    with np.errstate(over="ignore"):
        tensor = np.ascontiguousarray(features, dtype=signature["type"])
    found = session.run([entry["name"] for entry in graph.outputs], {signature["name"]: tensor})
    return np.asarray(found[0] if len(found) == 1 else np.column_stack(found))
