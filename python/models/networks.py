"""Small convolutional networks in NumPy: enough to train the image models of this repository, and to write graphs.

A framework would need gigabytes for what takes a minute here. Everything is float32 and channels first. Dense layers
are convolutions here. ONNX Runtime computes those picture by picture, so a row has the same bits alone and in a batch,
on any machine; `to_onnx` can also write them as frameworks do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]


class Conv:
    """A convolution with bias and, but for the last layer, a ReLU."""

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int, size: int, pad: int, relu: bool = True):
        scale = np.sqrt(2 / (inputs * size * size))
        self.weight = (rng.standard_normal((outputs, inputs, size, size)) * scale).astype(np.float32)
        self.bias = np.zeros(outputs, dtype=np.float32)
        self.pad, self.relu = pad, relu

    def forward(self, x: Array) -> Array:
        """The answer for `[batch, channels, height, width]`; remembers what `backward` needs."""
        p, size = self.pad, self.weight.shape[2]
        self.padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p))) if p else x
        windows = sliding_window_view(self.padded, (size, size), axis=(2, 3))
        n, c, h, w = windows.shape[:4]
        self.columns = np.ascontiguousarray(windows.transpose(0, 2, 3, 1, 4, 5)).reshape(n * h * w, c * size * size)
        flat = self.columns @ self.weight.reshape(len(self.bias), -1).T + self.bias
        y = flat.reshape(n, h, w, -1).transpose(0, 3, 1, 2)
        self.active = y > 0
        return np.where(self.active, y, np.float32(0)) if self.relu else y

    def backward(self, gradient: Array) -> Array:
        """The gradient of the input; keeps those of the parameters."""
        if self.relu:
            gradient = gradient * self.active
        n, outputs, h, w = gradient.shape
        size = self.weight.shape[2]
        flat = np.ascontiguousarray(gradient.transpose(0, 2, 3, 1)).reshape(-1, outputs)
        self.gradients = [(flat.T @ self.columns).reshape(self.weight.shape), flat.sum(0)]
        columns = (flat @ self.weight.reshape(outputs, -1)).reshape(n, h, w, -1, size, size)
        back = np.zeros_like(self.padded)
        for i in range(size):
            for j in range(size):
                back[:, :, i : i + h, j : j + w] += columns[..., i, j].transpose(0, 3, 1, 2)
        p = self.pad
        return back[:, :, p : back.shape[2] - p, p : back.shape[3] - p] if p else back

    @property
    def parameters(self) -> list[Array]:
        """Weight and bias."""
        return [self.weight, self.bias]


class Pool:
    """The largest of each 2 x 2 cell; a last odd row or column is left out."""

    parameters: list[Array] = []  # noqa: RUF012 - it has none

    def forward(self, x: Array) -> Array:
        """Halves height and width."""
        self.shape = x.shape
        n, c, h, w = x.shape
        cells = x[:, :, : h // 2 * 2, : w // 2 * 2].reshape(n, c, h // 2, 2, w // 2, 2)
        y = cells.max((3, 5))
        self.mask = cells == y[:, :, :, None, :, None]
        self.mask = self.mask / self.mask.sum((3, 5), keepdims=True, dtype=np.float32)
        return y

    def backward(self, gradient: Array) -> Array:
        """To the largest."""
        n, c, h, w = self.shape
        back = np.zeros(self.shape, dtype=np.float32)
        cells = self.mask * gradient[:, :, :, None, :, None]
        back[:, :, : h // 2 * 2, : w // 2 * 2] = cells.reshape(n, c, h // 2 * 2, w // 2 * 2)
        return back


Layers = list[Any]


def logits(layers: Layers, x: Array) -> Array:
    """One row of numbers for each picture."""
    for layer in layers:
        x = layer.forward(x)
    return x.reshape(len(x), -1)


def probabilities(layers: Layers, x: Array, batch: int = 64) -> Array:
    """What the graph gives, but for the last digits."""
    found = np.concatenate([logits(layers, x[i : i + batch]) for i in range(0, len(x), batch)])
    found = np.exp(found - found.max(1, keepdims=True))
    return found / found.sum(1, keepdims=True)


def train(
    layers: Layers,
    batches: Callable[[np.random.Generator], Iterator[tuple[Array, NDArray[np.int64]]]],
    epochs: int,
    rate: float,
    seed: int,
    report: Callable[[int], None] = lambda _epoch: None,
) -> None:
    """Adam on the cross-entropy; the rate falls to zero along a cosine."""
    rng = np.random.default_rng(seed)
    parameters = [p for layer in layers for p in layer.parameters]
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]
    step = 0
    for epoch in range(epochs):
        current = rate * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        for x, y in batches(rng):
            step += 1
            z = logits(layers, x)
            p = np.exp(z - z.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(y)), y] -= 1
            gradient = (p / len(y)).astype(np.float32)[:, :, None, None]
            for layer in reversed(layers):
                gradient = layer.backward(gradient)
            gradients = [g for layer in layers if layer.parameters for g in layer.gradients]
            for value, g, (first, second) in zip(parameters, gradients, moments):
                first += (g - first) * 0.1
                second += (g * g - second) * 0.001
                hat = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
                value -= np.float32(current) * hat
        report(epoch)


def to_onnx(
    layers: Layers, shape: tuple[int, ...], n_labels: int, channels_last: bool = False, first_dense: int | None = None
) -> Any:
    """The graph `image` -> `probabilities`. `shape` is that of one picture, in the order that the graph takes.

    From the layer `first_dense` on, whose convolution sees the whole picture at once, layers are written as `Flatten`
    and `Gemm`, as frameworks write dense layers: the weights, most of a network's, are then read once for all pictures
    of a run.
    """
    nodes, initializers, last = [], [], "image"
    if channels_last:
        nodes.append(helper.make_node("Transpose", [last], ["channels_first"], perm=[0, 3, 1, 2]))
        last = "channels_first"
    for i, layer in enumerate(layers):
        if isinstance(layer, Pool):
            nodes.append(helper.make_node("MaxPool", [last], [f"pool_{i}"], kernel_shape=[2, 2], strides=[2, 2]))
            last = f"pool_{i}"
            continue
        weight, bias = f"weight_{i}", f"bias_{i}"
        if dense := first_dense is not None and i >= first_dense:
            if i == first_dense:
                nodes.append(helper.make_node("Flatten", [last], ["flat"]))
                last = "flat"
            matrix = np.ascontiguousarray(layer.weight.reshape(len(layer.bias), -1).T)
            initializers.append(numpy_helper.from_array(matrix, weight))
            nodes.append(helper.make_node("Gemm", [last, weight, bias], [f"dense_{i}"]))
        else:
            initializers.append(numpy_helper.from_array(layer.weight, weight))
            pads = {"pads": [layer.pad] * 4} if layer.pad else {}
            nodes.append(helper.make_node("Conv", [last, weight, bias], [f"conv_{i}"], **pads))
        initializers.append(numpy_helper.from_array(layer.bias, bias))
        last = f"{'dense' if dense else 'conv'}_{i}"
        if layer.relu:
            nodes.append(helper.make_node("Relu", [last], [f"relu_{i}"]))
            last = f"relu_{i}"
    if first_dense is None:
        nodes.append(helper.make_node("Flatten", [last], ["logits"]))
        last = "logits"
    nodes.append(helper.make_node("Softmax", [last], ["probabilities"], axis=1))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", n_labels])],
        initializers,
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="seaworthy"
    )


def load_weights(layers: Layers, model: Any) -> None:
    """Takes the parameters out of a graph that `to_onnx` wrote."""
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for i, layer in enumerate(layers):
        if layer.parameters:
            layer.weight, layer.bias = known[f"weight_{i}"].copy(), known[f"bias_{i}"].copy()
