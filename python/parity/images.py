"""Compares the step `image` with OpenCV and Pillow themselves, on random and on real pictures.

    python -m parity.images [--cases N] [--seed N] [--photos DIR] [--program PATH]

Every picture is written in a random format (PNG, JPEG, WebP, BMP, GIF), goes through a random recipe in
`ImageRecipe.apply`, which calls the libraries, and through `seaworthy transform`. Where the algorithm is one of
integers the results must be equal, elsewhere at most one grey level apart. Where torchvision is installed, its usual
`Resize`, `CenterCrop`, `PILToTensor` are compared as well.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seaworthy_export.images import ImageRecipe

ROOT = Path(__file__).resolve().parents[2]
METHODS = ["nearest", "bilinear", "bicubic", "area", "lanczos"]
LIBRARIES = ["opencv", "opencv_ipp", "pillow", "pillow13"]
FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "GIF"]
Pixels = NDArray[np.uint8]


def photos(directory: Path | None) -> list[Pixels]:
    """Real pictures: those that scikit-learn and scikit-image ship, and those in a directory."""
    import skimage
    import sklearn
    from PIL import Image

    shipped = Path(str(sklearn.__file__)).parent / "datasets" / "images"
    more = Path(str(skimage.__file__)).parent / "data"
    files = [*shipped.glob("*.jpg"), *more.glob("*.png"), *more.glob("*.jpg")]
    files += sorted(directory.glob("*.png")) if directory else []
    return [np.asarray(Image.open(file).convert("RGB")) for file in sorted(files)]


def picture(rng: np.random.Generator, real: list[Pixels]) -> Pixels:
    """A piece of a real picture, or noise."""
    if real and rng.random() < 0.6:
        whole = real[rng.integers(len(real))]
        height, width = (int(rng.integers(1, min(n, 200) + 1)) for n in whole.shape[:2])
        y, x = (int(rng.integers(0, n - size + 1)) for n, size in zip(whole.shape[:2], (height, width)))
        return whole[y : y + height, x : x + width]
    height, width = (int(n) for n in rng.integers(1, 120, 2))
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def file_of(rng: np.random.Generator, pixels: Pixels) -> tuple[str, bytes]:
    """The picture as a file, in a random format and form."""
    from PIL import Image

    image: Any = Image.fromarray(np.ascontiguousarray(pixels))
    kind = FORMATS[rng.integers(len(FORMATS))]
    mode = {"PNG": ["RGB", "L", "RGBA", "LA", "P", "1", "16"], "JPEG": ["RGB", "L"], "WEBP": ["RGB", "RGBA"]}.get(
        kind, ["RGB", "L"] if kind == "BMP" else ["P", "L"]
    )
    form = mode[rng.integers(len(mode))]
    if form == "16":
        grey = np.asarray(image.convert("L")).astype(np.uint16)
        image = Image.fromarray(grey * 256 + rng.integers(0, 256, grey.shape, dtype=np.uint16))
    elif form in ("RGBA", "LA"):
        image = image.convert("RGB" if form == "RGBA" else "L")
        image.putalpha(Image.fromarray(rng.integers(0, 256, pixels.shape[:2], dtype=np.uint8)))
    else:
        image = image.convert(form)
    options: dict[str, Any] = {}
    if kind == "JPEG":
        options = {
            "quality": int(rng.integers(10, 100)),
            "subsampling": int(rng.integers(0, 3)),
            "progressive": bool(rng.random() < 0.4),
        }
    if kind == "WEBP":
        options = {"lossless": bool(rng.random() < 0.5), "quality": int(rng.integers(10, 100))}
    if kind in ("JPEG", "PNG", "WEBP") and rng.random() < 0.3:
        exif = Image.Exif()
        exif[0x0112] = int(rng.integers(1, 9))
        options["exif"] = exif
    file = io.BytesIO()
    image.save(file, kind, **options)
    return f"{kind} {form}", file.getvalue()


def recipe(rng: np.random.Generator) -> ImageRecipe:
    """A random recipe; all of its pixels are integers, so that a difference is one of grey levels."""
    colour = ["rgb", "bgr", "grey"][rng.integers(3)]
    channels = 1 if colour == "grey" else 3
    method, like = METHODS[rng.integers(5)], LIBRARIES[rng.integers(4)]
    width, height = (int(n) for n in rng.integers(1, 160, 2))
    value = rng.integers(0, 256, channels).tolist()
    before: list[dict[str, Any]] = []
    if rng.random() < 0.2:
        before.append({"pad_square": {"value": value}})
    if rng.random() < 0.2:
        before.append({"pad": {"left": 3, "bottom": 2, "value": value}})
    resize: dict[str, Any] = {"resize": {"width": width, "height": height, "method": method, "like": like}}
    after: list[dict[str, Any]] = []
    if rng.random() < 0.25:
        size = int(rng.integers(1, 100))
        resize = {"resize_shorter": {"size": size, "method": method, "like": like}}
        rounding = ["down", "even"][rng.integers(2)]
        after = [{"centre_crop": {"width": width, "height": height, "rounding": rounding}}]
    if rng.random() < 0.2:
        after.append({"invert": {}})
    alpha: Any = "drop" if rng.random() < 0.5 else {"background": rng.integers(0, 256, 3).tolist()}
    return ImageRecipe(
        colour=colour,
        operations=[*before, resize, *after],
        layout=["hwc", "chw"][rng.integers(2)],
        type="uint8",
        orientation=["apply", "ignore"][rng.integers(2)],
        alpha=alpha,
        grey=["opencv", "pillow"][rng.integers(2)],
    )


def served(program: Path, recipe: ImageRecipe, files: list[bytes]) -> Iterator[Pixels]:
    """What the program makes of the files."""
    step = {"op": "image", "name": "image", "column": "image", "recipe": recipe.spec()}
    spec = {
        "inputs": [{"name": "image", "type": "image"}],
        "pipeline": [step],
        "features": [],
        "tensors": ["image"],
    }
    rows = "\n".join(json.dumps({"image": base64.b64encode(file).decode()}) for file in files)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "spec.json"
        path.write_text(json.dumps(spec))
        answer = subprocess.run(
            [str(program), "transform", str(path)], input=rows, capture_output=True, text=True, check=False
        )
    for line in answer.stdout.splitlines():
        found = json.loads(line)
        if "errors" in found:
            raise AssertionError(found["errors"])
        tensor = found["tensors"]["image"]
        yield np.array(tensor["values"], dtype=np.uint8).reshape(tensor["shape"])
    if answer.returncode != 0:
        raise AssertionError(answer.stderr)


def add(count: list[int], expected: Iterable[Pixels], served: Iterable[Pixels]) -> None:
    """Adds to the pictures, the values that differ, all values; and keeps the largest difference."""
    for pixels, found in zip(expected, served):
        difference = np.abs(found.astype(int) - pixels.astype(int))
        count[0] += 1
        count[1] += int((difference > 0).sum())
        count[2] += difference.size
        count[3] = max(count[3], int(difference.max()))


def compare(program: Path, cases: int, seed: int, real: list[Pixels]) -> dict[str, list[int]]:
    """For each method and library: the pictures, the values that differ, all values, and the largest difference."""
    rng = np.random.default_rng(seed)
    counts: dict[str, list[int]] = {}
    for _ in range(max(cases // 8, 1)):
        one = recipe(rng)
        made = [file_of(rng, picture(rng, real)) for _ in range(8)]
        options = next(entry for op in one.operations for name, entry in op.items() if name.startswith("resize"))
        count = counts.setdefault(f"{options['like']} {options['method']}", [0, 0, 0, 0])
        expected = [one.apply(file) for _, file in made]
        add(count, expected, served(program, one, [file for _, file in made]))
    return counts


def compare_torchvision(program: Path, cases: int, seed: int, real: list[Pixels]) -> list[int] | None:
    """The same counts for `Resize`, `CenterCrop` and `PILToTensor` of torchvision; None where it is not installed."""
    try:
        from torchvision.transforms import v2  # type: ignore[import-not-found]
    except ImportError:
        return None
    import PIL
    from PIL import Image

    like = "pillow13" if int(PIL.__version__.split(".")[0]) >= 13 else "pillow"
    rng = np.random.default_rng(seed)
    count = [0, 0, 0, 0]
    for _ in range(max(cases // 8, 1)):
        size, cut = (int(n) for n in rng.integers(8, 120, 2))
        method = ["nearest", "bilinear", "bicubic", "lanczos"][rng.integers(4)]
        one = ImageRecipe(
            colour="rgb",
            operations=[
                {"resize_shorter": {"size": size, "method": method, "like": like}},
                {"centre_crop": {"width": cut, "height": cut, "rounding": "even"}},
            ],
            layout="chw",
            type="uint8",
        )
        transform = v2.Compose(
            [v2.Resize(size, interpolation=v2.InterpolationMode(method)), v2.CenterCrop(cut), v2.PILToTensor()]
        )
        files = []
        for _ in range(8):
            file = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(picture(rng, real))).save(file, "PNG")
            files.append(file.getvalue())
        expected = [transform(Image.open(io.BytesIO(file))).numpy() for file in files]
        add(count, expected, served(program, one, files))
    return count


def main() -> int:
    """Runs the comparison and prints it; the exit code is 1 when a difference is larger than it may be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=400, help="pictures (default: 400)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photos", type=Path, help="a directory with more real pictures (PNG)")
    parser.add_argument("--program", type=Path, default=ROOT / "target" / "debug" / "seaworthy")
    options = parser.parse_args()
    counts = compare(options.program, options.cases, options.seed, photos(options.photos))
    failed = False
    for name, (pictures, differing, values, largest) in sorted(counts.items()):
        # Intel's IPP is not public; its bicubic is the one that cannot be followed to the bit.
        allowed = 1 if name == "opencv_ipp bicubic" else 0
        failed |= largest > allowed
        print(f"{name:20} {pictures:5} pictures, {differing} of {values} values differ, by at most {largest}")
    count = compare_torchvision(options.program, options.cases, options.seed, photos(options.photos))
    if count is None:
        print("torchvision is not installed, so it is left out (pip install torchvision)")
    else:
        failed |= count[3] > 0
        print(
            f"torchvision          {count[0]:5} pictures, {count[1]} of {count[2]} values differ, by at most {count[3]}"
        )
    print("different" if failed else "equal where integers are computed, within one grey level elsewhere")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
