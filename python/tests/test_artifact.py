"""The directory as a whole: what is in it, that it is the same each time, and that it proves something."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import reference
from conftest import ROOT
from feature_engine.encoding import OrdinalEncoder, RareLabelEncoder
from feature_engine.imputation import CategoricalImputer, MeanMedianImputer
from feature_engine.transformation import LogTransformer
from helpers import exported, fit, golden, manifest, target, training_rows
from sklearn.preprocessing import StandardScaler

from seaworthy_export import ExportError, SchemaError, artifact_digest, export

COLUMNS = ["count", "area", "front", "zone", "fire", "code"]
SCHEMA = json.loads((ROOT / "docs" / "manifest.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
MODELS = sorted((ROOT / "models").glob("*/*/manifest.json"))


def pipeline_of(frame: pd.DataFrame) -> Any:
    texts = ["zone", "fire", "code"]
    return fit(
        [
            ("fire", CategoricalImputer(variables=["fire"])),
            ("front", MeanMedianImputer(variables=["front"])),
            ("log", LogTransformer(variables=["area"])),
            ("rare", RareLabelEncoder(tol=0.1, n_categories=1, variables=texts, ignore_format=True)),
            ("codes", OrdinalEncoder(encoding_method="ordered", variables=texts, ignore_format=True)),
            ("scale", StandardScaler()),
        ],
        frame,
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return training_rows()[COLUMNS]


@pytest.fixture(scope="module")
def directory(frame: pd.DataFrame, tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("artifact")
    rows = path / "rows.csv"
    frame.to_csv(rows, index=False)
    return exported(
        pipeline_of(frame), frame.assign(price=1.0, unused="x"), path, golden_rows=64, target="price",
        training_data=[rows], metrics={"r2": 0.5}, provenance={"ticket": {"id": 7}}, description="Prices", seed=3,
        aliases={"1stArea": "area"}, fields={"fire": {"sensitive": True}}, source="here",
    )  # fmt: skip


def test_the_files(directory: Path) -> None:
    names = sorted(path.name for path in directory.iterdir())
    assert names == ["SHA256SUMS", "golden.jsonl", "manifest.json", "model.onnx", "profile.json"]
    lines = (directory / "SHA256SUMS").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == names[1:]
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest
    assert artifact_digest(directory) == "sha256:" + hashlib.sha256((directory / "SHA256SUMS").read_bytes()).hexdigest()
    assert [path.name for path in directory.parent.iterdir()] == ["1.0.0"]


def test_the_manifest(directory: Path) -> None:
    VALIDATOR.validate(manifest(directory))
    written = manifest(directory)
    assert (written["name"], written["version"], written["created"]) == ("model", "1.0.0", "2024-02-29T12:00:00Z")
    assert [field["name"] for field in written["inputs"]] == COLUMNS
    assert written["inputs"][1]["aliases"] == ["1stArea"]
    provenance = written["provenance"]
    assert provenance["training_data"][0]["file"] == "rows.csv"
    assert provenance["training_data"][0]["rows"] == 240
    assert provenance["ticket"] == {"id": 7}
    assert set(provenance["libraries"]) >= {"numpy", "pandas", "scikit-learn", "feature-engine", "onnx", "python"}
    assert provenance["seed"] == 3


def test_nothing_names_the_machine(directory: Path) -> None:
    for path in directory.iterdir():
        data = path.read_bytes()
        for secret in (str(ROOT), str(directory.parents[2]), sys.prefix, os.uname().nodename):
            assert secret.encode() not in data, f"{path.name} holds {secret}"


def test_every_line_is_short_or_golden(directory: Path) -> None:
    for name in ("manifest.json", "profile.json"):
        text = (directory / name).read_text(encoding="utf-8")
        assert text.endswith("}\n")
        assert max(map(len, text.splitlines())) <= 200
        assert json.dumps(json.loads(text)) == json.dumps(json.loads(text, parse_constant=lambda _: pytest.fail("NaN")))


def test_the_proof_is_reproduced(directory: Path) -> None:
    assert reference.differences(directory) == []


def test_golden_rows_show_much(directory: Path, frame: pd.DataFrame) -> None:
    lines = golden(directory)
    assert len(lines) == manifest(directory)["golden"]["rows"] <= 64
    rows = [line["input"] for line in lines if "output" in line]
    for name in ("zone", "fire", "code"):
        assert set(frame[name].dropna()) <= {row[name] for row in rows}
    for name in ("fire", "front"):
        assert None in {row[name] for row in rows}
    for name in ("count", "area", "front"):
        values = {row[name] for row in rows}
        assert {frame[name].min(), frame[name].max()} <= values
    codes = {line["error"]["code"] for line in lines if "error" in line}
    assert codes >= {"null", "out_of_domain"}


def test_the_same_inputs_give_the_same_bytes(frame: pd.DataFrame, tmp_path: Any) -> None:
    first = exported(pipeline_of(frame), frame, tmp_path / "a")
    second = exported(pipeline_of(frame), frame, tmp_path / "b")
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes(), path.name


def test_the_same_bytes_in_processes_with_other_hashes(frame: pd.DataFrame, tmp_path: Any) -> None:
    import joblib

    joblib.dump(pipeline_of(frame), tmp_path / "pipeline.joblib")
    frame.drop(columns="code").assign(code=frame["code"].astype(int)).to_csv(tmp_path / "rows.csv", index=False)
    digests = set()
    for seed in ("1", "2"):
        done = command(tmp_path, "--models-dir", f"models{seed}", "--object-column", "code", PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout.split()[1])
    assert len(digests) == 1


def test_an_artifact_is_not_overwritten(frame: pd.DataFrame, tmp_path: Any) -> None:
    pipeline = pipeline_of(frame)
    first = exported(pipeline, frame, tmp_path)
    before = artifact_digest(first)
    with pytest.raises(ExportError, match=r"an artifact never changes once it is written\nhint: give the model a new"):
        exported(pipeline, frame, tmp_path, description="other")
    assert artifact_digest(first) == before
    exported(pipeline, frame, tmp_path, description="other", overwrite=True)
    assert artifact_digest(first) != before
    assert [path.name for path in first.parent.iterdir()] == ["1.0.0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "House"}, "'House' cannot name a model"),
        ({"version": "1.0"}, "not a semantic version"),
        ({"version": "1.0.0-01"}, "not a semantic version"),
        ({"created": "yesterday"}, "created is a time such as"),
        ({"task": "clustering"}, "task is one of"),
        ({"threshold": 0.5}, "a threshold is for classifiers"),
        ({"golden_rows": 0}, "golden_rows is at least 1"),
        ({"golden_tolerance": {"outputs": {"relative": 1, "absolute": 1}}}, "golden_tolerance is"),
        ({"target": "price"}, "no column `price`"),
    ],
    ids=str,
)
def test_wrong_options(options: dict[str, Any], message: str, frame: pd.DataFrame, tmp_path: Any) -> None:
    with pytest.raises(ExportError, match=message):
        exported(pipeline_of(frame), frame, tmp_path, **options)
    assert not (tmp_path / "models").exists() or not list((tmp_path / "models").rglob("manifest.json"))


def test_rows_must_fit_the_pipeline(frame: pd.DataFrame, tmp_path: Any) -> None:
    pipeline = pipeline_of(frame)
    with pytest.raises(SchemaError, match="lacks columns that the pipeline was fitted on: area, zone"):
        exported(pipeline, frame.drop(columns=["area", "zone"]), tmp_path)
    with pytest.raises(SchemaError, match="has no rows"):
        exported(pipeline, frame.iloc[:0], tmp_path)
    with pytest.raises(SchemaError, match="is a DataFrame of raw training rows, not a ndarray"):
        exported(pipeline, frame.to_numpy(), tmp_path)


def test_rows_that_the_pipeline_refuses_are_left_out(frame: pd.DataFrame, tmp_path: Any) -> None:
    pipeline = pipeline_of(frame)
    rows = frame.copy()
    rows.loc[[3, 77, 200], "area"] = [0.0, -5.0, np.nan]
    directory = exported(pipeline, rows, tmp_path)
    assert reference.differences(directory) == []
    assert json.loads((directory / "profile.json").read_text())["rows"] == 240


def test_the_time_comes_from_the_environment(frame: pd.DataFrame, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    directory = exported(pipeline_of(frame), frame, tmp_path, created=None)
    assert manifest(directory)["created"] == "2023-11-14T22:13:20Z"


def test_a_failure_leaves_nothing_behind(frame: pd.DataFrame, tmp_path: Any, monkeypatch: Any) -> None:
    def fail(self: Path, data: bytes) -> int:
        raise OSError("no space left on device")

    pipeline = pipeline_of(frame)
    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="no space left"):
        exported(pipeline, frame, tmp_path)
    assert list((tmp_path / "models" / "model").iterdir()) == []


def test_others_may_read_what_was_written(directory: Path) -> None:
    assert directory.stat().st_mode & 0o055 == 0o055 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# --- the JSON Schema -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODELS, ids=lambda path: "-".join(path.parts[-3:-1]))
def test_the_models_of_the_repository(path: Path) -> None:
    VALIDATOR.validate(json.loads(path.read_text(encoding="utf-8")))
    assert reference.differences(path.parent) == []
    for line in (path.parent / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((path.parent / name).read_bytes()).hexdigest() == digest


def test_there_are_models() -> None:
    assert [path.parts[-2] for path in MODELS if path.parts[-3] == "house-prices"] == ["3.2.0", "3.3.0"]


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def change(*path: Any, value: Any) -> Any:
    def apply(document: dict[str, Any]) -> None:
        *parents, last = path
        place: Any = document
        for key in parents:
            place = place[key]
        if value is ...:
            del place[last]
        else:
            place[last] = value

    return apply


BROKEN = {
    "another_format": change("format", value="seaworthy/2"),
    "an_unknown_key": change("colour", value="red"),
    "no_golden": change("golden", value=...),
    "no_golden_rows": change("golden", "rows", value=0),
    "an_upper_case_name": change("name", value="House"),
    "a_short_version": change("version", value="3.2"),
    "an_unknown_task": change("task", value="clustering"),
    "a_local_time": change("created", value="2023-01-07T00:00:00+01:00"),
    "an_unknown_type": change("inputs", 0, "type", value="decimal"),
    "an_unknown_key_of_a_field": change("inputs", 0, "maxLength", value=5),
    "a_text_with_a_minimum": change("inputs", 1, "minimum", value=1),
    "an_integer_of_texts": change("inputs", 0, "categories", value=["a"]),
    "a_wrong_example": change("inputs", 0, "example", value="twenty"),
    "an_absent_field_that_is_nothing": change("inputs", 0, "required", value=False),
    "an_unknown_op": change("pipeline", 0, "op", value="impute"),
    "an_unknown_key_of_a_step": change("pipeline", 0, "columns", 0, "strategy", value="mean"),
    "a_step_without_columns": change("pipeline", 0, "columns", value=...),
    "an_unknown_refusal": change("pipeline", 6, "refuse", value=["odd"]),
    "an_empty_refusal": change("pipeline", 6, "refuse", value=[]),
    "an_unknown_function": change("pipeline", 7, "function", value="gamma"),
    "an_operand_of_two_kinds": change("pipeline", 4, "left", value={"column": "a", "constant": 1}),
    "an_unknown_operator": change("pipeline", 4, "operator", value="raise"),
    "a_map_without_outcome": change("pipeline", 10, "columns", 0, "unseen", value=...),
    "a_map_that_is_missing_when_missing": change("pipeline", 10, "columns", 0, "missing", value="missing"),
    "a_replacement_by_null": change("pipeline", 10, "columns", 0, "unseen", value={"value": None}),
    "the_same_key_twice": change("pipeline", 10, "columns", 0, "keys", value=["a", "a"]),
    "no_features": change("features", value=[]),
    "the_same_feature_twice": change("features", value=["a", "a"]),
    "another_file": change("model", "file", value="../model.onnx"),
    "an_unknown_precision": change("model", "precision", value="float16"),
    "an_unknown_tensor_type": change("model", "inputs", 0, "type", value="double"),
    "two_outputs": change("outputs", "probabilities", value={"tensor": "p", "labels": ["a", "b"], "threshold": None}),
    "three_labels_with_a_threshold": change(
        "outputs", value={"probabilities": {"tensor": "p", "labels": ["a", "b", "c"], "threshold": 0.5}}
    ),
    "a_clip_of_one": change("postprocess", value=[{"op": "affine", "clip": [1]}]),
    "a_named_postprocess": change("postprocess", 0, "name", value="exp"),
    "a_negative_tolerance": change("golden", "output", "relative", value=-1),
    "a_short_hash": change("provenance", "training_data", 0, "sha256", value="abc"),
    "no_libraries": change("provenance", "libraries", value=...),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_manifest_is_refused(case: str) -> None:
    document = json.loads((ROOT / "models" / "house-prices" / "3.2.0" / "manifest.json").read_text(encoding="utf-8"))
    VALIDATOR.validate(document)
    broken = copy.deepcopy(document)
    BROKEN[case](broken)
    assert broken != document
    assert not VALIDATOR.is_valid(broken)


def test_provenance_may_hold_more() -> None:
    document = json.loads((ROOT / "models" / "house-prices" / "3.2.0" / "manifest.json").read_text(encoding="utf-8"))
    document["provenance"]["anything"] = {"at": ["all"]}
    VALIDATOR.validate(document)


# --- the house-price models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["3.2.0", "3.3.0"])
def test_random_rows_of_the_house_models(version: str) -> None:
    data = ROOT / "tests" / "data" / "house-prices" / f"random_{version}.ndjson"
    lines = [json.loads(line) for line in data.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 2000
    artifact = reference.open_artifact(ROOT / "models" / "house-prices" / version)
    for line, answer in zip(lines, artifact.run([line["input"] for line in lines])):
        if line["prediction"] is None:
            assert "error" in answer, line
        else:
            assert answer["output"]["prediction"] == pytest.approx(line["prediction"], rel=1e-9), line


# --- the command line ----------------------------------------------------------------------------------------------


def command(cwd: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(ROOT / "python"), str(ROOT / "python" / "tests")])
    return subprocess.run(
        [
            sys.executable, "-m", "seaworthy_export", "pipeline.joblib", "rows.csv", "--name", "model", "--version",
            "1.0.0", *arguments,
        ],
        cwd=cwd, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": paths, "SOURCE_DATE_EPOCH": "1700000000", **environment},
    )  # fmt: skip


CONVERTERS = """
from seaworthy_export import register_converter
from sklearn.base import BaseEstimator, TransformerMixin

class Doubler(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self
    def transform(self, X):
        return X.assign(count=X["count"] + X["count"])
    def __sklearn_is_fitted__(self):
        return True

if {register}:
    @register_converter(Doubler)
    def convert(step, ctx):
        ctx.combine("add", "count", "count", "count")
"""


def test_the_command_line(tmp_path: Path, monkeypatch: Any) -> None:
    import joblib

    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "doublers.py").write_text(CONVERTERS.format(register=False))
    import doublers

    frame = training_rows()[["count", "area", "code"]].astype({"code": "int64"})
    pipeline = fit([("double", doublers.Doubler()), ("log", LogTransformer(variables=["area"]))], frame)
    joblib.dump(pipeline, tmp_path / "pipeline.joblib")
    rows = frame.rename(columns={"area": "1stArea"}).assign(price=target(frame))
    rows.to_csv(tmp_path / "rows.csv", index=False)
    options = [
        "--target", "price", "--alias", "1stArea=area", "--type", "code=float", "--postprocess", "exp",
        "--postprocess", '{"op": "affine", "multiply": 1000}', "--describe", "count=how many", "--metric", "r2=0.25",
        "--sensitive", "code", "--description", "Prices",
    ]  # fmt: skip
    done = command(tmp_path, *options)
    assert done.returncode == 1
    assert "error: step `double` is a `doublers.Doubler`, and no converter is registered" in done.stderr
    assert "Traceback" not in done.stderr
    (tmp_path / "doublers.py").write_text(CONVERTERS.format(register=True))
    done = command(tmp_path, *options, "--import", "doublers")
    assert done.returncode == 0, done.stderr
    directory = tmp_path / "models" / "model" / "1.0.0"
    assert done.stdout.split() == ["models/model/1.0.0", artifact_digest(directory)]
    written = manifest(directory)
    VALIDATOR.validate(written)
    assert written["created"] == "2023-11-14T22:13:20Z"
    assert [field["type"] for field in written["inputs"]] == ["int", "float", "float"]
    assert written["inputs"][1]["aliases"] == ["1stArea"]
    assert written["inputs"][0]["description"] == "how many"
    assert written["inputs"][2]["sensitive"] is True
    assert written["provenance"]["metrics"] == {"r2": 0.25}
    assert written["provenance"]["training_data"][0]["file"] == "rows.csv"
    assert reference.differences(directory) == []


def test_the_help_is_complete() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "seaworthy_export", "--help"], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
    )  # fmt: skip
    for option in ("--import", "--postprocess", "--alias", "--type", "--string-column", "--overwrite", "examples:"):
        assert option in done.stdout


def test_files_of_every_kind(frame: pd.DataFrame, tmp_path: Path) -> None:
    from seaworthy_export.cli import _read_rows

    rows = frame.drop(columns="code").assign(zip=["01234"] * len(frame))
    rows.to_csv(tmp_path / "rows.csv", index=False)
    rows.to_csv(tmp_path / "rows.tsv", index=False, sep="\t")
    records = [{k: None if pd.isna(v) else v for k, v in row.items()} for row in rows.to_dict("records")]
    (tmp_path / "rows.ndjson").write_text("".join(json.dumps(record) + "\n" for record in records))
    for name in ("rows.csv", "rows.tsv", "rows.ndjson"):
        found = _read_rows(tmp_path / name, ["zip"])
        assert found["zip"].iloc[0] == "01234"
        assert found["count"].tolist() == rows["count"].tolist()
        np.testing.assert_allclose(found["area"], rows["area"])
        assert found["fire"].isna().tolist() == rows["fire"].isna().tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.joblib", "rows.csv"], "there is no file no.joblib"),
        (["rows.csv", "rows.csv"], "cannot unpickle rows.csv"),
        (["rows.csv", "rows.xlsx"], "neither .csv, .tsv, .parquet, .ndjson nor .jsonl"),
        (["rows.csv", "none.csv"], "cannot read the rows of none.csv"),
        (["rows.csv", "rows.csv", "--import", "no_such_module"], "cannot import no_such_module"),
        (["rows.csv", "rows.csv", "--fields", "none.json"], "cannot read none.json"),
        (["rows.csv", "rows.csv", "--metric", "r2=good"], "--metric: could not convert"),
    ],
    ids=str,
)
def test_errors_of_the_command_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    from seaworthy_export.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    assert main([*arguments, "--name", "m", "--version", "1.0.0"]) == 1
    assert message in capsys.readouterr().err


def test_export_is_keyword_only(frame: pd.DataFrame) -> None:
    with pytest.raises(TypeError):
        export(pipeline_of(frame), "model", "1.0.0", frame)  # type: ignore[misc]
