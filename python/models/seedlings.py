"""Builds the course's network for plant seedlings, and exports it as plant-seedlings.

    python models/seedlings.py [MODELS_DIR] [--small] [--epochs N]

The photos that the course trains on are not in this repository: there are two of them, of two species. The rest is
drawn here, a shape and a green for each of the twelve species, so the network proves everything around it (decoding,
the order of the channels, OpenCV's resize, names, top-k), and is of no use for plants. Its description and its
metrics say so.

Without `--small` it is the network of the course: 30 MB, which is not committed. `make seedlings` writes it to
target/models. With `--small` the same layers are narrow: the fixture in tests/fixtures/models that the tests serve.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from networks import Array, Conv, Layers, Pool, probabilities, to_onnx, train
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from seaworthy_export import ImageRecipe, export_image_model

ROOT = Path(__file__).resolve().parents[2]
PHOTOS = ROOT / "tests" / "data" / "plant-seedlings"
SIDE = 150
SEED = 0
# In the order of the course's LabelEncoder.
SPECIES = [
    "Black-grass", "Charlock", "Cleavers", "Common Chickweed", "Common wheat", "Fat Hen", "Loose Silky-bent", "Maize",
    "Scentless Mayweed", "Shepherds Purse", "Small-flowered Cranesbill", "Sugar beet",
]  # fmt: skip
RECIPE = ImageRecipe(
    # cv2.imread and cv2.resize, and no scaling: the course's network takes 0 to 255.
    colour="bgr",
    operations=[{"resize": {"width": SIDE, "height": SIDE, "method": "bilinear", "like": "opencv"}}],
    layout="hwc",
)


def network(small: bool) -> Layers:
    """Conv 32-32-pool, 64-64-pool, 128-128-pool, dense 256, dense 12; the padding is Keras' valid."""
    rng = np.random.default_rng(SEED)
    widths, dense = ([2, 3, 4], 8) if small else ([32, 64, 128], 256)
    layers: Layers = []
    inputs = 3
    for width in widths:
        layers += [Conv(rng, inputs, width, 3, 0), Conv(rng, width, width, 3, 0), Pool()]
        inputs = width
    if small:
        # Pixels come as 0 to 255.
        layers[0].weight /= 255
    return [*layers, Conv(rng, inputs, dense, 15, 0), Conv(rng, dense, len(SPECIES), 1, 0, relu=False)]


def drawn(species: int, rng: np.random.Generator) -> Any:
    """A plant that there is not: so many leaves, so long and so green as its number says, on brown ground."""
    size = int(rng.integers(90, 260))
    ground = rng.normal((110, 85, 60), 18, (size, size, 3)).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(ground)
    pen = ImageDraw.Draw(picture)
    leaves, slender = 2 + species % 4 * 2, 0.05 + 0.08 * (species // 4)
    green = (30 + 12 * (species % 5), 110 + 10 * species, 30 + 6 * species)
    turn = rng.random() * np.pi
    for leaf in range(leaves):
        angle = turn + leaf * 2 * np.pi / leaves
        along = np.array([np.cos(angle), np.sin(angle)]) * size * 0.4
        across = np.array([-along[1], along[0]]) * slender * 2
        middle = np.array([size / 2, size / 2])
        corners = [middle, middle + along / 2 + across, middle + along, middle + along / 2 - across]
        pen.polygon([tuple(corner) for corner in corners], fill=green)
    return picture


def file_of(picture: Any) -> bytes:
    """As PNG."""
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()


def main() -> None:
    """Draws, trains, measures, exports."""
    small = "--small" in sys.argv
    epochs = int(sys.argv[sys.argv.index("--epochs") + 1]) if "--epochs" in sys.argv else 4 if small else 20
    given = [argument for argument in sys.argv[1:] if not argument.startswith("--") and not argument.isdigit()]
    models = Path(given[0]) if given else ROOT / "target" / "models"
    rng = np.random.default_rng(SEED)
    photos = {0: (PHOTOS / "black-grass.png").read_bytes(), 1: (PHOTOS / "charlock.png").read_bytes()}
    files, labels = list(photos.values()), list(photos)
    for species in range(len(SPECIES)):
        for _ in range(4):
            files.append(file_of(drawn(species, rng)))
            labels.append(species)
    pixels = np.stack([RECIPE.apply(file) for file in files]).transpose(0, 3, 1, 2)
    wanted = np.array(labels)
    layers = network(small)

    def batches(rng: np.random.Generator) -> Iterator[tuple[Array, NDArray[np.int64]]]:
        order = rng.permutation(len(pixels))
        for start in range(0, len(order), 5):
            rows = order[start : start + 5]
            flip = bool(rng.integers(2))
            yield pixels[rows][:, :, :, ::-1] if flip else pixels[rows], wanted[rows]

    if not small:
        # Steps of Adam are of one size for all weights, so that these learn nothing from pixels of 0 to 255.
        pixels = pixels / np.float32(255)
    train(layers, batches, epochs, 1e-3, SEED, lambda epoch: print(f"epoch {epoch + 1} of {epochs}", flush=True))
    if not small:
        layers[0].weight /= 255
    fresh = [(file_of(drawn(species, rng)), species) for species in range(len(SPECIES)) for _ in range(2)]
    held_out = np.stack([RECIPE.apply(file) for file, _ in fresh]).transpose(0, 3, 1, 2)
    correct = probabilities(layers, held_out, 6).argmax(1) == np.array([species for _, species in fresh])
    print(f"accuracy on drawings: {correct.mean():.2f}")
    export_image_model(
        to_onnx(
            layers, (SIDE, SIDE, 3), len(SPECIES), channels_last=True, first_dense=None if small else len(layers) - 2
        ),
        name="plant-seedlings",
        version="1.0.0-small" if small else "1.0.0",
        field="image",
        recipe=RECIPE,
        labels=SPECIES,
        images=[*photos.values(), *[file for file, _ in fresh[: 2 if small else 8]]],
        models_dir=models,
        top_k=3,
        estimator="conv 32-32-pool, 64-64-pool, 128-128-pool, dense 256, dense 12, softmax"
        + (", all of them narrower" if small else ""),
        description="The network of the course for the species of a plant seedling. NOT trained on the course's photos, of which only two "  # noqa: E501
        "could be had: on those and on drawings. What it says of a plant means nothing; what it proves is the way from a file to an answer.",  # noqa: E501
        field_description="A photo of a seedling from above",
        provenance={
            "source": "python/models/seedlings.py",
            "hyperparameters": {"epochs": epochs, "side": SIDE, "real_photos": 2, "drawings": len(files) - 2},
            "seed": SEED,
            "metrics": {"accuracy_on_drawings": float(correct.mean()), "real_photos_held_out": 0},
        },
        overwrite=True,
    )


if __name__ == "__main__":
    main()
