"""Ensembles of trees as the operator `TreeEnsemble` of `ai.onnx.ml` 5, with splits and weights in the model's own type.

A leaf of that operator adds to one target. A tree whose leaves hold several numbers (the shares of the classes in a
forest, the outputs of a multi-output regression) is therefore written once for the first number of each leaf that is
not zero, once more for the second, and so on; what such a copy does not need is cut off, so that a forest grown to pure
leaves stays as it was. The operator adds tree by tree, in order, from zero: the same sums as the library's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from .build import Value

LESS_OR_EQUAL, LESS, GREATER_OR_EQUAL, GREATER, EQUAL, NOT_EQUAL, MEMBER = range(7)


@dataclass
class Tree:
    """A binary tree in arrays over its nodes, the root first.

    Attributes:
        feature: the column that is compared.
        threshold: what with.
        left: the node where the comparison holds; below 0 in a leaf.
        right: the node where it does not.
        value: `[nodes, numbers]`, used in leaves.
        missing_left: whether a missing value goes to the left; nowhere when not given.
        mode: the comparison, of all nodes.
        members: instead of a comparison: the set that the value must be in, by node.
        target: the column of the output that the first number is added to.

    """

    feature: NDArray[Any]
    threshold: NDArray[Any]
    left: NDArray[Any]
    right: NDArray[Any]
    value: NDArray[Any]
    missing_left: NDArray[Any] | None = None
    mode: int = LESS_OR_EQUAL
    members: Mapping[int, Sequence[float]] = field(default_factory=dict)
    target: int = 0


def constant_tree(value: float, target: int = 0) -> Tree:
    """A leaf and nothing else: where a sum starts."""
    none, leaf = np.zeros(1, dtype=np.int64), np.full(1, -1, dtype=np.int64)
    return Tree(none, np.zeros(1), leaf, leaf, np.array([[value]]), target=target)


class _Attributes:
    """The operator's attributes while they are gathered."""

    def __init__(self) -> None:
        self.roots: list[int] = []
        self.feature: list[int] = []
        self.split: list[float] = []
        self.mode: list[int] = []
        self.missing: list[int] = []
        self.to: tuple[list[int], list[int]] = ([], [])
        self.leaf: tuple[list[int], list[int]] = ([], [])
        self.members: list[float] = []
        self.targets: list[int] = []
        self.weights: list[float] = []

    def add(self, tree: Tree) -> None:
        values = tree.value.reshape(len(tree.feature), -1)
        is_leaf = tree.left < 0
        kept = (values != 0) & is_leaf[:, None]
        # Which number is a leaf's first, second, … that is not zero.
        rank = np.cumsum(kept, axis=1)
        for copy in range(max(1, int(kept.sum(axis=1).max(initial=0)))):
            chosen = kept & (rank == copy + 1)
            has = chosen.any(axis=1)
            target = np.where(has, chosen.argmax(axis=1), 0)
            weight = np.where(has, values[np.arange(len(values)), target], 0.0)
            self._add(tree, is_leaf, target + tree.target, weight, None if copy == 0 else self._needed(tree, has))

    @staticmethod
    def _needed(tree: Tree, has: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The nodes from which a leaf that counts can be reached."""
        order, stack = [], [0]
        while stack:
            node = stack.pop()
            order.append(node)
            if tree.left[node] >= 0:
                stack += [int(tree.right[node]), int(tree.left[node])]
        needed = has & (tree.left < 0)
        for node in reversed(order):
            if tree.left[node] >= 0:
                needed[node] = needed[tree.left[node]] or needed[tree.right[node]]
        return needed

    def _add(
        self, tree: Tree, is_leaf: NDArray[Any], target: NDArray[Any], weight: NDArray[Any], needed: NDArray[Any] | None
    ) -> None:
        feature, threshold = tree.feature.tolist(), tree.threshold.tolist()
        children = (tree.left.tolist(), tree.right.tolist())
        missing = [0] * len(feature) if tree.missing_left is None else tree.missing_left.astype(int).tolist()
        targets, weights, leaves = target.tolist(), weight.tolist(), is_leaf.tolist()

        def append_leaf(node: int) -> int:
            cut = needed is not None and not needed[node]
            self.targets.append(tree.target if cut else targets[node])
            self.weights.append(0.0 if cut else weights[node])
            return len(self.targets) - 1

        def ends(node: int) -> bool:
            return leaves[node] or (needed is not None and not needed[node])

        def append_node(node: int) -> int:
            self.feature.append(max(feature[node], 0))
            self.split.append(threshold[node])
            self.missing.append(missing[node])
            if node in tree.members:
                self.mode.append(MEMBER)
                # A set of nothing is refused; categories are codes, so none is below zero.
                self.members += [*(tree.members[node] or [-1.0]), np.nan]
            else:
                self.mode.append(tree.mode)
            for side in (0, 1):
                self.to[side].append(0)
                self.leaf[side].append(0)
            return len(self.feature) - 1

        self.roots.append(len(self.feature))
        if ends(0):
            # A root is a comparison, so a tree of one leaf leads there from both sides.
            leaf = append_leaf(0)
            self.feature.append(0)
            self.split.append(0.0)
            self.missing.append(0)
            self.mode.append(LESS_OR_EQUAL)
            for side in (0, 1):
                self.to[side].append(leaf)
                self.leaf[side].append(1)
            return
        # Each node before its children, the left one next to it, for that is how a tree is walked.
        stack: list[tuple[int, int, int]] = [(0, -1, 0)]
        while stack:
            node, parent, side = stack.pop()
            if ends(node):
                self.to[side][parent] = append_leaf(node)
                self.leaf[side][parent] = 1
                continue
            position = append_node(node)
            if parent >= 0:
                self.to[side][parent] = position
            stack += [(children[1][node], position, 1), (children[0][node], position, 0)]


def ensemble(x: Value, trees: Sequence[Tree], n_targets: int) -> Value:
    """The sum of the trees' leaves, `[batch, n_targets]`, in the type of `x`."""
    attributes = _Attributes()
    for tree in trees:
        attributes.add(tree)
    dtype = np.dtype(x.dtype)

    def tensor(name: str, values: Sequence[float], kind: Any = dtype) -> Any:
        return numpy_helper.from_array(np.asarray(values, dtype=kind), name)

    more: dict[str, Any] = {}
    if any(attributes.missing):
        more["nodes_missing_value_tracks_true"] = attributes.missing
    if attributes.members:
        more["membership_values"] = tensor("members", attributes.members)
    name = x.writer.node(
        "TreeEnsemble",
        [x.name],
        domain="ai.onnx.ml",
        aggregate_function=1,
        post_transform=0,
        n_targets=n_targets,
        tree_roots=attributes.roots,
        nodes_featureids=attributes.feature,
        nodes_splits=tensor("splits", attributes.split),
        nodes_modes=tensor("modes", attributes.mode, np.uint8),
        nodes_truenodeids=attributes.to[0],
        nodes_trueleafs=attributes.leaf[0],
        nodes_falsenodeids=attributes.to[1],
        nodes_falseleafs=attributes.leaf[1],
        leaf_targetids=attributes.targets,
        leaf_weights=tensor("weights", attributes.weights),
        **more,
    )[0]
    return Value(x.writer, name, n_targets, x.dtype)
