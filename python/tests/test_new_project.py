"""The project that `seaworthy new` writes: its script trains the model that comes with it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from conftest import ROOT
from helpers import golden, manifest

PROJECT = ROOT / "src" / "cli" / "new" / "project"
MODEL = Path("rents") / "1.0.0"


def answers(directory: Path) -> dict[str, Any]:
    return {str(row["input"]): row.get("output", row.get("error")) for row in golden(directory)}


def test_the_script_of_a_new_project_trains_its_model(tmp_path: Path) -> None:
    runpy.run_path(str(PROJECT / "train.py"))["main"](tmp_path)
    shipped, trained = PROJECT / "models" / MODEL, tmp_path / MODEL
    for key in ("inputs", "task", "description", "features"):
        assert manifest(trained)[key] == manifest(shipped)[key]
    expected, found = answers(shipped), answers(trained)
    assert found.keys() == expected.keys()
    for row, answer in expected.items():
        if "prediction" in answer:
            assert abs(found[row]["prediction"] - answer["prediction"]) < 1e-9 * abs(answer["prediction"]), row
        else:
            assert found[row] == answer
