"""How a graph is written down: values that are computed with as in NumPy, and each operation a node.

Only operations whose result for a row does not depend on its neighbours are offered. ONNX Runtime's `Exp`, `Log`,
`Tanh`, `Sigmoid` and `Softmax` in float64 differ in the last bit between a vector's body and its tail; `Pow` of a
scalar goes through the C library, one value at a time, and does not. Sums over a row are products with ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from .base import INPUT, IR_VERSION, ML_OPSET, OPSET, Graph, finish

Operand = Union["Value", float, NDArray[Any]]
_LANES = 16
_TYPES = {"float64": TensorProto.DOUBLE, "float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class Writer:
    """The nodes and constants of one graph. The same operation on the same values is one node."""

    def __init__(self, n_features: int, prefix: str = "") -> None:
        self.n_features = n_features
        self._prefix = prefix
        self.nested = bool(prefix)
        self.precision = "float64"
        """`float32` when the estimator itself rounds so on the way."""
        self._nodes: list[Any] = []
        self._constants: dict[str, NDArray[Any]] = {}
        self._known: dict[Any, Any] = {}

    @property
    def features(self) -> Value:
        """The input, `[batch, n_features]` in float64."""
        return Value(self, INPUT, self.n_features)

    def constant(self, array: Any, name: str | None = None) -> str:
        """The name of an initializer; equal arrays are one."""
        array = np.ascontiguousarray(array) if np.ndim(array) else np.asarray(array)
        key = ("constant", str(array.dtype), array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = self._name(name, "c", self._constants)
            self._constants[self._known[key]] = array
        return str(self._known[key])

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        *,
        outputs: int = 1,
        name: str | None = None,
        domain: str = "",
        **more: Any,
    ) -> list[str]:
        """Appends a node, or finds the one that is the same; the names of its outputs."""
        key = (op, domain, tuple(inputs), outputs, repr(sorted(more.items())) if domain == "" else len(self._nodes))
        if key not in self._known:
            taken = {output for node in self._nodes for output in node.output} if name else set()
            first = self._name(name, "v", taken)
            names = [first, *(f"{first}_{i}" for i in range(1, outputs))]
            self._nodes.append(helper.make_node(op, list(inputs), names, domain=domain or None, **more))
            self._known[key] = names
        return list(self._known[key])

    def _name(self, wanted: str | None, prefix: str, taken: Any) -> str:
        if wanted is not None and wanted not in taken:
            return wanted
        return f"{self._prefix}{prefix}{len(self._nodes) if prefix == 'v' else len(self._constants)}"

    def body(self, inputs: Sequence[tuple[str, int, Any]], outputs: Sequence[tuple[str, int, Any]]) -> Any:
        """The nodes as the body of a loop, whose names begin with this writer's prefix."""
        return helper.make_graph(
            self._nodes,
            "body",
            [helper.make_tensor_value_info(*entry) for entry in inputs],
            [helper.make_tensor_value_info(*entry) for entry in outputs],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )

    def finish(self, outputs: Mapping[str, Value]) -> Graph:
        """The graph with these values, by name, as its outputs; what does not lead to one is left out."""
        names = {value.name: name for name, value in outputs.items()}
        if INPUT in names:
            given = self.node("Identity", [INPUT])[0]
            names[given] = names.pop(INPUT)
        wanted = set(names)
        nodes: list[Any] = []
        for node in reversed(self._nodes):
            if wanted & set(node.output):
                nodes.insert(0, node)
                wanted |= set(node.input)
        for node in nodes:
            for used in (node.input, node.output):
                for i, found in enumerate(used):
                    used[i] = names.get(found, found)
        graph = helper.make_graph(
            nodes,
            "estimator",
            [helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, ["batch", self.n_features])],
            [
                helper.make_tensor_value_info(name, _TYPES[value.dtype], ["batch", value.width])
                for name, value in outputs.items()
            ],
            [numpy_helper.from_array(array, key) for key, array in self._constants.items() if key in wanted],
        )
        opsets = [helper.make_opsetid("", OPSET)]
        if any(node.domain for node in nodes):
            opsets.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
        is_float32 = any(value.dtype == "float32" for value in outputs.values())
        return finish(
            helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION),
            "float32" if is_float32 else self.precision,
        )


class Value:
    """A tensor of the graph, `[batch, width]` unless said otherwise."""

    # NumPy must leave `array * value` to this class.
    __array_ufunc__ = None

    def __init__(self, writer: Writer, name: str, width: int, dtype: str = "float64") -> None:
        self.writer = writer
        self.name = name
        self.width = width
        self.dtype = dtype

    def _operand(self, other: Operand) -> tuple[str, int]:
        if isinstance(other, Value):
            return other.name, other.width
        array = np.asarray(other, dtype=self.dtype)
        return self.writer.constant(array), array.shape[-1] if array.ndim else 1

    def _factor(self, other: Operand) -> Operand:
        """A factor or divisor that ONNX Runtime does not fold into a MatMul beside it.

        It takes a scalar for the attribute `alpha` of a fused MatMul, whose type is float32 whatever the matrix has.
        """
        if isinstance(other, Value) or np.size(other) > 1:
            return other
        scalar = float(np.asarray(other).reshape(-1)[0])
        if self.width > 1:
            return np.full(self.width, scalar)
        exact = scalar == 0.0 or (
            float(np.float32(scalar)) == scalar and float(np.float32(1.0 / scalar)) == 1.0 / scalar
        )
        return scalar if exact or self.dtype != "float64" else self.constant([scalar])

    def _binary(self, op: str, other: Operand, *, swap: bool = False, dtype: str | None = None) -> Value:
        if op in ("Mul", "Div") and not swap:
            other = self._factor(other)
        name, width = self._operand(other)
        inputs = [name, self.name] if swap else [self.name, name]
        return self._new(op, inputs, width=max(self.width, width), dtype=dtype)

    def _new(
        self, op: str, inputs: Sequence[str], *, width: int | None = None, dtype: str | None = None, **more: Any
    ) -> Value:
        name = self.writer.node(op, inputs, **more)[0]
        return Value(self.writer, name, self.width if width is None else width, dtype or self.dtype)

    def __add__(self, other: Operand) -> Value:
        return self._binary("Add", other)

    def __radd__(self, other: Operand) -> Value:
        return self._binary("Add", other, swap=True)

    def __sub__(self, other: Operand) -> Value:
        return self._binary("Sub", other)

    def __rsub__(self, other: Operand) -> Value:
        return self._binary("Sub", other, swap=True)

    def __mul__(self, other: Operand) -> Value:
        return self._binary("Mul", other)

    def __rmul__(self, other: Operand) -> Value:
        return self._binary("Mul", other)

    def __truediv__(self, other: Operand) -> Value:
        return self._binary("Div", other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self._binary("Div", other, swap=True)

    def __neg__(self) -> Value:
        return self._new("Neg", [self.name])

    def __lt__(self, other: Any) -> Value:
        return self._binary("Less", other, dtype="bool")

    def __le__(self, other: Any) -> Value:
        return self._binary("LessOrEqual", other, dtype="bool")

    def __gt__(self, other: Any) -> Value:
        return self._binary("Greater", other, dtype="bool")

    def __ge__(self, other: Any) -> Value:
        return self._binary("GreaterOrEqual", other, dtype="bool")

    def __and__(self, other: Value) -> Value:
        return self._binary("And", other, dtype="bool")

    def __or__(self, other: Value) -> Value:
        return self._binary("Or", other, dtype="bool")

    def __invert__(self) -> Value:
        return self._new("Not", [self.name])

    def equals(self, other: Operand) -> Value:
        """Where the two are the same number."""
        return self._binary("Equal", other, dtype="bool")

    def is_missing(self) -> Value:
        """Where it is NaN."""
        return self._new("IsNaN", [self.name], dtype="bool")

    def where(self, yes: Operand, no: Operand, dtype: str = "float64") -> Value:
        """`yes` where this holds, else `no`."""
        operands = [
            (o.name, o.width)
            if isinstance(o, Value)
            else (self.writer.constant(np.asarray(o, dtype=dtype)), np.shape(o)[-1] if np.ndim(o) else 1)
            for o in (yes, no)
        ]
        width = max(self.width, *(width for _, width in operands))
        return self._new("Where", [self.name, *(name for name, _ in operands)], width=width, dtype=dtype)

    def cast(self, dtype: str) -> Value:
        """The same numbers in another type; truth values become 1 and 0."""
        if dtype == self.dtype:
            return self
        return self._new("Cast", [self.name], dtype=dtype, to=_TYPES[dtype])

    def rounded(self) -> Value:
        """What is left of it in float32, as float64: the form in which scikit-learn's trees see a feature."""
        return self.cast("float32").cast("float64")

    def __matmul__(self, matrix: NDArray[Any]) -> Value:
        return self.product(matrix)

    def product(self, matrix: Any, *, name: str | None = None, constant: str | None = None) -> Value:
        """The product with a constant matrix."""
        matrix = np.asarray(matrix, dtype=self.dtype)
        inputs = [self.name, self.writer.constant(matrix, constant)]
        return self._new("MatMul", inputs, width=matrix.shape[1], name=name)

    def plus(self, vector: Any, *, name: str | None = None, constant: str | None = None) -> Value:
        """A constant added, under names of one's choice."""
        vector = np.asarray(vector, dtype=self.dtype)
        width = max(self.width, vector.shape[-1] if vector.ndim else 1)
        return self._new("Add", [self.name, self.writer.constant(vector, constant)], width=width, name=name)

    def sum(self) -> Value:
        """The sum over each row, `[batch, 1]`."""
        return self if self.width == 1 else self.product(np.ones((self.width, 1)))

    def mean(self) -> Value:
        """The mean of each row."""
        return self.sum() / float(self.width)

    def largest(self) -> Value:
        """The largest number of each row, `[batch, 1]`."""
        axis = self.writer.constant(np.array([1], dtype=np.int64))
        return self._new("ReduceMax", [self.name, axis], width=1, keepdims=1)

    def position(self) -> Value:
        """The position of the largest number of each row, the first of several; int64 `[batch, 1]`."""
        return self._new("ArgMax", [self.name], width=1, dtype="int64", axis=1, keepdims=1)

    def maximum(self, other: Operand) -> Value:
        """The greater of the two."""
        return self._binary("Max", other)

    def minimum(self, other: Operand) -> Value:
        """The smaller of the two."""
        return self._binary("Min", other)

    def clip(self, low: float, high: float) -> Value:
        """Bounded on both sides."""
        return self.maximum(low).minimum(high)

    def absolute(self) -> Value:
        """Without its sign."""
        return self._new("Abs", [self.name])

    def sqrt(self) -> Value:
        """The square root, which is rounded correctly everywhere."""
        return self._new("Sqrt", [self.name])

    def power(self, exponent: float) -> Value:
        """To the power of a constant."""
        return self._new("Pow", [self.name, self.writer.constant(np.array(exponent))])

    def exp(self) -> Value:
        """Euler's number to the power of it."""
        return self._new("Pow", [self.writer.constant(np.array(np.e), None if self.writer.nested else "e"), self.name])

    def exp2(self) -> Value:
        """Two to the power of it."""
        return self._new("Pow", [self.writer.constant(np.array(2.0)), self.name])

    def whole(self) -> Value:
        """Without what is after the decimal point, towards zero."""
        return self._new("Sign", [self.name]) * self.absolute()._new("Floor", [self.absolute().name])

    def log(self) -> Value:
        """The natural logarithm. Each number fills whole vectors, so that none is in a tail."""
        lanes = self.writer.constant(np.ones(_LANES))
        last = self.writer.constant(np.array([-1], dtype=np.int64))
        wide = self.writer.node("Mul", [self.writer.node("Unsqueeze", [self.name, last])[0], lanes])[0]
        logs = self.writer.node("Log", [wide])[0]
        return self._new("Gather", [logs, self.writer.constant(np.array(0, dtype=np.int64))], axis=-1)

    def sigmoid(self) -> Value:
        """`1 / (1 + exp(-z))`."""
        return 1.0 / ((-self).exp() + 1.0)

    def tanh(self) -> Value:
        """`(e^2z - 1) / (e^2z + 1)`, with 1 where that overflows."""
        return 1.0 - 2.0 / ((self * 2.0).exp() + 1.0)

    def softmax(self) -> Value:
        """Powers of each row as parts of their sum."""
        powers = (self - self.largest()).exp()
        return powers / powers.sum()

    def columns(self, positions: Sequence[int] | NDArray[Any]) -> Value:
        """These columns, in this order."""
        wanted = np.asarray(positions, dtype=np.int64).reshape(-1)
        if wanted.tolist() == [*range(self.width)]:
            return self
        return self._new("Gather", [self.name, self.writer.constant(wanted)], width=len(wanted), axis=1)

    def column(self, position: int) -> Value:
        """One column, `[batch, 1]`."""
        return self.columns([position])

    def pick(self, positions: Value) -> Value:
        """From each row the columns that `positions` says."""
        return self._new("GatherElements", [self.name, positions.name], width=positions.width, axis=1)

    def look_up(self, table: NDArray[Any]) -> Value:
        """The entries of a constant vector at these positions."""
        table = np.asarray(table)
        return self._new("Gather", [self.writer.constant(table), self.name], dtype=str(table.dtype))

    def rows_of(self, table: NDArray[Any]) -> Value:
        """The row of a constant matrix that each position, `[batch, 1]`, says."""
        flat = self.writer.node("Squeeze", [self.name, self.writer.constant(np.array([1], dtype=np.int64))])[0]
        return self._new("Gather", [self.writer.constant(table), flat], width=table.shape[1], dtype=str(table.dtype))

    def smallest(self, k: int) -> tuple[Value, Value]:
        """The k smallest of each row in ascending order, and where they are; of equal ones the first."""
        count = self.writer.constant(np.array([k], dtype=np.int64))
        names = self.writer.node("TopK", [self.name, count], outputs=2, axis=1, largest=0, sorted=1)
        return Value(self.writer, names[0], k), Value(self.writer, names[1], k, "int64")

    def running_sum(self) -> Value:
        """Sums from the left."""
        return self._new("CumSum", [self.name, self.writer.constant(np.array(1, dtype=np.int64))])

    def constant(self, row: Any) -> Value:
        """A constant row for each row of the batch."""
        array = np.asarray(row, dtype=np.float64).reshape(1, -1)
        # Not by a product: a missing feature would make it missing. The two are not one to be folded into a constant.
        like = self.column(0).is_missing()
        return like.where(array, array)


def joined(values: Sequence[Value]) -> Value:
    """Columns side by side."""
    if len(values) == 1:
        return values[0]
    name = values[0].writer.node("Concat", [value.name for value in values], axis=1)[0]
    return Value(values[0].writer, name, sum(value.width for value in values), values[0].dtype)


def total(values: Sequence[Value]) -> Value:
    """The sum of several values, from left to right."""
    result = values[0]
    for value in values[1:]:
        result = result + value
    return result
