"""The reference models over HTTP, beside what trained them: `python -m parity.models [--rows N]`.

The linear template is compared with its scikit-learn pipeline, the digits and the seedlings with the NumPy network that
was trained, on pictures that Pillow and OpenCV prepare. Needs Pillow and OpenCV; the Titanic models are in
tests/test_served.py, which needs their rows.
"""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .estimators import TOLERANCES, post, serving

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python" / "models"))
BATCH = 50
Array = NDArray[Any]


@dataclass(frozen=True)
class Compared:
    """What came of one model."""

    name: str
    rows: int
    wrong_labels: int
    outside: int
    largest: float

    @property
    def good(self) -> bool:
        """Whether labels are equal and numbers within the tolerance."""
        return self.wrong_labels == 0 and self.outside == 0


def ask(url: str, name: str, rows: Sequence[Any]) -> list[Any]:
    """Predictions, each with its probabilities where there are any."""
    found = []
    for start in range(0, len(rows), BATCH):
        answer = post(f"{url}/v1/models/{name}/predict", {"inputs": list(rows[start : start + BATCH])})
        found += list(zip(answer["predictions"], answer.get("probabilities") or [{}] * BATCH))
    return found


def template(url: str, n_rows: int) -> Compared:
    """StandardScaler and LinearRegression."""
    import linear_template  # type: ignore[import-not-found]
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    rows, price = linear_template.make_rows()
    train, _, wanted, _ = train_test_split(rows, price, test_size=0.2, random_state=linear_template.SEED)
    pipeline = Pipeline([("scaler", StandardScaler()), ("regression", LinearRegression())]).fit(train, wanted)
    chance = np.random.default_rng(1)
    # Rows that training has not seen: each cell from another row, a little moved.
    asked = rows.iloc[chance.integers(0, len(rows), n_rows)].reset_index(drop=True)
    for column in asked:
        asked[column] = chance.permutation(asked[column].to_numpy()) * chance.uniform(0.9, 1.1, n_rows)
    expected = pipeline.predict(asked)
    found = np.array([prediction for prediction, _ in ask(url, "linear-template", asked.to_dict("records"))])
    return _compared("linear-template", expected, found, 0, "float64")


def _compared(name: str, expected: Array, found: Array, wrong_labels: int, precision: str) -> Compared:
    absolute, relative = TOLERANCES[precision]
    difference = np.abs(found - expected)
    outside = (difference > absolute + relative * np.abs(expected)).reshape(len(expected), -1).any(axis=1).sum()
    return Compared(name, len(expected), wrong_labels, int(outside), float(difference.max()))


def _pictures(url: str, name: str, files: Sequence[bytes], expected: Array, labels: Sequence[Any]) -> Compared:
    """Labels, and the probabilities that an answer holds."""
    rows = [{"image": base64.b64encode(file).decode()} for file in files]
    wrong, wanted, found = 0, [], []
    for row, (label, probabilities) in zip(expected, ask(url, name, rows)):
        wrong += label != labels[int(row.argmax())]
        keys = [str(known) for known in labels]
        wanted.append([float(row[keys.index(key)]) for key in probabilities])
        found.append(list(probabilities.values()))
    return _compared(name, np.array(wanted), np.array(found), wrong, "float32")


def _network(layers: Any, graph: Path) -> Any:
    import networks  # type: ignore[import-not-found]
    import onnx

    networks.load_weights(layers, onnx.load(graph))
    return layers


def digits(url: str, n_rows: int) -> Compared:
    """Digits of scikit-learn as PNG files of random size."""
    import digits as model  # type: ignore[import-not-found]
    import networks
    from sklearn.datasets import load_digits

    graph = ROOT / "examples" / "models" / "digits" / "1.0.0" / "model.onnx"
    layers = _network(model.network(), graph)
    pixels = (load_digits().images / 16).astype(np.float32)[:, None][:n_rows]
    chance = np.random.default_rng(1)
    files = [model.drawing(picture, int(chance.integers(8, 200))) for picture in pixels]
    prepared = np.stack([model.RECIPE.apply(file) for file in files])
    return _pictures(url, "digits", files, networks.probabilities(layers, prepared), model.LABELS)


def seedlings(url: str, n_rows: int) -> Compared:
    """Drawings of plants in random sizes, and the narrow network of the fixtures."""
    import networks
    import seedlings as model  # type: ignore[import-not-found]

    folder = next((ROOT / "tests" / "fixtures" / "models" / "plant-seedlings").iterdir())
    layers = _network(model.network(small=True), folder / "model.onnx")
    chance = np.random.default_rng(1)
    files = [model.file_of(model.drawn(i % len(model.SPECIES), chance)) for i in range(n_rows)]
    prepared = [model.RECIPE.apply(file).transpose(2, 0, 1) for file in files]
    expected = networks.probabilities(layers, np.stack(prepared), 10)
    return _pictures(url, "plant-seedlings", files, expected, model.SPECIES)


def main() -> int:
    """Runs the comparison and prints it; the exit code is 1 when one differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000, help="how many each is asked (default: 1000)")
    options = parser.parse_args()
    with serving(ROOT / "examples" / "models") as url:
        results = [template(url, options.rows), digits(url, options.rows)]
    with serving(ROOT / "tests" / "fixtures" / "models") as url:
        results.append(seedlings(url, options.rows))
    for result in results:
        print(
            f"{'ok' if result.good else 'FAILED':6} {result.name}: {result.rows} rows, wrong labels "
            f"{result.wrong_labels}, outside {result.outside}, largest difference {result.largest:.2g}"
        )
    return 0 if all(result.good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
