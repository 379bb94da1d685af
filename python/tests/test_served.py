"""Models served over HTTP: a sample of docs/estimators.md, and the examples. Needs the binary."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parity import estimators, harness
from parity.estimator_cases import CASES

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "models"
TABLE = (ROOT / "docs" / "estimators.md").read_text(encoding="utf-8")
DATA = Path(os.environ.get("SEAWORTHY_TITANIC", ""))
needs_binary = pytest.mark.skipif(not Path(harness.binary()).is_file(), reason="no binary: `cargo build`")
SAMPLE = {
    "ridge", "poissonregressor-count", "logisticregression-words", "svc-rbf-words", "oneclasssvm-none",
    "kneighborsclassifier-distance-words", "gaussiannb-two", "decisiontreeclassifier-words",
    "randomforestclassifier-labels", "gradientboostingregressor-squared-error", "gradientboostingclassifier-words",
    "histgradientboostingregressor-categories", "adaboostclassifier-two", "stackingclassifier-two",
    "calibratedclassifiercv-isotonic-words", "multioutputregressor-numbers", "transformedtargetregressor-count",
    "mlpclassifier-tanh-two", "isolationforest-none", "kmeans-none", "xgbregressor-missing-values",
    "xgbclassifier-three", "lgbmregressor-categories", "catboostclassifier-words",
}  # fmt: skip


def test_every_estimator_is_in_the_table() -> None:
    rows = [line for line in TABLE.splitlines() if line.startswith("| `")]
    here = [case for case in CASES if not case.generations or "current" in case.generations]
    lacking = [
        case.title for case in here if not any(row.startswith(f"| {case.title} | {case.kind} |") for row in rows)
    ]
    assert not lacking, f"docs/estimators.md is older than these, write it by `make estimators`: {lacking}"
    assert len(rows) == len(here)
    assert len({case.name for case in CASES}) == len(CASES)
    assert {case.name for case in CASES} >= SAMPLE


@needs_binary
def test_a_sample_of_the_table() -> None:
    wanted = [case for case in CASES if case.name in SAMPLE and not estimators.available(case)]
    results = estimators.run(wanted, 120)
    assert [result for result in results if not result.good] == []
    assert len(results) >= 15


PASSENGERS = [
    {
        "pclass": 1, "name": "Cumings, Mrs. John Bradley", "sex": "female", "age": 38.0, "sibsp": 1, "parch": 0,
        "fare": 71.2833, "cabin": "C123 C125", "embarked": "C",
    },
    {
        "pclass": 3, "name": "Braund, Mr. Owen Harris", "sex": "male", "age": None, "sibsp": 1, "parch": 0,
        "fare": 7.25, "cabin": "?", "embarked": "?",
    },
]  # fmt: skip


@needs_binary
def test_the_examples_answer_rows_as_a_frontend_sends_them() -> None:
    with estimators.serving(EXAMPLES) as url:
        for name in ("titanic-logistic", "titanic-forest", "titanic-boosting"):
            answer = estimators.post(f"{url}/v1/models/{name}/predict", {"inputs": PASSENGERS})
            assert answer["predictions"] == [1, 0], name
            assert [set(row) for row in answer["probabilities"]] == [{"0", "1"}] * 2
        fields = {
            "crime_rate": 3.6, "large_lots": 11.4, "industry": 11.1, "river": 0.5, "nitric_oxides": 0.55, "rooms": 6.3,
            "age": 68.6, "distance": 3.8, "highways": 9.5, "tax": 408.2, "pupils": 18.5, "density": 356.7,
            "poverty": 12.7,
        }  # fmt: skip
        answer = estimators.post(f"{url}/v1/models/linear-template/predict", {"inputs": [fields]})
        assert answer["predictions"][0] == pytest.approx(22.5, abs=0.5)


@needs_binary
@pytest.mark.skipif(not (DATA / "train.csv").is_file(), reason="SEAWORTHY_TITANIC names no directory with the rows")
@pytest.mark.skipif(harness.GENERATION != "current", reason="trained with the libraries of today")
@pytest.mark.parametrize("name", ["titanic-logistic", "titanic-forest", "titanic-boosting"])
def test_all_passengers_get_the_label_that_python_gives_them(name: str) -> None:
    sys.path.insert(0, str(ROOT / "python" / "models"))
    import titanic

    pipeline = titanic.train(name, titanic.read_rows(DATA / "train.csv"))
    with estimators.serving(EXAMPLES) as url:
        n = 0
        for file in ("train.csv", "validation.csv", "predict.csv"):
            rows = titanic.read_rows(DATA / file)[titanic.FEATURES]
            sent: list[dict[str, Any]] = [
                {key: None if value != value else value for key, value in row.items()}
                for row in rows.astype(object).to_dict("records")
            ]
            answer = estimators.post(f"{url}/v1/models/{name}/predict?on_invalid=null", {"inputs": sent})
            assert answer["errors"] is None
            assert answer["predictions"] == pipeline.predict(rows).tolist()
            found = np.array([[row["0"], row["1"]] for row in answer["probabilities"]])
            np.testing.assert_allclose(found, pipeline.predict_proba(rows), rtol=1e-12, atol=1e-12)
            n += len(rows)
        assert n == 1309
