"""The command line: a pickled pipeline and a file of rows in, an artifact out."""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from .artifact import artifact_digest
from .errors import ExportError
from .exporter import TASKS, export
from .schema import TYPES

_EPILOG = """\
examples:
  python -m seaworthy_export pipeline.joblib train.csv --name churn --version 1.0.0 --target churned
  python -m seaworthy_export pipeline.joblib train.csv --name house-prices --version 3.2.0 \\
      --import my_converters --postprocess exp --alias 1stFlrSF=FirstFlrSF --type GarageArea=float

The environment must be able to unpickle the pipeline: the same libraries, and the module of every class of your own
(--import puts the current directory on the path). Unpickling runs code, so only do it with files that you trust.
Set SOURCE_DATE_EPOCH to get the same bytes from the same inputs."""


def _pair(text: str) -> tuple[str, str]:
    left, separator, right = text.partition("=")
    if not (left and separator and right):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return left, right


def _step(text: str) -> Any:
    if not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error


def build_parser() -> argparse.ArgumentParser:
    """All options with their help."""
    parser = argparse.ArgumentParser(
        prog="python -m seaworthy_export",
        description="Turn a fitted scikit-learn pipeline into an artifact that Seaworthy serves.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pipeline", type=Path, help="the fitted pipeline, as written by joblib or pickle")
    parser.add_argument(
        "rows",
        type=Path,
        help="raw training rows: .csv, .tsv, .parquet, .ndjson or .jsonl; schema, golden rows, profile come from them",
    )
    parser.add_argument("--name", required=True, help="name of the model: lower-case letters, digits, `.`, `_`, `-`")
    parser.add_argument("--version", required=True, help="semantic version; a changed model needs a new one")
    parser.add_argument(
        "--models-dir",
        type=Path,
        default=Path("models"),
        metavar="DIR",
        help="where artifacts are kept (default: models)",
    )
    parser.add_argument(
        "--native-until", metavar="STEP", help="the last step that runs natively; the rest becomes part of the graph"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an artifact of this name and version")

    model = parser.add_argument_group("the model")
    model.add_argument(
        "--import", dest="modules", action="append", default=[], metavar="MODULE",
        help="import this module first: it registers converters, or holds classes of the pipeline; may be repeated",
    )  # fmt: skip
    model.add_argument(
        "--postprocess", action="append", default=[], type=_step, metavar="STEP",
        help="applied to the prediction, in order: a function such as exp, or JSON such as "
        '\'{"op": "affine", "multiply": 1000}\'; may be repeated',
    )  # fmt: skip
    model.add_argument("--task", choices=TASKS, help="derived from the estimator when not given")
    model.add_argument("--threshold", type=float, help="two classes: from this probability on the second is predicted")

    schema = parser.add_argument_group("the schema")
    schema.add_argument("--target", metavar="COLUMN", help="a column of the rows to leave out because it is predicted")
    schema.add_argument(
        "--alias", action="append", default=[], type=_pair, metavar="ALIAS=FIELD",
        help="another key of a field; a column of the rows with that name is renamed; may be repeated",
    )  # fmt: skip
    schema.add_argument(
        "--type", dest="types", action="append", default=[], type=_pair, metavar="FIELD=TYPE",
        help=f"the type of a field: {', '.join(TYPES)}; may be repeated",
    )  # fmt: skip
    schema.add_argument(
        "--string-column", action="append", default=[], metavar="COLUMN",
        help="read this column as strings, such as a code with leading zeros; may be repeated",
    )  # fmt: skip
    schema.add_argument(
        "--object-column", action="append", default=[], metavar="COLUMN",
        help="give this column to the pipeline as objects, such as integers that it encodes as categories; "
        "may be repeated",
    )  # fmt: skip
    schema.add_argument(
        "--describe",
        action="append",
        default=[],
        type=_pair,
        metavar="FIELD=TEXT",
        help="what a field means; may be repeated",
    )
    schema.add_argument(
        "--sensitive",
        action="append",
        default=[],
        metavar="FIELD",
        help="never log this field in clear; may be repeated",
    )
    schema.add_argument("--fields", type=Path, metavar="FILE", help="JSON file of overrides: {field: {key: value}}")

    about = parser.add_argument_group("what is recorded")
    about.add_argument("--description", default="", help="what the model predicts, for people")
    about.add_argument("--source", help="package and revision that the model comes from")
    about.add_argument(
        "--training-data", action="append", type=Path, metavar="FILE",
        help="file whose name, rows and hash are recorded (default: the rows); may be repeated",
    )  # fmt: skip
    about.add_argument(
        "--metric", action="append", default=[], type=_pair, metavar="NAME=NUMBER", help="may be repeated"
    )
    about.add_argument("--seed", type=int, help="the estimator's random_state when not given")
    about.add_argument("--created", metavar="TIME", help="RFC 3339 (default: SOURCE_DATE_EPOCH, else now)")
    about.add_argument(
        "--golden-rows", type=int, default=64, metavar="N", help="about how many golden rows to keep (default: 64)"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code is 0, or 1 when there is no artifact."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    try:
        directory = _run(options)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{directory} {artifact_digest(directory)}")
    return 0


def _run(options: argparse.Namespace) -> Path:
    if "" not in sys.path:
        sys.path.insert(0, "")
    for module in options.modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ExportError(
                f"cannot import {module}: {error}\nhint: run from the directory that holds it, or set PYTHONPATH"
            ) from error
    aliases = dict(options.alias)
    rows = _read_rows(options.rows, options.string_column).rename(columns=aliases)
    for column in options.object_column:
        if column not in rows:
            raise ExportError(f"--object-column: the rows have no column `{column}`")
        rows[column] = rows[column].astype(object)
    fields: dict[str, dict[str, Any]] = {}
    if options.fields is not None:
        fields = _read_json(options.fields)
    for key, pairs in (("type", options.types), ("description", options.describe)):
        for field, value in pairs:
            fields.setdefault(field, {})[key] = value
    for field in options.sensitive:
        fields.setdefault(field, {})["sensitive"] = True
    try:
        metrics = {name: float(number) for name, number in options.metric}
    except ValueError as error:
        raise ExportError(f"--metric: {error}") from error
    return export(
        _read_pipeline(options.pipeline),
        name=options.name,
        version=options.version,
        inputs=rows,
        models_dir=options.models_dir,
        target=options.target,
        postprocess=options.postprocess,
        aliases=aliases,
        fields=fields,
        description=options.description,
        task=options.task,
        threshold=options.threshold,
        training_data=options.training_data or [options.rows],
        source=options.source,
        seed=options.seed,
        metrics=metrics,
        golden_rows=options.golden_rows,
        created=options.created,
        overwrite=options.overwrite,
        native_until=options.native_until,
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"cannot read {path}: {error}") from error


def _read_pipeline(path: Path) -> Any:
    import joblib

    try:
        return joblib.load(path)
    except FileNotFoundError as error:
        raise ExportError(f"there is no file {path}") from error
    except (AttributeError, ImportError) as error:
        raise ExportError(
            f"cannot unpickle {path}: {error}\n"
            "hint: use the environment that the pipeline was trained in, and --import the module of your own classes; "
            "classes that were defined in a script or notebook have to move into a module"
        ) from error
    except Exception as error:  # a damaged pickle raises anything
        raise ExportError(f"cannot unpickle {path}: {type(error).__name__}: {error}") from error


def _read_rows(path: Path, strings: Sequence[str]) -> pd.DataFrame:
    suffix = path.suffix.lower()
    types = dict.fromkeys(strings, str)
    try:
        if suffix in (".csv", ".tsv"):
            return pd.read_csv(path, sep="\t" if suffix == ".tsv" else ",", dtype=types)
        if suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif suffix in (".ndjson", ".jsonl"):
            # pandas would guess at dates and turn strings of digits into numbers.
            lines = path.read_text(encoding="utf-8").splitlines()
            frame = pd.DataFrame([json.loads(line) for line in lines if line.strip()])
        else:
            raise ExportError(f"{path} is neither .csv, .tsv, .parquet, .ndjson nor .jsonl")
    except (OSError, ValueError, ImportError) as error:
        raise ExportError(f"cannot read the rows of {path}: {error}") from error
    for column in strings:
        if column not in frame:
            raise ExportError(f"--string-column: the rows have no column `{column}`")
        known = frame[column].notna()
        frame[column] = frame[column].astype(object)
        frame.loc[known, column] = frame.loc[known, column].astype(str)
    return frame
