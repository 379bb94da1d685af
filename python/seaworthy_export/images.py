"""Networks that take pictures: the recipe that makes their input, as Pillow and OpenCV compute it, and the artifact.

A recipe is the step `image` of docs/artifact.md. `ImageRecipe.apply` runs it with the real libraries, which is what the
golden rows of an artifact are made of: the server must give the same numbers.
"""

from __future__ import annotations

import base64
import datetime
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .artifact import compact, pretty, write_artifact
from .errors import ExportError
from .exporter import FORMAT, PathLike, _libraries, _plain, _require_names, _timestamp
from .profile import FORMAT as PROFILE_FORMAT
from .profile import category_profile, number_profile

Pixels = NDArray[Any]
_OUTPUT_TOLERANCE = {"relative": 1e-5, "absolute": 1e-6}
_FEATURE_TOLERANCE = {"relative": 1e-12, "absolute": 1e-12}


@dataclass(frozen=True)
class ImageRecipe:
    """What is done to a picture before the network sees it; see `image` in docs/artifact.md.

    Args:
        colour: `rgb`, `bgr` (as OpenCV has it) or `grey`.
        operations: such as `{"resize": {"width": 150, "height": 150, "method": "bilinear", "like": "opencv"}}`.
        layout: `hwc`, `chw` or, for grey, `hw`.
        type: `float32` or `uint8`.
        orientation: `apply` or `ignore` what a camera says of how it was held.
        alpha: `drop` or `{"background": [red, green, blue]}`.
        grey: whose formula makes grey of colour, `opencv` or `pillow`.
        precision: in which `affine` computes, `float32` or `float64`.

    """

    colour: str
    operations: Sequence[Mapping[str, Any]]
    layout: str = "hwc"
    type: str = "float32"
    orientation: str = "apply"
    alpha: str | Mapping[str, Any] = "drop"
    grey: str = "opencv"
    precision: str = "float32"

    def spec(self) -> dict[str, Any]:
        """The recipe as the manifest has it."""
        decode: dict[str, Any] = {"colour": self.colour, "orientation": self.orientation}
        if self.alpha != "drop":
            decode["alpha"] = self.alpha
        if self.colour == "grey":
            decode["grey"] = self.grey
        spec: dict[str, Any] = {
            "decode": decode,
            "operations": [dict(operation) for operation in self.operations],
            "layout": self.layout,
            "type": self.type,
        }
        if self.precision != "float32":
            spec["precision"] = self.precision
        return json.loads(json.dumps(spec))  # type: ignore[no-any-return]

    def apply(self, file: bytes) -> Pixels:
        """The input of the network, computed by Pillow and, where an operation is like it, OpenCV."""
        pixels = self._decode(file)
        numbers: Pixels | None = None
        for operation in self.operations:
            ((name, options),) = operation.items()
            if name == "affine":
                kind = np.float64 if self.precision == "float64" else np.float32
                numbers = pixels.astype(kind) if numbers is None else numbers
                for key, function in _AFFINE:
                    if key in options:
                        numbers = function(numbers, np.asarray(options[key], dtype=kind))
            else:
                pixels = _OPERATIONS[name](pixels, **options)
        result = (pixels if numbers is None else numbers).astype(self.type)
        if self.layout == "chw":
            return np.ascontiguousarray(result.transpose(2, 0, 1))
        return result[:, :, 0] if self.layout == "hw" else result

    def _decode(self, file: bytes) -> Pixels:
        from PIL import Image, ImageOps

        picture: Any = Image.open(io.BytesIO(file))
        picture.load()
        if self.orientation == "apply":
            picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I;16"):
            # Pillow itself would cut off what is above 255.
            picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
        if picture.mode == "1":
            picture = picture.convert("L")
        if "transparency" in picture.info and picture.mode in ("L", "RGB", "P"):
            picture = picture.convert("LA" if picture.mode == "L" else "RGBA")
        if picture.mode not in ("L", "LA", "RGB", "RGBA"):
            picture = picture.convert("RGB")
        if picture.mode in ("LA", "RGBA"):
            if isinstance(self.alpha, Mapping):
                ground = tuple(self.alpha["background"])
                under = Image.new("RGB", picture.size, ground)
                under.paste(picture.convert("RGBA").convert("RGB"), mask=picture.getchannel("A"))
                picture = under
            else:
                picture = picture.convert("L" if picture.mode == "LA" else "RGB")
        if self.colour == "grey":
            if picture.mode == "RGB" and self.grey == "opencv":
                red, green, blue = (np.asarray(picture).astype(np.int64)[:, :, i] for i in range(3))
                return ((red * 9798 + green * 19235 + blue * 3735 + 16384) >> 15).astype(np.uint8)[:, :, None]
            return np.asarray(picture.convert("L"))[:, :, None]
        pixels = np.asarray(picture.convert("RGB"))
        return pixels[:, :, ::-1] if self.colour == "bgr" else pixels


def _resize(pixels: Pixels, width: int, height: int, method: str, like: str) -> Pixels:
    pixels = np.ascontiguousarray(pixels)
    rows, columns, channels = pixels.shape
    if like.startswith("opencv"):
        import cv2

        methods = {"nearest": 0, "bilinear": 1, "bicubic": 2, "area": 3, "lanczos": 4}
        before = cv2.ipp.useIPP()
        cv2.ipp.setUseIPP(like == "opencv_ipp")
        try:
            found = cv2.resize(pixels, (width, height), interpolation=methods[method])
        finally:
            cv2.ipp.setUseIPP(before)
        return found.reshape(height, width, channels)  # type: ignore[no-any-return]
    from PIL import Image

    methods = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "area": 4}
    picture: Any = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    columns_first = like == "pillow13" and height < rows and rows - height > 2 * (columns - width)
    between = (columns, height) if columns_first else (width, rows)
    if methods[method] != 0:
        # Which direction comes first is told, so that any version of Pillow gives what that version gave.
        picture = picture.resize(between, methods[method])
    return np.asarray(picture.resize((width, height), methods[method])).reshape(height, width, channels)


def _resize_shorter(pixels: Pixels, size: int, method: str, like: str) -> Pixels:
    height, width = pixels.shape[:2]
    to = (size, size * height // width) if width <= height else (size * width // height, size)
    return _resize(pixels, to[0], to[1], method, like)


def _centre_crop(pixels: Pixels, width: int, height: int, rounding: str = "down") -> Pixels:
    rows, columns = pixels.shape[:2]
    short = [max(height - rows, 0), max(width - columns, 0)]
    pixels = np.pad(pixels, [(n // 2, n - n // 2) for n in short] + [(0, 0)])
    over = [pixels.shape[0] - height, pixels.shape[1] - width]
    y, x = (round(n / 2) if rounding == "even" else n // 2 for n in over)
    return pixels[y : y + height, x : x + width]


def _pad(pixels: Pixels, value: Sequence[int], left: int = 0, top: int = 0, right: int = 0, bottom: int = 0) -> Pixels:
    rows, columns, channels = pixels.shape
    result = np.empty((rows + top + bottom, columns + left + right, channels), dtype=np.uint8)
    result[:] = value
    result[top : top + rows, left : left + columns] = pixels
    return result


def _pad_square(pixels: Pixels, value: Sequence[int]) -> Pixels:
    rows, columns = pixels.shape[:2]
    side = max(rows, columns)
    left, top = (side - columns) // 2, (side - rows) // 2
    return _pad(pixels, value, left, top, side - columns - left, side - rows - top)


_OPERATIONS: dict[str, Any] = {
    "resize": _resize,
    "resize_shorter": _resize_shorter,
    "centre_crop": _centre_crop,
    "pad": _pad,
    "pad_square": _pad_square,
    "invert": lambda pixels: 255 - pixels,
}
_AFFINE: list[tuple[str, Any]] = [
    ("subtract", np.subtract),
    ("divide", np.divide),
    ("multiply", np.multiply),
    ("add", np.add),
]


@dataclass
class _Network:
    """A graph with one picture in and one row of probabilities out."""

    data: bytes
    opset: int
    ir_version: int
    input: dict[str, Any]
    output: dict[str, Any]
    session: Any = field(repr=False)

    def run(self, pictures: Pixels) -> Pixels:
        """Probabilities, `[n, labels]`; one picture at a time where the graph takes no more."""
        name = self.input["name"]
        if self.input["shape"][0] == 1:
            rows = [self.session.run([self.output["name"]], {name: picture[None]})[0] for picture in pictures]
            return np.concatenate(rows)
        return self.session.run([self.output["name"]], {name: pictures})[0]  # type: ignore[no-any-return]


def export_image_model(
    graph: Any,
    *,
    name: str,
    version: str,
    recipe: ImageRecipe,
    labels: Sequence[Any],
    images: Sequence[bytes],
    field: str = "image",
    models_dir: PathLike = "models",
    top_k: int | None = None,
    description: str = "",
    field_description: str = "",
    example: bytes | None = None,
    estimator: str = "",
    provenance: Mapping[str, Any] | None = None,
    training_probabilities: Any = None,
    golden_tolerance: Mapping[str, float] | None = None,
    created: str | datetime.datetime | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes the artifact of a network that tells what a picture shows; returns its directory.

    Args:
        graph: an ONNX model, as an object of `onnx`, as bytes, or as a path; from `torch.onnx`, tf2onnx or one's own.
            It takes a tensor of the recipe's shape, the batch before it, and gives `[batch, labels]` probabilities.
        name: lower-case letters, digits, `.`, `_`, `-`.
        version: a semantic version.
        recipe: what is done to a picture before.
        labels: in the order of the graph's output.
        images: the files of pictures that become golden rows, in the formats and sizes that clients will send.
        field: the name of the field.
        models_dir: where artifacts are kept.
        top_k: an answer holds the probabilities of only so many labels, the most probable first.
        description: for people.
        field_description: what pictures the model wants.
        example: a small picture for the documentation.
        estimator: what the network is, such as a class.
        provenance: `training_data`, `source`, `hyperparameters`, `seed`, `metrics` and more.
        training_probabilities: those of the training pictures, for the profile; else those of `images`.
        golden_tolerance: `{"relative": …, "absolute": …}` of the probabilities.
        created: the time to record; otherwise SOURCE_DATE_EPOCH, otherwise now.
        overwrite: replace an artifact of this name and version.

    Raises:
        ExportError: with a message that says what to do, before anything is written.

    """
    _require_names(name, version, description)
    if not images:
        raise ExportError("an artifact needs golden rows: give the files of some pictures as `images`")
    if top_k is not None and not 1 <= top_k <= len(labels):
        raise ExportError(f"top_k is a number from 1 to that of the labels, {len(labels)}")
    network = _open(graph)
    pictures = np.stack([recipe.apply(file) for file in images])
    _require_fit(network, pictures, len(labels))
    together = network.run(pictures)
    alone = np.concatenate([network.run(picture[None]) for picture in pictures])
    # One row at a time where a picture would have other bits among others.
    rows_per_run = {} if np.array_equal(together, alone) else {"rows_per_run": 1}
    for file, row in zip(images, alone):
        if not np.isfinite(row).all() or abs(float(row.sum()) - 1) > 1e-3:
            raise ExportError(
                f"the graph gives {row.tolist()} for a picture of {len(file)} bytes, which are no probabilities\n"
                "hint: end the graph with a Softmax"
            )
    lines = [_golden(field, file, row, labels) for file, row in zip(images, alone)] + _refused(field, images[0])
    found = alone if training_probabilities is None else np.asarray(training_probabilities)
    manifest = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "description": description,
        "task": "binary_classification" if len(labels) == 2 else "multiclass_classification",
        "created": _timestamp(created),
        "provenance": {
            "training_data": [],
            "source": "",
            "libraries": _image_libraries(recipe),
            "hyperparameters": {},
            "seed": None,
            "metrics": {},
            **{key: _plain(value) for key, value in (provenance or {}).items()},
        },
        "inputs": [
            {
                "name": field,
                "type": "image",
                **({"description": field_description} if field_description else {}),
                **({"example": _base64(example)} if example is not None else {}),
            }
        ],
        "pipeline": [{"op": "image", "name": field, "column": field, "recipe": recipe.spec()}],
        "features": [],
        "model": {
            "file": "model.onnx",
            "opset": network.opset,
            "ir_version": network.ir_version,
            "estimator": estimator,
            "precision": network.output["type"],
            **rows_per_run,
            "inputs": [{**network.input, "from": field}],
            "outputs": [network.output],
        },
        "outputs": {
            "probabilities": {
                "tensor": network.output["name"],
                "labels": list(labels),
                "threshold": None,
                **({} if top_k is None else {"top_k": top_k}),
            }
        },
        "postprocess": [],
        "golden": {
            "rows": len(lines),
            "features": _FEATURE_TOLERANCE,
            "output": dict(golden_tolerance or _OUTPUT_TOLERANCE),
        },
    }
    profile = {
        "format": PROFILE_FORMAT,
        "rows": len(found),
        "fields": {},
        "features": {},
        "outputs": {
            "prediction": category_profile([labels[i] for i in found.argmax(1)]),
            **{f"probabilities/{label}": number_profile(found[:, i].astype(float)) for i, label in enumerate(labels)},
        },
    }
    files = {
        "manifest.json": pretty(manifest).encode(),
        "model.onnx": network.data,
        "golden.jsonl": "".join(compact(line) + "\n" for line in lines).encode(),
        "profile.json": pretty(profile).encode(),
    }
    directory = Path(models_dir) / name / version
    write_artifact(directory, files, overwrite=overwrite)
    return directory


def _open(graph: Any) -> _Network:
    import onnx
    import onnxruntime

    if isinstance(graph, (str, Path)):
        graph = Path(graph).read_bytes()
    model = onnx.load_model_from_string(graph) if isinstance(graph, bytes) else graph
    known = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in known]
    outputs = list(model.graph.output)
    if len(inputs) != 1 or len(outputs) != 1:
        raise ExportError(
            f"the graph has {len(inputs)} inputs and {len(outputs)} outputs; expected one picture and its probabilities"
        )
    data = model.SerializeToString()
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return _Network(data, opset, model.ir_version, _signature(inputs[0]), _signature(outputs[0]), session)


def _signature(value: Any) -> dict[str, Any]:
    import onnx

    tensor = value.type.tensor_type
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    shape = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
    return {"name": value.name, "type": kind, "shape": shape}


def _require_fit(network: _Network, pictures: Pixels, n_labels: int) -> None:
    wanted, shape = network.input, list(pictures.shape[1:])
    if wanted["type"] != pictures.dtype.name:
        raise ExportError(
            f"the graph takes {wanted['type']}, but the recipe gives {pictures.dtype.name}\nhint: see `type` of the recipe"  # noqa: E501
        )
    batch, rest = wanted["shape"][0], wanted["shape"][1:]
    if batch not in (None, 1) or len(rest) != len(shape) or any(a not in (None, b) for a, b in zip(rest, shape)):
        raise ExportError(
            f"the graph takes {wanted['shape']}, but the recipe gives pictures of {shape}\n"
            "hint: `layout` says whether channels are first (chw) or last (hwc)"
        )
    found = network.run(pictures[:1]).shape
    if found != (1, n_labels):
        raise ExportError(
            f"the graph gives {list(found)} for one picture, expected [1, {n_labels}]: one for each label"
        )


def _base64(file: bytes) -> str:
    return base64.b64encode(file).decode()


def _golden(field: str, file: bytes, row: Pixels, labels: Sequence[Any]) -> dict[str, Any]:
    probabilities = {str(label): float(p) for label, p in zip(labels, row)}
    output = {"prediction": labels[int(row.argmax())], "probabilities": probabilities}
    return {"input": {field: _base64(file)}, "features": [], "output": output}


def _refused(field: str, file: bytes) -> list[dict[str, Any]]:
    """Rows that must fail: no picture, one that is cut off, something else, and text that is no base64."""
    rows: list[tuple[Any, str]] = [
        (None, "null"),
        (_base64(file[: len(file) * 2 // 3]), "image_broken"),
        (_base64(b"%PDF-1.7\n"), "image_format"),
        ("not base64!", "base64"),
    ]
    return [{"input": {field: value}, "error": {"field": field, "code": code}} for value, code in rows]


def _image_libraries(recipe: ImageRecipe) -> dict[str, str]:
    import importlib.metadata

    found = _libraries()
    by_opencv = "opencv" in json.dumps(recipe.spec())
    opencv = ("opencv-python", "opencv-python-headless") if by_opencv else ()
    for library in ("onnxruntime", "pillow", *opencv):
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {key: value for key, value in sorted(found.items()) if key not in ("feature-engine", "skl2onnx", "pandas")}
