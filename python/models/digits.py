"""Trains a small convolutional network on scikit-learn's digits, and exports it as digits 1.0.0.

    python models/digits.py [MODELS_DIR] [--train]

Without `--train` the weights are those of the committed graph: sums of float32 depend on the processor, and so would
the bytes of a network that is trained again. With it, training takes a minute or two.

The training pictures are 8 x 8, 0 to 16, light on dark: they were made by counting ink in 4 x 4 cells of a 32 x 32
scan. Reducing a drawing by area does the same, after it has been made square and, since people draw dark on light,
inverted.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from networks import Array, Conv, Layers, Pool, load_weights, probabilities, to_onnx, train
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from seaworthy_export import ImageRecipe, export_image_model

ROOT = Path(__file__).resolve().parents[2]
SEED = 0
EPOCHS = 12
LABELS = list(range(10))

RECIPE = ImageRecipe(
    colour="grey",
    alpha={"background": [255, 255, 255]},
    grey="pillow",
    operations=[
        {"pad_square": {"value": [255]}},
        {"invert": {}},
        {"resize": {"width": 8, "height": 8, "method": "area", "like": "pillow"}},
        {"affine": {"divide": 255}},
    ],
    layout="chw",
)


def network() -> Layers:
    """Two convolutions, a pool, and two dense layers written as convolutions."""
    rng = np.random.default_rng(SEED)
    return [
        Conv(rng, 1, 16, 3, 1),
        Conv(rng, 16, 32, 3, 1),
        Pool(),
        Conv(rng, 32, 64, 4, 0),
        Conv(rng, 64, 10, 1, 0, relu=False),
    ]


def shifted(x: Array, down: int, right: int) -> Array:
    """The pictures moved by at most one pixel; what comes in is dark."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return padded[:, :, 1 - down : 9 - down, 1 - right : 9 - right]


def drawing(pixels: Array, size: int) -> bytes:
    """A digit as somebody may upload it: dark on light, a PNG of another size."""
    light = np.rint(255 - pixels[0] * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(light).resize((size, size), Image.Resampling.NEAREST).save(file, "PNG", optimize=True)
    return file.getvalue()


def main() -> None:
    """Trains where it is asked to, measures, exports."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--train"]
    models = Path(arguments[0]) if arguments else ROOT / "models"
    digits = load_digits()
    pixels = (digits.images / 16).astype(np.float32)[:, None]
    x, x_held_out, y, y_held_out = train_test_split(
        pixels, digits.target, test_size=0.25, random_state=SEED, stratify=digits.target
    )
    layers = network()
    if "--train" in sys.argv:

        def batches(rng: np.random.Generator) -> Iterator[tuple[Array, NDArray[np.int64]]]:
            order = rng.permutation(len(x))
            for start in range(0, len(order), 32):
                rows = order[start : start + 32]
                batch = x[rows].copy()
                for row in np.flatnonzero(rng.random(len(rows)) < 0.5):
                    down, right = rng.integers(-1, 2, 2)
                    batch[row : row + 1] = shifted(batch[row : row + 1], down, right)
                strength = rng.uniform(0.7, 1.0, (len(rows), 1, 1, 1)).astype(np.float32)
                yield batch * strength, y[rows]

        train(layers, batches, EPOCHS, 3e-3, SEED, lambda epoch: print(f"epoch {epoch + 1} of {EPOCHS}"))
    else:
        load_weights(layers, onnx.load(ROOT / "examples" / "models" / "digits" / "1.0.0" / "model.onnx"))
    held_out = float(np.mean(probabilities(layers, x_held_out).argmax(1) == y_held_out))
    trained = float(np.mean(probabilities(layers, x).argmax(1) == y))
    print(f"accuracy: {held_out:.4f} on {len(y_held_out)} held-out rows")
    rows = [int(np.flatnonzero(y_held_out == label)[i]) for i in range(3) for label in LABELS]
    golden = [drawing(x_held_out[row], size) for row, size in zip(rows, [8, 32, 50, 100, 13] * 6)]
    golden += odd_pictures(x_held_out[rows[3]])
    data: dict[str, Any] = {
        "file": "sklearn.datasets.load_digits",
        "rows": len(x),
        "sha256": hashlib.sha256(np.ascontiguousarray(digits.data).tobytes()).hexdigest(),
    }
    export_image_model(
        to_onnx(layers, (1, 8, 8), len(LABELS)),
        name="digits",
        version="1.0.0",
        field="image",
        recipe=RECIPE,
        labels=LABELS,
        images=golden,
        models_dir=models,
        top_k=3,
        estimator="a convolutional network",
        description="Reads a handwritten digit: dark on a light or transparent ground, filling the picture. A small convolutional "  # noqa: E501
        "network, trained on scikit-learn's digits (8 x 8 pixels). A picture that is light on dark must be inverted first.",  # noqa: E501
        field_description="A picture of one digit, dark on light, of any size; PNG, JPEG, WebP, BMP or GIF",
        example=golden[0],
        provenance={
            "training_data": [data],
            "source": "python/models/digits.py",
            "hyperparameters": {
                "layers": "conv 16, conv 32, pool, dense 64, dense 10",
                "epochs": EPOCHS,
                "optimizer": "Adam",
            },
            "seed": SEED,
            "metrics": {"train_accuracy": trained, "held_out_accuracy": held_out, "held_out_rows": len(y_held_out)},
        },
        overwrite=True,
    )


def odd_pictures(pixels: Array) -> list[bytes]:
    """The same digit in other forms: with transparency, in colour, not square, as JPEG and GIF."""
    ink = Image.fromarray(np.rint(pixels[0] * 255).astype(np.uint8)).resize((40, 40), Image.Resampling.NEAREST)
    transparent = Image.new("RGBA", ink.size, (20, 30, 90, 255))
    transparent.putalpha(ink)
    coloured = Image.composite(
        Image.new("RGB", ink.size, (120, 20, 20)), Image.new("RGB", ink.size, (250, 250, 230)), ink
    )
    files = []
    for picture, kind in [
        (transparent, "PNG"),
        (coloured, "JPEG"),
        (coloured.crop((6, 0, 34, 40)), "PNG"),
        (coloured.convert("P"), "GIF"),
    ]:
        file = io.BytesIO()
        picture.save(file, kind)
        files.append(file.getvalue())
    return files


if __name__ == "__main__":
    main()
