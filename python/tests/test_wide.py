"""Bags of words with very many columns, and a tail of scikit-learn steps in the graph: through the binary."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import exported, fit, manifest, require_parity, training_rows
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from parity import harness
from seaworthy_export import ExportError, UnsupportedStepError

N_TERMS = 50_000
# The default solver for sparse rows calls SciPy by an argument that it has no more since 1.14 (scikit-learn 1.2).
RIDGE = Ridge(solver="lsqr")
needs_skl2onnx = pytest.mark.skipif(
    importlib.util.find_spec("skl2onnx") is None, reason="the tail is converted by skl2onnx, which is not installed"
)
# Runs the command it is given and says how much memory that took at most, in KiB.
MEASURE = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdin=sys.stdin, stdout=subprocess.DEVNULL)
print(json.dumps([done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def texts(n: int, seed: int = 0) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    words = chance.integers(0, N_TERMS, size=(n, 40))
    return pd.DataFrame({"text": [" ".join(f"w{word}" for word in row) for row in words]})


def certified(directory: Path) -> None:
    """The binary reproduces the proof of an artifact."""
    done = subprocess.run(
        [harness.binary(), "check", str(directory)], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def bag_of_words(estimator: Any) -> tuple[Pipeline, pd.DataFrame]:
    frame = texts(300)
    vectorizer = TfidfVectorizer(vocabulary=[f"w{i}" for i in range(N_TERMS)])
    y = np.arange(len(frame)) % 2 if hasattr(estimator, "predict_proba") else np.arange(len(frame)) * 0.01
    return Pipeline([("words", vectorizer), ("model", estimator)]).fit(frame["text"], y), frame


@pytest.mark.parametrize("estimator", [LogisticRegression(), RIDGE], ids=["classifier", "regressor"])
def test_a_wide_bag_of_words_is_served_without_dense_rows(estimator: Any, tmp_path: Path) -> None:
    pipeline, frame = bag_of_words(estimator)
    directory = exported(pipeline, frame, tmp_path)
    assert manifest(directory)["features"] == ["score"]
    certified(directory)
    if isinstance(estimator, LogisticRegression):
        return
    # As dense rows in float64 these would be 4 GB.
    rows = tmp_path / "rows.ndjson"
    with rows.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts(10_000, seed=1)["text"])
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({k: manifest(directory)[k] for k in ("inputs", "pipeline", "features")}))
    command = [sys.executable, "-c", MEASURE, harness.binary(), "transform", str(spec), "-", "--batch", "10000"]
    with rows.open(encoding="utf-8") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, encoding="utf-8", check=True)
    code, kibibytes = json.loads(done.stdout)
    assert code == 0
    assert kibibytes < 600 * 1024, f"{kibibytes / 1024:.0f} MiB"


def test_a_million_hashed_columns_end_in_a_linear_model(tmp_path: Path) -> None:
    frame = texts(60)
    y = np.arange(len(frame)) % 2
    pipeline = Pipeline([("words", HashingVectorizer()), ("model", LogisticRegression())]).fit(frame["text"], y)
    directory = exported(pipeline, frame, tmp_path)
    tokens = next(step for step in manifest(directory)["pipeline"] if step["op"] == "tokens")
    assert tokens["hash"]["size"] == 2**20
    # Only those that training filled have a weight.
    assert len(tokens["outputs"]) == len(tokens["hash"]["buckets"]) <= 60 * 40
    certified(directory)


def test_a_million_hashed_columns_are_no_dense_row(tmp_path: Path) -> None:
    frame = texts(20)
    forest = RandomForestClassifier(n_estimators=2)
    pipeline = Pipeline([("words", HashingVectorizer(n_features=2**18)), ("model", forest)])
    pipeline.fit(frame["text"], np.arange(len(frame)) % 2)
    with pytest.raises(UnsupportedStepError, match=r"262144 columns.*\nhint: .*n_features=2\*\*16"):
        exported(pipeline, frame, tmp_path)


def test_hashed_fields_end_in_a_linear_model(tmp_path: Path) -> None:
    frame = training_rows()[["zone", "style", "area", "count"]]
    records = FunctionTransformer(pd.DataFrame.to_dict, kw_args={"orient": "records"})
    pipeline = Pipeline([("records", records), ("hash", FeatureHasher(2**14)), ("model", RIDGE)])
    pipeline.fit(frame, np.arange(len(frame)) * 0.1)
    directory = exported(pipeline, frame, tmp_path)
    assert manifest(directory)["features"] == ["score"]
    certified(directory)


# --- native_until ---------------------------------------------------------------------------------------------------


def numbers() -> pd.DataFrame:
    return training_rows()[["count", "area", "depth", "front"]]


STEPS: list[tuple[str, Any]] = [("fill", SimpleImputer()), ("scale", StandardScaler()), ("pca", PCA(2))]


@needs_skl2onnx
@pytest.mark.parametrize(
    ("native_until", "features"), [("fill", 4), ("scale", 4), (1, 4), (0, 4), ("pca", 2), (3, 2)], ids=str
)
def test_a_tail_of_steps_is_left_to_the_graph(native_until: str | int, features: int, tmp_path: Path) -> None:
    frame = numbers()
    pipeline = fit(STEPS, frame, y=np.arange(len(frame)) * 0.1)
    directory = exported(pipeline, frame, tmp_path, native_until=native_until)
    found = manifest(directory)
    assert len(found["features"]) == features
    assert found["model"]["estimator"].endswith("LinearRegression")
    ops = {step["op"] for step in found["pipeline"]}
    assert ("fill" in ops) == (native_until != 0)
    assert ("project" in ops) == (native_until in ("pca", 3))
    close = 1e-9 if found["model"]["precision"] == "float64" else 1e-4
    if "project" not in ops:  # which the reference of the tests does not know
        require_parity(pipeline, frame, directory, relative=close, absolute=close * 100)
    certified(directory)


@needs_skl2onnx
def test_a_classifier_with_a_tail(tmp_path: Path) -> None:
    frame = numbers()
    pipeline = fit(STEPS, frame, y=np.arange(len(frame)) % 2, estimator=LogisticRegression())
    directory = exported(pipeline, frame, tmp_path, native_until="fill")
    assert [len(entry["shape"]) for entry in manifest(directory)["model"]["outputs"]] == [2]
    certified(directory)


@pytest.mark.parametrize(
    ("native_until", "message"),
    [("center", "there is no step `center`; there are fill, scale, pca"), (4, "of 3 steps, 4 cannot run natively")],
)
def test_a_tail_begins_at_a_step(native_until: str | int, message: str, tmp_path: Path) -> None:
    frame = numbers()
    pipeline = fit(STEPS, frame, y=np.arange(len(frame)) * 0.1)
    with pytest.raises(ExportError, match=message):
        exported(pipeline, frame, tmp_path, native_until=native_until)


def test_a_tail_is_of_scikit_learn_alone(tmp_path: Path) -> None:
    from feature_engine.transformation import YeoJohnsonTransformer

    frame = numbers()[["count", "area"]].astype(float)
    pipeline = fit(
        [("scale", StandardScaler().set_output(transform="pandas")), ("power", YeoJohnsonTransformer())], frame
    )
    with pytest.raises(UnsupportedStepError, match="leaves a `feature_engine"):
        exported(pipeline, frame, tmp_path, native_until="scale")
