"""The estimator as an ONNX graph.

Linear models are written here, in float64 and from operations that give a row the same bits alone and in a batch.
Anything else goes through skl2onnx. Which of the two applies is decided by numbers and not by class names: a graph of
ours is taken only if its formula reproduces the estimator on the training rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .errors import ExportError
from .values import class_name

OPSET = 18
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


def is_classifier(estimator: Any) -> bool:
    """Whether the estimator predicts classes."""
    return hasattr(estimator, "classes_")


def build_graph(estimator: Any, features: Matrix) -> Graph:
    """The graph of a fitted estimator; `features` are training rows on which candidates are compared with it."""
    if is_classifier(estimator):
        if not hasattr(estimator, "predict_proba"):
            raise ExportError(
                f"{class_name(estimator)} gives no probabilities, and the artifact of a classifier holds them\n"
                "hint: fit it with probabilities (SVC(probability=True)), or wrap it in CalibratedClassifierCV"
            )
        graph = _linear_classifier(estimator, features)
    else:
        one = np.asarray(estimator.predict(features[:1]))
        if one.size != 1:
            raise ExportError(f"{class_name(estimator)} predicts {one.size} numbers a row, and a model serves one")
        graph = _linear_regressor(estimator, features)
    return graph if graph is not None else _by_skl2onnx(estimator, features)


# --- ours ----------------------------------------------------------------------------------------------------------


def _coefficients(estimator: Any, n_features: int) -> tuple[Matrix, Matrix] | None:
    """`coef_` as `[features, outputs]` and `intercept_` as `[outputs]`, in float64."""
    try:
        weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64)).T
        bias = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64), (weights.shape[1],))
    except (AttributeError, TypeError, ValueError):
        return None
    if weights.shape[0] != n_features or not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        return None
    return weights, bias


def _agree(found: Matrix, expected: Matrix) -> bool:
    return found.shape == expected.shape and bool(np.allclose(found, expected, rtol=1e-9, atol=1e-12))


def _linear_regressor(estimator: Any, features: Matrix) -> Graph | None:
    found = _coefficients(estimator, features.shape[1])
    if found is None or found[0].shape[1] != 1:
        return None
    weights, bias = found
    expected = np.asarray(estimator.predict(features), dtype=np.float64).reshape(-1, 1)
    scores = features @ weights + bias
    constants = {"coefficients": weights, "intercept": bias}
    nodes = [helper.make_node("MatMul", [INPUT, "coefficients"], ["product"])]
    if _agree(scores, expected):
        nodes.append(helper.make_node("Add", ["product", "intercept"], ["prediction"]))
    elif _agree(np.exp(scores), expected):
        # A generalized linear model with a log link: Poisson, Gamma, Tweedie.
        nodes.append(helper.make_node("Add", ["product", "intercept"], ["scores"]))
        nodes.append(helper.make_node("Pow", ["e", "scores"], ["prediction"]))
        constants["e"] = np.array(np.e)
    else:
        return None  # such as a support vector machine with a kernel, which has an intercept as well
    return _float64_graph(nodes, constants, "prediction", features.shape[1], 1)


def _sigmoid(z: Matrix) -> Matrix:
    with np.errstate(over="ignore"):
        return np.asarray(1.0 / (1.0 + np.exp(-z)))


def _softmax(z: Matrix) -> Matrix:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _two_sided(p: Matrix) -> Matrix:
    return np.hstack([1.0 - p, p])


def _one_vs_rest(z: Matrix) -> Matrix:
    p = _sigmoid(z)
    return np.asarray(p / p.sum(axis=1, keepdims=True))


# The links of linear classifiers. scikit-learn chooses among them by `multi_class`, `solver` and version; which one it
# chose shows in the numbers.
_LINKS: dict[str, tuple[bool, Callable[[Matrix], Matrix]]] = {
    "sigmoid": (True, lambda z: _two_sided(_sigmoid(z))),
    "symmetric_softmax": (True, lambda z: _softmax(np.hstack([-z, z]))),
    "softmax": (False, _softmax),
    "one_vs_rest": (False, _one_vs_rest),
}


def _linear_classifier(estimator: Any, features: Matrix) -> Graph | None:
    found = _coefficients(estimator, features.shape[1])
    if found is None or np.ndim(estimator.classes_) != 1:
        return None
    weights, bias = found
    n_classes, n_scores = len(estimator.classes_), weights.shape[1]
    binary = n_scores == 1 and n_classes == 2
    if not binary and n_scores != n_classes:
        return None
    # Rows around the training data, so that links which agree where all is certain are told apart.
    probe = np.vstack([features, features * 0.1, np.zeros((1, features.shape[1]))])
    expected = np.asarray(estimator.predict_proba(probe), dtype=np.float64)
    scores = probe @ weights + bias
    link = next((k for k, (b, f) in _LINKS.items() if b == binary and _agree(f(scores), expected)), None)
    if link is None:
        return None
    if link == "symmetric_softmax":
        weights, bias = np.hstack([-weights, weights]), np.concatenate([-bias, bias])
    constants = {"coefficients": weights, "intercept": bias, "e": np.array(np.e), "one": np.array(1.0)}
    nodes = [
        helper.make_node("MatMul", [INPUT, "coefficients"], ["product"]),
        helper.make_node("Add", ["product", "intercept"], ["scores"]),
    ]
    # Exp, Sigmoid and Softmax of ONNX Runtime differ in the last bit between a vector's body and its tail, so that a
    # row would depend on its neighbours. Pow of a scalar goes through the C library, one value at a time, and does
    # not. Sums are products with ones for the same reason.
    if link in ("sigmoid", "one_vs_rest"):
        nodes += [
            helper.make_node("Neg", ["scores"], ["negated"]),
            helper.make_node("Pow", ["e", "negated"], ["power"]),
            helper.make_node("Add", ["power", "one"], ["denominator"]),
            helper.make_node("Div", ["one", "denominator"], ["positive"]),
        ]
        if link == "sigmoid":
            nodes += [
                helper.make_node("Sub", ["one", "positive"], ["negative"]),
                helper.make_node("Concat", ["negative", "positive"], ["probabilities"], axis=1),
            ]
        else:
            constants["ones"] = np.ones((n_classes, 1))
            nodes += [
                helper.make_node("MatMul", ["positive", "ones"], ["sum"]),
                helper.make_node("Div", ["positive", "sum"], ["probabilities"]),
            ]
    else:
        constants["ones"] = np.ones((n_classes, 1))
        constants["axis"] = np.array([1], dtype=np.int64)
        nodes += [
            helper.make_node("ReduceMax", ["scores", "axis"], ["largest"], keepdims=1),
            helper.make_node("Sub", ["scores", "largest"], ["shifted"]),
            helper.make_node("Pow", ["e", "shifted"], ["powers"]),
            helper.make_node("MatMul", ["powers", "ones"], ["sum"]),
            helper.make_node("Div", ["powers", "sum"], ["probabilities"]),
        ]
    used = {name for node in nodes for name in node.input}
    constants = {name: array for name, array in constants.items() if name in used}
    return _float64_graph(nodes, constants, "probabilities", features.shape[1], n_classes)


def _float64_graph(
    nodes: Sequence[Any], constants: dict[str, NDArray[Any]], output: str, n_features: int, width: int
) -> Graph:
    graph = helper.make_graph(
        list(nodes),
        "estimator",
        [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, ["batch", n_features])],
        [helper.make_tensor_value_info(output, TensorProto.DOUBLE, ["batch", width])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return _finish(model, "float64")


def _finish(model: Any, precision: str) -> Graph:
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
    )


def _signature(value: Any) -> dict[str, Any]:
    tensor = value.type.tensor_type
    shape = [dimension.dim_value if dimension.HasField("dim_value") else None for dimension in tensor.shape.dim]
    return {"name": value.name, "type": _NUMPY_NAMES[tensor.elem_type], "shape": shape}


# --- skl2onnx's ----------------------------------------------------------------------------------------------------


def _by_skl2onnx(estimator: Any, features: Matrix) -> Graph:
    try:
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    except ImportError as error:
        raise ExportError(
            f"{class_name(estimator)} is not a linear model, so its graph is made by skl2onnx, which is not installed\n"
            "hint: pip install 'seaworthy-export[onnx]', in the environment that the model was trained in"
        ) from error
    problems = []
    for precision, tensor in (("float64", DoubleTensorType), ("float32", FloatTensorType)):
        try:
            with _truth_values_as_integers():
                model = to_onnx(
                    estimator,
                    initial_types=[(INPUT, tensor([None, features.shape[1]]))],
                    target_opset={"": OPSET, "ai.onnx.ml": 3},
                    options={"zipmap": False} if is_classifier(estimator) else None,
                    name="estimator",
                )
            wanted = "probabilities" if is_classifier(estimator) else "prediction"
            graph = _finish(_with_one_output(model, wanted), precision)
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


# --- running it ----------------------------------------------------------------------------------------------------


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
    """The graph's output for these features, cast as the server does it."""
    signature = graph.inputs[0]
    with np.errstate(over="ignore"):
        tensor = np.ascontiguousarray(features, dtype=signature["type"])
    return np.asarray(session.run([graph.outputs[0]["name"]], {signature["name"]: tensor})[0])
