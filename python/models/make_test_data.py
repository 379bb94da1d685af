"""Writes what the tests compare the server with: predictions of known rows, and of random ones.

    python models/make_test_data.py 3.2.0 [DIRECTORY]      with the libraries of requirements-2023.txt
    python models/make_test_data.py 3.3.0 [DIRECTORY]      with those of requirements.txt

`predictions_<version>.csv` holds the rows of the data files that the pipeline predicts. `random_<version>.ndjson`
holds 2,000 rows, each run alone through the Python pipeline as a frame of one row: real rows with up to four cells
replaced by something that a client may send one day. The rows are the same for both versions; what became of them
need not be.
"""

from __future__ import annotations

import csv
import json
import math
import random
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from house_prices import FEATURES, FLOATS, IMPUTED, read_rows

from seaworthy_export import rows_to_frame

DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "house-prices"
N_ROWS, SEED = 2000, 20230107
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

STRANGE_INTS = [
    0,
    -1,
    1,
    2,
    7,
    100,
    -2010,
    10**6,
    2**31,
    -(2**31),
    2**53 + 1,
    10**18,
    INT64_MIN,
    INT64_MAX,
    INT64_MIN + 1,
]
STRANGE_FLOATS = [
    0.0, -0.0, -1.0, 0.5, 1e-300, 5e-324, -5e-324, 2.2250738585072014e-308, 0.1, 1 / 3, 1e6, 1e15, 9007199254740993.0,
    1e100, 1e300, -1e300, 1.7976931348623157e308,
]  # fmt: skip
STRANGE_STRINGS = [
    "",
    " ",
    "Unheard-of",
    "Rare",
    "Missing",
    "NA",
    "nan",
    "None",
    "ta",
    "TA ",
    "Zoë",
    "日本",
    "0",
    "20",
    '\t"\\',
]


def real_rows() -> list[dict[str, Any]]:
    """The rows of both data files as a client would send them."""
    rows = []
    for name in ("train.csv", "test.csv"):
        frame = read_rows(DATA / name)[FEATURES]
        for cells in frame.itertuples(index=False):
            row = {}
            for field, value in zip(FEATURES, cells):
                if isinstance(value, float) and math.isnan(value):
                    row[field] = None
                elif isinstance(value, str):
                    row[field] = value
                else:
                    row[field] = float(value) if field in FLOATS else int(value)
            rows.append(row)
    return rows


def random_rows() -> list[dict[str, Any]]:
    """Real rows, most of them with something strange; the same on every machine."""
    chance = random.Random(SEED)
    real = real_rows()
    rows = []
    for _ in range(N_ROWS):
        row = dict(chance.choice(real))
        for _ in range(chance.choice([0, 1, 1, 2, 2, 3, 4])):
            field = chance.choice(FEATURES)
            row[field] = cell(chance, real, field)
        rows.append(row)
    return rows


def cell(chance: random.Random, real: list[dict[str, Any]], field: str) -> Any:
    """A value that a client may send for this field, of the type that the schema declares."""
    kind = chance.random()
    seen = next(value for value in (chance.choice(real)[field] for _ in range(100)) if value is not None)
    if kind < 0.35:
        return seen
    if kind < 0.50 and field in IMPUTED:
        return None
    if kind < 0.53:
        return None
    if isinstance(seen, str):
        return chance.choice(STRANGE_STRINGS) if kind < 0.9 else seen[::-1]
    if isinstance(seen, float):
        if kind < 0.75:
            return chance.choice(STRANGE_FLOATS)
        return (
            seen * math.exp(chance.gauss(0.0, 2.0))
            if kind < 0.95
            else chance.gauss(0.0, 1.0) * 10 ** chance.uniform(-300, 300)
        )
    if kind < 0.75:
        return chance.choice(STRANGE_INTS)
    return seen + chance.randint(-20, 200) if kind < 0.95 else chance.randint(INT64_MIN, INT64_MAX)


def predict_alone(pipeline: Any, row: dict[str, Any], dtypes: dict[str, Any]) -> tuple[float | None, str | None]:
    """The price of one row, or why there is none."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            prediction = float(np.exp(pipeline.predict(rows_to_frame([row], dtypes)))[0])
    except Exception as error:  # whatever the pipeline raises is its way to refuse the row
        return None, (str(error).strip().splitlines() or [type(error).__name__])[0][:100]
    if not math.isfinite(prediction):
        return None, f"the prediction is {prediction}"
    return prediction, None


def known_predictions(pipeline: Any, name: str) -> list[tuple[int, int, float]]:
    """Row, Id and price of the rows of a file in which nothing is missing that the pipeline does not impute."""
    frame = read_rows(DATA / name)
    rows = frame[FEATURES].astype(dict.fromkeys(FLOATS, "float64"))
    complete = rows.drop(columns=IMPUTED).notna().all(axis=1).to_numpy()
    rows = rows[complete]
    # Missing cells of other rows have made floats of these columns.
    whole = {c: "int64" for c in rows if rows[c].dtype.kind == "f" and c not in FLOATS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prices = np.exp(pipeline.predict(rows.astype(whole)))
    return list(zip(np.flatnonzero(complete).tolist(), frame["Id"][complete].tolist(), prices.tolist()))


def write_known(pipeline: Any, path: Path, names: list[str]) -> None:
    """A row for each known prediction."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "Id", "prediction"])
        for name in names:
            writer.writerows((row, identity, repr(price)) for row, identity, price in known_predictions(pipeline, name))


def require_known(pipeline: Any, path: Path) -> None:
    """Compares with predictions that were computed elsewhere, by the package's own code."""
    expected = pd.read_csv(path)
    found = pd.DataFrame(known_predictions(pipeline, "test.csv"), columns=["row", "Id", "prediction"])
    if not expected[["row", "Id"]].equals(found[["row", "Id"]]):
        raise SystemExit(f"{path.name} holds other rows than the pipeline predicts")
    worst = float((found["prediction"] / expected["prediction"] - 1).abs().max())
    if worst > 1e-12:
        raise SystemExit(f"{path.name} differs from the pipeline by {worst:.3g}")
    print(f"{path.name}: {len(expected)} predictions as the pickle gives them, worst relative difference {worst:.3g}")


def main(version: str, directory: str = str(DATA)) -> None:
    """Writes the files of one version."""
    out = Path(directory)
    if version == "3.2.0":
        from house_prices_3_2_0 import load_pipeline

        pipeline = load_pipeline()
        require_known(pipeline, DATA / "predictions_3.2.0.csv")
    elif version == "3.3.0":
        from house_prices_3_3_0 import train

        pipeline = train()[0]
        write_known(pipeline, out / "predictions_3.3.0.csv", ["train.csv", "test.csv"])
    else:
        raise SystemExit(f"no version {version}; there are 3.2.0 and 3.3.0")
    dtypes = read_rows(DATA / "train.csv")[FEATURES].astype(dict.fromkeys(FLOATS, "float64")).dtypes.to_dict()
    path, succeeded = out / f"random_{version}.ndjson", 0
    with path.open("w", encoding="utf-8") as file:
        for row in random_rows():
            prediction, error = predict_alone(pipeline, row, dtypes)
            succeeded += error is None
            line = {"input": row, "prediction": prediction, "error": error}
            file.write(json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")
    print(f"{path.name}: {succeeded} of {N_ROWS} rows have a prediction")


if __name__ == "__main__":
    main(*sys.argv[1:])
