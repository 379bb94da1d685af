"""A sample of the parity suite, with the current libraries; `make parity` runs all of it with both generations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from parity import cli, harness
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

CASES, PIPELINES, SEED = 3, 15, 20261121


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
