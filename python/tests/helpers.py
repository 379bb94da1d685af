"""Training rows, and what most tests are: the Python pipeline against the written artifact, row by row."""

from __future__ import annotations

import json
import math
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import reference
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline

from seaworthy_export import export, rows_to_frame

NEW = int(pd.__version__.split(".")[0]) >= 3
EPOCH = "2024-02-29T12:00:00Z"

STRANGE = {
    "int": [0, 1, -1, 5, 1000, 2**53 + 1, -(2**63), 2**63 - 1],
    "float": [0.0, -0.0, 1.0, -1.0, 0.25, 1e300, -1e300, 5e-324, 1e-300, 3.5],
    "string": ["", "Rare", "Missing", "nan", "zebra", "A", "1", "20"],
    "bool": [True, False],
}


def training_rows(seed: int = 0, n: int = 240) -> pd.DataFrame:
    """Columns of every kind: counts, codes, amounts that are positive, texts; some with missing values."""
    chance = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "count": chance.integers(0, 6, n),
            "year": chance.integers(1950, 2010, n),
            "sold": chance.integers(2006, 2011, n),
            "area": np.exp(chance.normal(7.0, 0.4, n)),
            "depth": chance.normal(0.0, 3.0, n),
            "front": np.where(chance.random(n) < 0.15, np.nan, chance.integers(20, 120, n).astype(float)),
            "zone": chance.choice(["A", "B", "C", "D"], n, p=[0.6, 0.25, 0.1, 0.05]),
            "style": chance.choice(["flat", "gable", "hip"], n, p=[0.7, 0.2, 0.1]),
            "fire": chance.choice(["Gd", "TA", "Fa", ""], n),
            "code": chance.choice([20, 60, 120], n, p=[0.5, 0.4, 0.1]),
            "new": chance.random(n) < 0.5,
        }
    )
    frame["code"] = pd.Series([int(code) for code in frame["code"]], dtype=object)
    frame["fire"] = frame["fire"].where(frame["fire"] != "", np.nan)
    return frame


def target(frame: pd.DataFrame, seed: int = 0) -> pd.Series:
    noise = np.random.default_rng(seed + 1).normal(0.0, 0.1, len(frame))
    zones = frame["zone"].astype(object).map({"A": 0.1, "B": 0.4, "C": 0.2, "D": 0.9}) if "zone" in frame else 0.0
    return pd.Series(np.arange(len(frame)) % 7 * 0.1 + noise + zones, index=frame.index)


def fit(steps: list[tuple[str, Any]], frame: pd.DataFrame, y: Any = None, estimator: Any = None) -> Pipeline:
    pipeline = Pipeline([*steps, ("model", estimator if estimator is not None else LinearRegression())])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pipeline.fit(frame, target(frame) if y is None else y)


def exported(pipeline: Any, frame: pd.DataFrame, tmp_path: Path, **options: Any) -> Path:
    options = {"name": "model", "version": "1.0.0", "created": EPOCH, "golden_rows": 24, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return export(pipeline, inputs=frame, models_dir=tmp_path / "models", **options)


def manifest(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "manifest.json").read_text(encoding="utf-8"))


def golden(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "golden.jsonl").read_text(encoding="utf-8").splitlines()]


def ops(directory: Path) -> list[str]:
    return [step["op"] for step in manifest(directory)["pipeline"]]


def random_rows(directory: Path, frame: pd.DataFrame, n: int, seed: int) -> list[dict[str, Any]]:
    """Training rows with up to three cells replaced: by another row's, by nothing, by something strange."""
    chance = random.Random(seed)
    fields = manifest(directory)["inputs"]
    rows = []
    for _ in range(n):
        row = {}
        base = frame.iloc[chance.randrange(len(frame))]
        for field in fields:
            row[field["name"]] = plain(base[field["name"]], field["type"])
        for _ in range(chance.choice([0, 1, 1, 2, 3])):
            field = chance.choice(fields)
            kind = chance.random()
            if kind < 0.25 and field["nullable"]:
                row[field["name"]] = None
            elif kind < 0.5:
                value = plain(frame[field["name"]].iloc[chance.randrange(len(frame))], field["type"])
                row[field["name"]] = value if value is not None or field["nullable"] else row[field["name"]]
            else:
                row[field["name"]] = chance.choice(STRANGE[field["type"]])
        rows.append(row)
    return rows


def plain(value: Any, kind: str) -> Any:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    return {"int": int, "float": float, "string": str, "bool": bool}[kind](value)


def python_answer(pipeline: Any, row: dict[str, Any], dtypes: dict[str, Any], inverse: Any = None) -> Any:
    """The prediction of one row run alone, or None where Python raises or gives no finite number."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            frame = rows_to_frame([row], dtypes)
            if hasattr(pipeline, "predict_proba"):
                found = pipeline.predict_proba(frame)[0].tolist()
            else:
                value = pipeline.predict(frame).ravel()
                found = [float((value if inverse is None else inverse(value))[0])]
    except Exception:
        return None
    return found if all(math.isfinite(number) for number in found) else None


def require_parity(
    pipeline: Any,
    frame: pd.DataFrame,
    directory: Path,
    *,
    seed: int = 0,
    n: int = 60,
    relative: float = 1e-9,
    absolute: float = 1e-9,
    inverse: Any = None,
    frame_types: Any = None,
) -> None:
    """The artifact answers random rows as the Python pipeline does: the same numbers, and errors where it raises."""
    assert reference.differences(directory) == []
    rows = random_rows(directory, frame, n, seed)
    dtypes = (frame if frame_types is None else frame_types).dtypes.to_dict()
    dtypes = {field["name"]: dtypes[field["name"]] for field in manifest(directory)["inputs"]}
    succeeded = 0
    for row, answer in zip(rows, reference.open_artifact(directory).run(rows)):
        expected = python_answer(pipeline, row, dtypes, inverse)
        if expected is None:
            assert "error" in answer, f"Python refuses {row}, the artifact answers {answer}"
            continue
        assert "error" not in answer, f"Python answers {expected} for {row}, the artifact {answer['error']}"
        output = answer["output"]
        found = list(output["probabilities"].values()) if "probabilities" in output else [output["prediction"]]
        scale = max(abs(number) for number in expected)
        for f, e in zip(found, expected):
            assert abs(f - e) <= absolute + relative * scale, f"{f!r} for {e!r} in {row}"
        succeeded += 1
    assert succeeded >= n // 5, f"only {succeeded} of {n} rows succeeded, which proves little"
