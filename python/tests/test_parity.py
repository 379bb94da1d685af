"""A sample of the parity suite, with the current libraries; `make parity` runs all of it with both generations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from feature_engine.creation import CyclicalFeatures, RelativeFeatures
from feature_engine.outliers import Winsorizer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    LabelBinarizer,
    SplineTransformer,
    StandardScaler,
)

from parity import cli, harness, slack
from seaworthy_export import registry

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "transformers.md"

# Registered, and without a generator of their own: each with the reason.
WITHOUT_CASES = {
    "feature_engine.creation.CombineWithReferenceFeature": "of versions until 1.3: `make parity-old`",
    "feature_engine.creation.MathematicalCombination": "of versions until 1.3: `make parity-old`",
    "feature_engine.encoding.PRatioEncoder": "of versions older than both generations",
    "feature_engine.encoding.ProbabilityRatioEncoder": "of versions older than both generations",
    "feature_engine.preprocessing.MatchColumnsToTrainSet": "the old name of MatchVariables, of older versions",
    "imblearn.pipeline.Pipeline": "the converter of scikit-learn's Pipeline; imblearn is not installed",
}

CASES, PIPELINES, SEED = 8, 40, 20261121


def test_a_sample_of_the_cases_of_every_class() -> None:
    if not Path(harness.binary()).is_file():
        pytest.fail(f"there is no {harness.binary()}: `cargo build`, or say where it is by SEAWORTHY_BIN")
    # A process of its own: the workers are forked, and pytest's threads and captured streams are no place for that.
    done = subprocess.run(
        [sys.executable, "-m", "parity", "--cases", str(CASES), "--pipelines", str(PIPELINES), "--seed", str(SEED)],
        cwd=ROOT / "python", capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout


def test_classes_of_old_versions() -> None:
    """With feature-engine 1.2, where `make parity-old` has installed it."""
    python = ROOT / "target" / "venv-2022" / "bin" / "python"
    if not python.is_file():
        pytest.skip("target/venv-2022 is not there; `make parity-old` makes it")
    done = subprocess.run(
        [python, "-m", "parity", "--module", "feature_engine_old", "--cases", str(CASES)],
        cwd=ROOT / "python", capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"2 classes, {2 * CASES} cases, 0 failed" in done.stdout


def short(name: str) -> tuple[str, str]:
    """Library and class: a name may leave out the modules between."""
    return name.partition(".")[0], name.rpartition(".")[2]


# Some classes are of one generation only; that of today has them all.
of_today = pytest.mark.skipif(harness.GENERATION != "current", reason="the list is that of the current libraries")


@of_today
def test_every_converter_has_cases() -> None:
    absent = cli.load_cases()
    assert not absent, f"modules of cases were skipped: {absent}"
    # A text in brackets tells several generators of one class apart.
    # Random pipelines are no class, and a custom one has its converter where its cases are.
    named = [name for name in harness.REGISTRY if not name.startswith(("random pipelines", "custom."))]
    covered = {short(name.partition(" (")[0]): name for name in named}
    shipped = {
        short(name): name
        for name, converter in registry._CONVERTERS.items()
        if converter.__module__.startswith("seaworthy_export.")
    }
    excepted = {short(name) for name in WITHOUT_CASES}
    lacking = sorted(shipped[key] for key in shipped.keys() - covered.keys() - excepted)
    assert not lacking, f"converters without a case in python/parity: {', '.join(lacking)}"
    unknown = sorted(covered[key] for key in covered.keys() - shipped.keys())
    assert not unknown, f"cases of no registered converter: {', '.join(unknown)}"
    assert not excepted & covered.keys(), "an exception that is none any more"


@of_today
def test_the_table_is_of_the_registered_classes() -> None:
    cli.load_cases()
    text = DOCS.read_text(encoding="utf-8")
    lacking = [name for name in harness.REGISTRY if f"`{name}`" not in text]
    assert not lacking, f"docs/transformers.md is older than these classes, write it by `make parity`: {lacking}"
    assert "FAILED" not in text


# --- what random cases have found ----------------------------------------------------------------------------------


def numbers(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame(columns, dtype="float64")


def outcome(case: harness.Case) -> harness.Outcome:
    return harness.run_case(harness.Registered("a test", "tests", (), lambda draw: case, ""), 0, 0)


AGAIN = {
    "cyclical": lambda: CyclicalFeatures(variables=["a"]),
    "relative": lambda: RelativeFeatures(variables=["a"], reference=["b"], func=["sub", "mul"]),
}


@pytest.mark.parametrize("kind", AGAIN)
def test_a_column_that_is_created_again_keeps_its_place_and_its_name(kind: str) -> None:
    frame = numbers(a=[1.0, 2.0, 5.0], b=[3.0, 1.0, 4.0])
    halve = FunctionTransformer(np.sqrt).set_output(transform="pandas")
    pipeline = Pipeline([("one", AGAIN[kind]()), ("halve", halve), ("two", AGAIN[kind]())])
    if kind == "cyclical":  # whose sines have no roots
        pipeline.steps.pop(1)
    found = outcome(harness.Case(pipeline, frame, frame))
    assert not found.failure
    assert found.rows == 3


def test_a_column_that_is_created_again_and_dropped_leaves_nothing() -> None:
    frame = numbers(a=[1.0, 2.0, 5.0])
    twice = CyclicalFeatures(variables=["a", "a_sin"], drop_original=True)
    pipeline = Pipeline([("one", CyclicalFeatures(variables=["a"])), ("two", twice)])
    assert not outcome(harness.Case(pipeline, frame, frame)).failure


def test_a_spline_of_degree_0_refuses_what_is_above_its_knots() -> None:
    spline = SplineTransformer(4, degree=0, extrapolation="constant")
    found = outcome(harness.Case(spline, numbers(a=[0.0, 1.0, 2.0]), numbers(a=[-1.0, 2.0, 2.5])))
    assert not found.failure
    assert found.refused == 1


def test_a_bound_learned_from_nothing_but_missing_values_bounds_nothing() -> None:
    frame = numbers(a=[1.0, 2.0, 9.0], b=[np.nan, np.nan, np.nan])
    winsorizer = Winsorizer("gaussian", tail="both", fold=1, variables=["a", "b"], missing_values="ignore")
    asked = numbers(a=[0.0, 100.0], b=[7.0, np.nan])
    assert not outcome(harness.Case(winsorizer, frame, asked)).failure


def test_a_row_is_compared_as_it_is_alone() -> None:
    # With one class this encoder tells known from unknown only among rows of three kinds.
    frame = pd.DataFrame({"a": ["x", "x"]}, dtype=object)
    asked = pd.DataFrame({"a": ["x", "y", "z", "x"]}, dtype=object)

    def transform(step: Any, X: pd.DataFrame) -> Any:
        return step.transform(X["a"])

    case = harness.Case(
        LabelBinarizer(neg_label=-1), frame, asked,
        fit=lambda step, X, y: step.fit(X["a"]), transform=transform,
    )  # fmt: skip
    assert not outcome(case).failure


# --- how strict the comparison is ----------------------------------------------------------------------------------


def test_integers_and_strings_have_no_tolerance() -> None:
    assert harness.distance(3, 3.0) == 0
    assert harness.distance(3, 3.0 + 1e-15) == np.inf
    assert harness.distance("3", 3.0) == np.inf
    assert harness.distance(3.0, 3.0 + 3e-15) < 2e-15
    assert harness.distance(None, 0.0) == harness.distance(0.0, None) == np.inf


def test_the_slack_of_a_sum_that_cancels_is_a_few_last_bits_of_its_terms() -> None:
    scaler = StandardScaler().fit(numbers(a=[1e6, 1e6 + 1, 1e6 + 2]))
    found = slack.of(harness.Case(scaler, None, None), numbers(a=[1e6 + 1.25]), 1)
    assert 1e-10 < found.bounds[0] < 1e-8
    assert found.gives(0, found.answers[0, 0], 1e-12)


def test_the_edge_of_a_bin_has_no_bound_but_two_answers() -> None:
    bins = KBinsDiscretizer(2, encode="ordinal", strategy="uniform").fit(numbers(a=[0.0, 3.0]))
    at_the_edge = slack.of(harness.Case(bins, None, None), numbers(a=[1.5]), 1)
    assert at_the_edge.bounds[0] == 0
    assert at_the_edge.gives(0, 0.0, 0.0)
    assert at_the_edge.gives(0, 1.0, 0.0)
    assert not slack.of(harness.Case(bins, None, None), numbers(a=[1.4]), 1).gives(0, 1.0, 0.0)
