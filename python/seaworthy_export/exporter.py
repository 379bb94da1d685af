"""From a fitted pipeline and its training rows to an artifact directory. The order of events is in `export`."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import hashlib
import importlib.metadata
import logging
import os
import platform
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Union

import numpy as np
import pandas as pd
import scipy.sparse
import scipy.special
from numpy.typing import NDArray

from . import converters  # noqa: F401 - importing registers them
from .artifact import compact, pretty, write_artifact
from .context import (
    CATEGORY,
    DATETIME,
    FLOAT,
    FUNCTIONS,
    INT,
    MAX_DENSE,
    Column,
    Context,
    State,
    as_taken,
    convert_step,
    rename_columns,
)
from .errors import ExportError, NothingAcceptedError, ParityError, SchemaError, UnsupportedStepError
from .golden import Predictor, answer, as_matrix, golden_lines
from .graph import Graph, build_graph, open_session, run_graph
from .outputs import Outputs, describe
from .profile import build_profile
from .prune import prune_hashes
from .schema import Schema, derive_schema
from .values import class_name, json_scalar

FORMAT = "seaworthy/1"
TASKS = ("regression", "binary_classification", "multiclass_classification", "multilabel", "embedding", "other")
PostprocessStep = Union[str, Mapping[str, Any]]
PathLike = Union[str, "os.PathLike[str]"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)
_LIBRARIES = ("feature-engine", "numpy", "onnx", "pandas", "scikit-learn", "skl2onnx")
MAX_FEATURES = 2**17
# The largest float64 that is rounded to a finite float32.
_FLOAT32_LIMIT = float(np.nextafter(np.float64(np.finfo(np.float32).max) + 2.0**103, 0.0))
_FEATURE_TOLERANCE = {"relative": 1e-12, "absolute": 1e-12}
# Relative to the value, and to how far the model's outputs are apart: a sum that nearly cancels has few digits left.
_OUTPUT_TOLERANCES = {"float64": (1e-9, 1e-12), "float32": (1e-5, 1e-6)}

log = logging.getLogger("seaworthy_export")


def export(
    pipeline: Any,
    *,
    name: str,
    version: str,
    inputs: pd.DataFrame,
    models_dir: PathLike = "models",
    target: str | None = None,
    postprocess: Sequence[PostprocessStep] = (),
    aliases: Mapping[str, str] | None = None,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
    description: str = "",
    task: str | None = None,
    threshold: float | None = None,
    top_k: int | None = None,
    output_names: Sequence[str] | None = None,
    provenance: Mapping[str, Any] | None = None,
    training_data: Sequence[PathLike] = (),
    source: str | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    seed: int | None = None,
    metrics: Mapping[str, float] | None = None,
    golden_rows: int = 64,
    golden_tolerance: Mapping[str, Mapping[str, float]] | None = None,
    created: str | datetime.datetime | None = None,
    overwrite: bool = False,
    native_until: str | int | None = None,
) -> Path:
    """Writes the artifact of a fitted pipeline and returns its directory, `models_dir/name/version`.

    Args:
        pipeline: a fitted scikit-learn pipeline that ends in an estimator, or a fitted estimator.
        name: lower-case letters, digits, `.`, `_`, `-`.
        version: a semantic version. An artifact never changes; a changed model has a new version.
        inputs: raw training rows, as the service will receive them. The schema, golden rows and profile are derived
            from them. Columns that the pipeline does not take are left out.
        models_dir: where artifacts are kept.
        target: the column of `inputs` to leave out because it is predicted.
        postprocess: what is done to the prediction of a regression, in order: names of functions such as `"exp"`, or
            `{"op": "affine", "multiply": 1000.0}`.
        aliases: other keys under which a row may hold a field, `{alias: field}`.
        fields: overrides of the derived schema, `{field: {key: value}}`, with the keys `type`, `nullable`, `required`,
            `default`, `aliases`, `categories`, `minimum`, `maximum`, `enforce`, `sensitive`, `description` and
            `example`. None takes a key out.
        description: for people.
        task: derived from the estimator when not given.
        threshold: for two classes, the probability from which on the second one is predicted.
        top_k: an answer holds the probabilities of only so many classes, the most probable first.
        output_names: what several predicted numbers are, or the labels of a classifier with a yes or no for each.
        provenance: more keys for the manifest's `provenance`.
        training_data: the files that the model was trained on; their names, rows and hashes are recorded.
        source: package and revision that the model comes from.
        hyperparameters: those of the estimator when not given.
        seed: the estimator's `random_state` when not given.
        metrics: how good the model is, such as `{"test_r2": 0.9}`.
        golden_rows: about how many golden rows to keep.
        golden_tolerance: `{"features": {"relative": …, "absolute": …}, "output": {…}}`, either or both.
        created: the time to record; otherwise SOURCE_DATE_EPOCH, otherwise now.
        overwrite: replace an artifact of this name and version.
        native_until: the last step that the server's own pipeline runs, by its name (`"prepare/scale"` within another
            pipeline) or as how many steps it runs; the rest, plain scikit-learn steps of numbers, becomes part of the
            graph by skl2onnx. All steps when not given.

    Raises:
        ExportError: with a message that says what to do, before anything is written.

    """
    _require_names(name, version, description)
    plan = _plan(pipeline, inputs, target, fields, aliases, postprocess, native_until)
    estimator = plan.estimator
    threshold = plan.threshold if threshold is None else threshold
    described = describe(estimator, plan.features, output_names)
    if threshold is not None:
        # It is the threshold then that makes a label of probabilities.
        described = dataclasses.replace(described, has_label=False)
    labels = described.labels
    if labels is not None and plan.postprocess:
        raise ExportError("postprocess is for regressions; a classifier's probabilities are served as they are")
    graph = build_graph(estimator, plan.features, described)
    _check_estimator_input(plan, estimator)
    outputs = described.spec([entry["name"] for entry in graph.outputs], threshold, top_k)
    if golden_rows < 1:
        raise ExportError("golden_rows is at least 1: an artifact without proof is refused")

    predictor = Predictor(plan.preprocess, estimator, plan.apply_postprocess, described)
    predictions, probabilities = _training_predictions(plan, predictor, labels, threshold)
    tolerance = _tolerances(golden_tolerance, graph.precision, predictions, labels is not None)
    lines = golden_lines(predictor, plan.schema, plan.state.steps, golden_rows, described.keys)
    near, beyond = _border_rows(graph, plan, described, tolerance["output"])
    lines = _with_border_rows(lines, near, beyond, plan, predictor, described.keys)
    succeeded = [line for line in lines if "output" in line]
    if not succeeded:
        raise ExportError("the pipeline gives no number for any row of `inputs` alone, so there is no proof to keep")
    if labels is not None and threshold is not None:
        for line in succeeded:
            line["output"]["prediction"] = outputs["probabilities"]["labels"][
                int(line["output"]["probabilities"][str(labels[1])] >= threshold)
            ]
    _verify(graph, plan, succeeded, tolerance["output"], described)

    manifest = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "description": description,
        "task": task if task is not None else described.task,
        "created": _timestamp(created),
        "provenance": _provenance(plan, provenance, training_data, source, hyperparameters, seed, metrics),
        "inputs": plan.schema.fields,
        "pipeline": plan.state.steps,
        "features": [column.name for column in plan.columns],
        "model": {
            "file": "model.onnx",
            "opset": graph.opset,
            "ir_version": graph.ir_version,
            "estimator": class_name(getattr(estimator, "steps", [("", estimator)])[-1][1]),
            "precision": graph.precision,
            "inputs": graph.inputs,
            "outputs": graph.outputs,
        },
        "outputs": outputs,
        "postprocess": plan.postprocess,
        "golden": {"rows": len(lines), **tolerance},
    }
    if manifest["task"] not in TASKS:
        raise ExportError(f"task is one of {', '.join(TASKS)}; got {manifest['task']!r}")
    directory = Path(models_dir) / name / version
    write_artifact(
        directory,
        {
            "manifest.json": pretty(manifest).encode(),
            "model.onnx": graph.data,
            "golden.jsonl": "".join(compact(line) + "\n" for line in lines).encode(),
            "profile.json": pretty(_profile(plan, described, predictions, probabilities)).encode(),
        },
        overwrite=overwrite,
    )
    log.info(
        "wrote %s: %d steps, %d features, %d golden rows",
        directory,
        len(plan.state.steps),
        len(plan.columns),
        len(lines),
    )
    return directory


# --- reading the pipeline ------------------------------------------------------------------------------------------


@dataclass
class _Plan:
    """What was read off the pipeline."""

    schema: Schema
    state: State
    columns: list[Column]
    """The features, in order."""
    features: NDArray[np.float64]
    """Those of the training rows that the pipeline accepts."""
    good_rows: pd.DataFrame
    preprocess: Callable[[Any], Any]
    estimator: Any
    estimator_path: str
    postprocess: list[dict[str, Any]]
    threshold: float | None = None
    """Of a classifier that was fitted with one of its own."""

    def apply_postprocess(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the server does to raw predictions."""
        for step in self.postprocess:
            if step["op"] == "function":
                own = scipy.special.ndtr if step["function"] == "ndtr" else None
                values = (own or getattr(np, step["function"]))(values)
                continue
            if step["op"] == "power":
                values = _power(values, step["method"], step["exponent"])
                continue
            if step["op"] == "interpolate":
                values = _interpolate(values, np.array(step["x"]), np.array(step["y"]), step["margin"])
                continue
            if "subtract" in step:
                values = values - step["subtract"]
            if "divide" in step:
                values = values / step["divide"]
            if "multiply" in step:
                values = values * step["multiply"]
            if "add" in step:
                values = values + step["add"]
            if "clip" in step:
                values = np.clip(values, *step["clip"])
        return values


def _plan(
    pipeline: Any,
    inputs: pd.DataFrame,
    target: str | None,
    fields: Mapping[str, Mapping[str, Any]] | None,
    aliases: Mapping[str, str] | None,
    postprocess: Sequence[PostprocessStep],
    native_until: str | int | None = None,
) -> _Plan:
    if not isinstance(inputs, pd.DataFrame):
        raise SchemaError(f"`inputs` is a DataFrame of raw training rows, not a {type(inputs).__name__}")
    if len(inputs) == 0:
        raise SchemaError("`inputs` has no rows; the schema, the golden rows and the profile are derived from them")
    transformers, estimator, estimator_path = _split(pipeline)
    estimator, inverse = _unwrap_target(estimator)
    estimator, threshold = _unwrap_threshold(estimator)
    if native_until is not None:
        transformers, estimator = _with_tail(transformers, estimator, native_until)
    schema = derive_schema(inputs, _input_columns(pipeline, inputs, target), fields, aliases)
    reading = _read(transformers, schema, lambda features: estimator.predict(features))
    for column in reading.columns:
        if column.kind in (CATEGORY, DATETIME):
            held = "categories" if column.kind == CATEGORY else "dates"
            raise UnsupportedStepError(
                f"the column {column.label!r} still holds {held} when it reaches {class_name(estimator)}\n"
                "hint: encode it, for example with feature_engine.encoding.OrdinalEncoder"
            )
    preprocess = reading.preprocess
    reduced = _reduce(estimator, estimator_path, reading)
    if reduced is not None:
        estimator, preprocess = reduced
        prune_hashes(reading.state.steps, [column.name for column in reading.columns])
    if len(reading.columns) > MAX_FEATURES:
        raise UnsupportedStepError(
            f"{class_name(estimator)} takes {len(reading.columns)} columns, which would be a dense row of as many "
            f"numbers for each prediction; at most {MAX_FEATURES} are exported\n"
            "hint: give the vectorizer n_features=2**16 or less, select columns (SelectKBest) or project them "
            "(TruncatedSVD) before the estimator, or put a linear estimator at the end, which needs no dense row"
        )
    return _Plan(
        schema=schema,
        state=reading.state,
        columns=reading.columns,
        features=as_matrix(reading.output),
        good_rows=reading.good_rows,
        preprocess=preprocess,
        estimator=estimator,
        estimator_path=estimator_path,
        postprocess=[*inverse, *(_postprocess_step(step) for step in postprocess)],
        threshold=threshold,
    )


def _reduce(estimator: Any, path: str, reading: Reading) -> tuple[Any, Callable[[Any], Any]] | None:
    """Moves the matrix of a linear estimator over a wide bag of words into the pipeline, whose rows are sparse.

    The features are its scores without the intercept then, and the graph adds intercept and link. None where there is
    nothing to gain, or where the estimator does not compute its answers from such scores.
    """
    weights: Any = getattr(estimator, "coef_", None)
    width = len(reading.columns)
    if width <= MAX_DENSE or hasattr(weights, "toarray") or not hasattr(estimator, "intercept_"):
        return None
    matrix = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if matrix.shape[1] != width or not any(step["op"] in ("tokens", "hash_features") for step in reading.state.steps):
        return None
    before = reading.preprocess

    def scores(frame: Any) -> NDArray[np.float64]:
        # SciPy sums a row's products from left to right, as the server does.
        return np.asarray(scipy.sparse.csr_matrix(before(frame)) @ np.ascontiguousarray(matrix.T))

    small = copy.copy(estimator)
    unit = np.eye(len(matrix))
    small.coef_ = unit[0] if np.ndim(weights) == 1 else unit
    small.n_features_in_ = len(matrix)
    small.__dict__.pop("feature_names_in_", None)
    rows = reading.good_rows.iloc[:200]
    ask = "predict_proba" if hasattr(estimator, "predict_proba") else "predict"
    try:
        expected, found = getattr(estimator, ask)(before(rows)), getattr(small, ask)(scores(rows))
        if not np.allclose(np.asarray(found, float), np.asarray(expected, float), rtol=1e-9, atol=1e-12):
            return None
    except (AttributeError, TypeError, ValueError):
        return None
    ctx = Context(reading.state, path, estimator, None, reading.columns)
    names = [f"score_{i}" for i in range(len(matrix))] if len(matrix) > 1 else ["score"]
    ctx.project(names, matrix)
    ctx.select(names)
    reading.columns = ctx.columns
    reading.output = scores(reading.good_rows)
    return small, scores


@dataclass
class Reading:
    """What was read off transformers alone."""

    schema: Schema
    state: State
    columns: list[Column]
    """What comes out of the last of them, in order; it may hold categories still."""
    output: Any
    """The training rows that they accept, transformed."""
    good_rows: pd.DataFrame
    preprocess: Callable[[Any], Any]

    @property
    def spec(self) -> dict[str, Any]:
        """The part of a manifest that `seaworthy transform` takes."""
        return {
            "inputs": self.schema.fields,
            "pipeline": self.state.steps,
            "features": [column.name for column in self.columns],
        }


def read_pipeline(
    transformer: Any,
    inputs: pd.DataFrame,
    *,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
) -> Reading:
    """Reads a fitted transformer, or a pipeline of nothing else: the steps of an artifact without its estimator.

    `inputs` and `fields` are as for `export`. `read_pipeline(...).spec` is a specification for `seaworthy transform`.
    """
    schema = derive_schema(inputs, _input_columns(transformer, inputs, None), fields)
    return _read([("", transformer)], schema, lambda _: None)


def _read(transformers: Sequence[tuple[str, Any]], schema: Schema, consume: Callable[[Any], Any]) -> Reading:
    """Converts the transformers one after the other; `consume` is given what comes out, and may refuse it."""

    def preprocess(frame: Any) -> Any:
        frame = as_taken([transformer for _, transformer in transformers], frame)
        for _, transformer in transformers:
            if transformer is not None and not isinstance(transformer, str):
                frame = transformer.transform(frame)
        return frame

    def accepts(frame: pd.DataFrame) -> None:
        features = preprocess(frame)
        if np.shape(features)[:1] not in ((), (len(frame),)):
            raise ValueError("the pipeline drops a row")  # an answer to each row asked is what a service gives
        consume(features)

    good_rows = schema.frame.iloc[_accepted(accepts, schema.frame)].reset_index(drop=True)
    if len(good_rows) == 0:
        try:
            accepts(schema.frame.iloc[:1])
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise NothingAcceptedError(
                f"the pipeline accepts none of the rows of `inputs`; of the first it says: {why}"
            ) from error
    state = State(live=[field["name"] for field in schema.fields])
    kinds = {"int": INT, "bool": INT, "float": FLOAT, "string": CATEGORY, "datetime": DATETIME}
    current = [
        Column(field["name"], field["name"], kinds[field["type"]], good_rows[field["name"]].dtype)
        for field in schema.fields
    ]
    frame: Any = as_taken([transformer for _, transformer in transformers], good_rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path, transformer in transformers:
            frame, current = convert_step(state, transformer, path, frame, current)
    if isinstance(frame, pd.DataFrame) and any(isinstance(label, str) for label in frame.columns):
        names: list[str] | None = [str(label) for label in frame.columns]
    else:
        names = _names_out(transformers, [field["name"] for field in schema.fields])
    if names is not None and len(names) == len(current):
        current = rename_columns(state, current, _unique(names))
    prune_hashes(state.steps, [column.name for column in current])
    return Reading(schema, state, current, frame, good_rows, preprocess)


def _unique(names: Sequence[str]) -> list[str]:
    """The names, with a number after those that were there before: a column of an artifact needs one of its own."""
    if len(set(names)) == len(names):
        return list(names)
    taken, unique = set(names), []
    seen: set[str] = set()
    for name in names:
        number, own = 2, name
        while own in seen or (own != name and own in taken):
            own, number = f"{name}_{number}", number + 1
        seen.add(own)
        unique.append(own)
    return unique


def _names_out(transformers: Sequence[tuple[str, Any]], names: Sequence[str]) -> list[str] | None:
    """What scikit-learn calls the features; None when one of the transformers does not say."""
    try:
        for _, transformer in transformers:
            if transformer is not None and not isinstance(transformer, str):
                try:
                    names = transformer.get_feature_names_out(names)
                except Exception:  # feature-engine takes fewer names than scikit-learn gives it
                    names = transformer.get_feature_names_out()
    except Exception:  # they raise what they like
        return None
    return [str(name) for name in names]


def _split(pipeline: Any) -> tuple[list[tuple[str, Any]], Any, str]:
    """All transformers with their paths, the estimator and its path; pipelines at the end of pipelines are opened."""
    transformers: list[tuple[str, Any]] = []
    prefix = ""
    while hasattr(pipeline, "steps") and isinstance(pipeline.steps, list):
        transformers += [(prefix + name, step) for name, step in pipeline.steps[:-1]]
        last, pipeline = pipeline.steps[-1]
        prefix += f"{last}/"
    if isinstance(pipeline, str) or pipeline is None or not hasattr(pipeline, "predict"):
        raise ExportError(
            f"the last step of the pipeline is {pipeline!r}, which does not predict\n"
            "hint: export the whole pipeline, with the estimator at its end"
        )
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(pipeline)
    except NotFittedError as error:
        raise ExportError(
            f"{class_name(pipeline)} is not fitted\nhint: call pipeline.fit(X, y) before export(pipeline, ...)"
        ) from error
    except TypeError:
        pass  # not a scikit-learn estimator
    return transformers, pipeline, prefix.rstrip("/") or "estimator"


def _with_tail(
    transformers: list[tuple[str, Any]], estimator: Any, native_until: str | int
) -> tuple[list[tuple[str, Any]], Any]:
    """The steps that run natively, and a pipeline of the others and the estimator, which becomes the graph."""
    from sklearn.pipeline import Pipeline

    paths = [path for path, _ in transformers]
    if isinstance(native_until, str):
        if native_until not in paths:
            raise ExportError(
                f"native_until: there is no step `{native_until}`; there are {', '.join(paths) or 'none'}"
            )
        n_native = paths.index(native_until) + 1
    else:
        n_native = native_until
    if not 0 <= n_native <= len(transformers):
        raise ExportError(f"native_until: of {len(transformers)} steps, {n_native} cannot run natively")
    tail = [step for _, step in transformers[n_native:] if step is not None and not isinstance(step, str)]
    foreign = [class_name(step) for step in tail if not type(step).__module__.startswith("sklearn.")]
    if foreign:
        raise UnsupportedStepError(
            f"native_until leaves a `{foreign[0]}` to the graph, and skl2onnx converts scikit-learn's own classes\n"
            f"hint: name a later step; there are {', '.join(paths)}"
        )
    if not tail:
        return transformers[:n_native], estimator
    steps = [(f"step_{i}", step) for i, step in enumerate(tail)]
    return transformers[:n_native], Pipeline([*steps, ("estimator", estimator)])


def _unwrap_target(estimator: Any) -> tuple[Any, list[dict[str, Any]]]:
    """Takes a TransformedTargetRegressor apart: the regressor, and its inverse function as postprocessing."""
    if type(estimator).__name__ != "TransformedTargetRegressor":
        return estimator, []
    fitted = estimator.transformer_
    if type(fitted).__name__ == "FunctionTransformer":
        inverse = fitted.inverse_func
        name = getattr(inverse, "__name__", "")
        if isinstance(inverse, np.ufunc) and name in FUNCTIONS and not fitted.inv_kw_args:
            return estimator.regressor_, [{"op": "function", "function": name}]
        # Without an inverse function the answer stays in the terms of the transformed target.
        if inverse is None:
            return estimator.regressor_, []
    elif (steps := _inverse_steps(fitted)) is not None:
        return estimator.regressor_, steps
    raise UnsupportedStepError(
        "the inverse of the TransformedTargetRegressor is neither that of a known scaler or PowerTransformer nor a "
        f"NumPy function known here\nhint: use one of {', '.join(FUNCTIONS)}, for example func=np.log1p, "
        "inverse_func=np.expm1"
    )


def _unwrap_threshold(estimator: Any) -> tuple[Any, float | None]:
    """Takes a classifier with a threshold of its own apart: the classifier, and the probability from which on."""
    name = type(estimator).__name__
    if name not in ("FixedThresholdClassifier", "TunedThresholdClassifierCV"):
        return estimator, None
    inner = estimator.estimator_ if hasattr(estimator, "estimator_") else estimator.estimator
    threshold = getattr(estimator, "best_threshold_", None)
    threshold = estimator.threshold if threshold is None else threshold
    positive = getattr(estimator, "pos_label", None)
    by_scores = estimator.response_method == "decision_function" or not hasattr(inner, "predict_proba")
    if by_scores or positive not in (None, inner.classes_[1]):
        raise UnsupportedStepError(
            f"the threshold of {name} is not on the probability of the second class\n"
            "hint: response_method='predict_proba', and as pos_label the greater of the two labels"
        )
    return inner, 0.5 if threshold == "auto" else float(threshold)


def _inverse_steps(fitted: Any) -> list[dict[str, Any]] | None:
    """`inverse_transform` of a transformer of one column as postprocessing; None where that is not known."""

    def affine(**parts: Any) -> list[dict[str, Any]]:
        given = {key: float(np.ravel(value)[0]) for key, value in parts.items() if value is not None}
        return [{"op": "affine", **given}] if given else []

    name = type(fitted).__name__ if type(fitted).__module__.startswith("sklearn.") else ""
    if name == "StandardScaler":
        return affine(multiply=fitted.scale_, add=fitted.mean_ if fitted.with_mean else None)
    if name == "MinMaxScaler" and not getattr(fitted, "clip", False):
        return [*affine(subtract=fitted.min_, divide=fitted.scale_)]
    if name == "MaxAbsScaler" and not getattr(fitted, "clip", False):
        return affine(multiply=fitted.scale_)
    if name == "RobustScaler":
        scale = fitted.scale_ if fitted.with_scaling else None
        return affine(multiply=scale, add=fitted.center_ if fitted.with_centering else None)
    if name == "QuantileTransformer":
        normal = fitted.output_distribution == "normal"
        x, y = fitted.references_.tolist(), fitted.quantiles_[:, 0].tolist()
        # The margin is scikit-learn's BOUNDS_THRESHOLD.
        curve = {"op": "interpolate", "x": x, "y": y, "margin": 1e-7 if normal else 0.0}
        return [*([{"op": "function", "function": "ndtr"}] if normal else []), curve]
    if name == "PowerTransformer":
        method = "box_cox_inverse" if fitted.method == "box-cox" else "yeo_johnson_inverse"
        before = _inverse_steps(fitted._scaler) if fitted.standardize else []
        return [*(before or []), {"op": "power", "method": method, "exponent": float(fitted.lambdas_[0])}]
    return None


def _power(values: NDArray[np.float64], method: str, exponent: float) -> NDArray[np.float64]:
    """The inverse power transformations, in the order of operations of the server."""
    with np.errstate(all="ignore"):
        if method == "box_cox_inverse":
            return np.exp(values) if exponent == 0 else np.power(values * exponent + 1, 1 / exponent)
        eps = np.finfo(float).eps
        above = np.exp(values) - 1 if abs(exponent) < eps else np.power(values * exponent + 1, 1 / exponent) - 1
        rest = 2 - exponent
        below = 1 - np.exp(-values) if abs(rest) <= eps else 1 - np.power(-rest * values + 1, 1 / rest)
    return np.where(values >= 0, above, below)


def _interpolate(
    values: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], margin: float
) -> NDArray[np.float64]:
    """The points of a curve, with its ends, in the order of operations of the server."""
    with np.errstate(invalid="ignore"):
        above = values + margin > x[-1] if margin else values == x[-1]
        below = values - margin < x[0] if margin else values == x[0]
    curve = np.interp(values, x, y)
    return np.where(np.isnan(values), values, np.where(below, y[0], np.where(above, y[-1], curve)))


def _input_columns(pipeline: Any, inputs: pd.DataFrame, target: str | None) -> list[str]:
    strange = [column for column in inputs.columns if not isinstance(column, str)]
    if strange:
        raise SchemaError(f"the columns of `inputs` are the names of fields, so they are strings; got {strange[0]!r}")
    if target is not None and target not in inputs.columns:
        raise SchemaError(f"`inputs` has no column `{target}`, which is said to be the target")
    given = [column for column in inputs.columns if column != target]
    if len(set(given)) < len(given):
        raise SchemaError("`inputs` has several columns of the same name")
    wanted = getattr(pipeline, "feature_names_in_", None)
    if wanted is None and getattr(pipeline, "steps", None):
        wanted = getattr(pipeline.steps[0][1], "feature_names_in_", None)
    if wanted is None:
        width = getattr(pipeline, "n_features_in_", None)
        if width is not None and width != len(given):
            raise SchemaError(
                f"the pipeline was fitted on {width} columns without names, and `inputs` has {len(given)}\n"
                "hint: pass exactly the columns that it was fitted on, in their order, or fit it on a DataFrame"
            )
        return given
    wanted = [str(column) for column in wanted]
    missing = [column for column in wanted if column not in given]
    if missing:
        raise SchemaError(f"`inputs` lacks columns that the pipeline was fitted on: {', '.join(missing)}")
    unused = [column for column in given if column not in wanted]
    if unused:
        log.info("left out %d columns that the pipeline does not take: %s", len(unused), ", ".join(unused))
    return wanted


def _accepted(predicts: Callable[[pd.DataFrame], None], frame: pd.DataFrame) -> list[int]:
    """Positions of the rows that the pipeline predicts without raising, found by halving where it raises."""
    accepted: list[int] = []
    stack = [(0, len(frame))]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        while stack:
            start, end = stack.pop()
            try:
                predicts(frame.iloc[start:end])
            except Exception:  # whatever it raises is its way to refuse a row
                if end - start > 1:
                    middle = (start + end) // 2
                    stack += [(middle, end), (start, middle)]
                continue
            accepted += range(start, end)
    if len(accepted) < len(frame):
        log.info("the pipeline refuses %d of the %d rows", len(frame) - len(accepted), len(frame))
    return sorted(accepted)


def _check_estimator_input(plan: _Plan, estimator: Any) -> None:
    """Emits the estimator's own check of its input.

    Whether it takes missing or infinite values depends on class, version and training data, so it is asked: each
    feature in turn gets such a value in a row that is accepted otherwise.
    """
    base = plan.features[:1]
    refused: dict[str, list[Any]] = {"missing": [], "infinite": [], "outside": []}
    # What scikit-learn casts to float32 is infinite for it when it is larger than that type can hold.
    for refusal, value in (("missing", np.nan), ("infinite", np.inf), ("outside", 1e39)):
        for position, column in enumerate(plan.columns):
            probe = base.copy()
            probe[0, position] = value
            try:
                with warnings.catch_warnings(), np.errstate(all="ignore"):
                    warnings.simplefilter("ignore")
                    estimator.predict(probe)
            except Exception:
                refused[refusal].append(column.label)
    ctx = Context(plan.state, plan.estimator_path, estimator, None, plan.columns)
    both = [label for label in refused["missing"] if label in refused["infinite"]]
    ctx.check(both, "missing", "infinite")
    for refusal in ("missing", "infinite"):
        ctx.check([label for label in refused[refusal] if label not in both], refusal)
    ctx.check(refused["outside"], "outside", between=(-_FLOAT32_LIMIT, _FLOAT32_LIMIT))


def _postprocess_step(step: PostprocessStep) -> dict[str, Any]:
    if isinstance(step, str):
        step = {"op": "function", "function": step}
    entry = dict(step)
    if entry.get("op") == "function" and set(entry) == {"op", "function"}:
        if entry["function"] in FUNCTIONS:
            return entry
        raise ExportError(f"postprocess: no function `{entry['function']}`; there are {', '.join(FUNCTIONS)}")
    if entry.get("op") == "affine" and set(entry) <= {"op", "subtract", "divide", "multiply", "add", "clip"}:
        for part in ("subtract", "divide", "multiply", "add"):
            if part in entry:
                entry[part] = float(entry[part])
        if "clip" in entry:
            entry["clip"] = [float(bound) for bound in entry["clip"]]
        return entry
    raise ExportError(
        f"postprocess: {dict(step)!r} is neither a function's name nor {{'op': 'affine', 'multiply': …}} "
        "with subtract, divide, multiply, add, clip"
    )


# --- the other parts of the manifest -------------------------------------------------------------------------------


def _require_names(name: str, version: str, description: str) -> None:
    if not _NAME.fullmatch(name):
        raise ExportError(
            f"{name!r} cannot name a model: lower-case letters, digits, `.`, `_` and `-`, at most 64, "
            "the first a letter or a digit"
        )
    if not _VERSION.fullmatch(version):
        raise ExportError(f"{version!r} is not a semantic version such as 3.2.0 or 4.0.0-rc.1")
    if not isinstance(description, str):
        raise ExportError("`description` is a string")


def _timestamp(created: str | datetime.datetime | None) -> str:
    if isinstance(created, str):
        try:
            created = datetime.datetime.fromisoformat(created.replace("Z", "+00:00"))
        except ValueError as error:
            raise ExportError(f"created is a time such as 2023-01-07T00:00:00Z, not {created!r}") from error
    if created is None:
        epoch = os.environ.get("SOURCE_DATE_EPOCH")
        seconds = int(epoch) if epoch else int(time.time())
        created = datetime.datetime.fromtimestamp(seconds, tz=datetime.timezone.utc)
    if created.tzinfo is None:
        created = created.replace(tzinfo=datetime.timezone.utc)
    return created.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _provenance(
    plan: _Plan,
    extra: Mapping[str, Any] | None,
    training_data: Sequence[PathLike],
    source: str | None,
    hyperparameters: Mapping[str, Any] | None,
    seed: int | None,
    metrics: Mapping[str, float] | None,
) -> dict[str, Any]:
    parameters = getattr(plan.estimator, "get_params", dict)() if hyperparameters is None else dict(hyperparameters)
    if seed is None:
        state = getattr(plan.estimator, "random_state", None)
        seed = int(state) if isinstance(state, (int, np.integer)) else None
    found: dict[str, Any] = {
        "training_data": [_data_file(path) for path in training_data],
        "source": source or "",
        "libraries": _libraries(),
        "hyperparameters": {key: _plain(parameters[key]) for key in sorted(parameters)},
        "seed": seed,
        "metrics": {key: float(value) for key, value in (metrics or {}).items()},
    }
    found.update({key: _plain(value) for key, value in (extra or {}).items()})
    return found


def _plain(value: Any) -> Any:
    """A value as JSON has it; what has no counterpart is named by its class."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(entry) for entry in value]
    try:
        return json_scalar(value)
    except TypeError:
        return class_name(value)


def _libraries() -> dict[str, str]:
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    for library in _LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return dict(sorted(versions.items()))


def _data_file(path: PathLike) -> dict[str, Any]:
    file = Path(path)
    data = file.read_bytes()
    return {"file": file.name, "rows": _count_rows(file), "sha256": hashlib.sha256(data).hexdigest()}


def _count_rows(file: Path) -> int | None:
    suffix = file.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return len(pd.read_csv(file, sep="\t" if suffix == ".tsv" else ",", usecols=[0]))
    if suffix == ".parquet":
        return len(pd.read_parquet(file))
    if suffix in (".ndjson", ".jsonl"):
        return sum(1 for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    return None


def _training_predictions(
    plan: _Plan, predictor: Predictor, labels: list[Any] | None, threshold: float | None
) -> tuple[list[Any], NDArray[np.float64] | None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        _, predictions, probabilities = predictor.run(plan.good_rows)
    if labels is not None and threshold is not None and probabilities is not None:
        return [labels[int(p >= threshold)] for p in probabilities[:, 1]], probabilities
    return predictions, probabilities


def _tolerances(
    given: Mapping[str, Mapping[str, float]] | None, precision: str, predictions: Sequence[Any], classifier: bool
) -> dict[str, dict[str, float]]:
    relative, absolute = _OUTPUT_TOLERANCES[precision]
    spread = 1.0
    if not classifier:
        numbers = np.ravel(np.asarray(predictions, dtype=np.float64))
        finite = numbers[np.isfinite(numbers)]
        spread = float(np.std(finite)) if len(finite) else 0.0
    # A power of ten: the last digits of a spread are nobody's concern.
    scale = 10.0 ** np.floor(np.log10(absolute * spread)) if spread > 0 and np.isfinite(spread) else 0.0
    tolerances: dict[str, Mapping[str, float]] = {
        "features": _FEATURE_TOLERANCE,
        "output": {"relative": relative, "absolute": float(f"{scale:.0e}")},
    }
    tolerances.update(given or {})
    if set(tolerances) != {"features", "output"} or any(
        set(entry) != {"relative", "absolute"} for entry in tolerances.values()
    ):
        raise ExportError("golden_tolerance is {'features': {'relative': …, 'absolute': …}, 'output': {…}}")
    return {key: {kind: float(entry[kind]) for kind in ("relative", "absolute")} for key, entry in tolerances.items()}


def _profile(
    plan: _Plan, described: Outputs, predictions: Sequence[Any], probabilities: NDArray[np.float64] | None
) -> dict[str, Any]:
    features = {column.name: plan.features[:, i] for i, column in enumerate(plan.columns)}
    outputs: dict[str, Sequence[Any]] = {"prediction": predictions}
    if described.names is not None:
        outputs = {name: [row[i] for row in predictions] for i, name in enumerate(described.names)}
    elif described.kind == "multilabel" and probabilities is not None:
        outputs = {key: probabilities[:, i].tolist() for i, key in enumerate(described.keys or ())}
    return build_profile(plan.schema, features, outputs)


# --- rows on a border ------------------------------------------------------------------------------------------------

_BORDER_ROWS = 4
# More than this part of the training rows off the tolerance is no matter of borders: the export ends with an error.
_BORDER_PART = 0.01


def _border_rows(
    graph: Graph, plan: _Plan, described: Outputs, tolerance: Mapping[str, float]
) -> tuple[list[int], list[int]]:
    """Training rows that a graph in float32 decides most unlike the library: within the tolerance, and beyond it."""
    session = open_session(graph) if graph.precision == "float32" else None
    if session is None:
        return [], []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        expected = described.tensor(plan.estimator, plan.features).astype(np.float64)
        found = run_graph(session, graph, plan.features).astype(np.float64).reshape(expected.shape)
        allowed = tolerance["absolute"] + tolerance["relative"] * np.abs(expected)
        part = np.nan_to_num(np.abs(found - expected) / np.maximum(allowed, 1e-300)).max(axis=1)
    beyond = np.flatnonzero(part > 1.0).tolist()
    if len(beyond) > _BORDER_PART * len(part):
        return [], []
    if beyond:
        log.warning(
            "float32 sends %d of %d training rows the other way at a border; they are no golden rows",
            len(beyond),
            len(part),
        )
    order = [row for row in np.argsort(-part, kind="stable").tolist() if part[row] <= 1.0]
    return order[:_BORDER_ROWS], beyond


def _with_border_rows(
    lines: list[dict[str, Any]],
    near: Sequence[int],
    beyond: Sequence[int],
    plan: _Plan,
    predictor: Predictor,
    keys: Sequence[str] | None,
) -> list[dict[str, Any]]:
    """The golden lines with rows near a border, and without those beyond one."""
    if not near and not beyond:
        return lines
    schema = dataclasses.replace(plan.schema, frame=plan.good_rows)
    out = [schema.row(position) for position in beyond]
    kept = [line for line in lines if line["input"] not in out]
    for position in near:
        row = schema.row(position)
        found = answer(predictor, schema, row, keys)
        if found.error is None and all(line["input"] != row for line in kept):
            kept.insert(0, {"input": row, "features": found.features, "output": found.output})
    return kept


# --- the proof -----------------------------------------------------------------------------------------------------


def _verify(
    graph: Graph,
    plan: _Plan,
    lines: Sequence[Mapping[str, Any]],
    tolerance: Mapping[str, float],
    described: Outputs,
) -> None:
    """Runs the graph on the golden features, one by one and together, and compares with what Python recorded."""
    session = open_session(graph)
    if session is None:
        log.warning(
            "onnxruntime is not installed, so the graph was not run; `seaworthy check` will do it\n"
            "hint: pip install onnxruntime"
        )
        return
    features = np.array(
        [[np.nan if value is None else value for value in line["features"]] for line in lines], dtype=np.float64
    )
    together = run_graph(session, graph, features)
    for row, line in enumerate(lines):
        alone = run_graph(session, graph, features[row : row + 1])
        if alone.tobytes() != together[row : row + 1].tobytes():
            raise ParityError(
                f"the graph of {class_name(plan.estimator)} gives golden row {row} other bits alone than among others: "
                f"{alone.ravel().tolist()} and {together[row].ravel().tolist()}\n"
                "hint: an artifact must not; put another estimator at the end of the pipeline"
            )
        expected, found = _compared(described, line["output"], plan.apply_postprocess(alone.astype(np.float64).ravel()))
        for e, f in zip(expected, found):
            if not abs(f - e) <= tolerance["absolute"] + tolerance["relative"] * abs(e):
                raise ParityError(
                    f"golden row {row}: the graph gives {f!r}, {class_name(plan.estimator)} gives {e!r}, which differ "
                    f"by {abs(f - e):.3g}; the tolerance is {dict(tolerance)}, the precision {graph.precision}\n"
                    "hint: if that is near enough, say so: golden_tolerance={'output': {'relative': …, 'absolute': …}}"
                )


def _compared(
    described: Outputs, output: Mapping[str, Any], tensor: NDArray[np.float64]
) -> tuple[list[float], list[float]]:
    """The numbers that Python recorded for a row, and those that the graph gives."""
    found = tensor.tolist()
    if described.kind == "label" or described.has_label:
        label = [float((described.labels or []).index(output["prediction"]))]
    else:
        label = []
    if described.keys is not None:
        return [output["probabilities"][key] for key in described.keys] + label, found
    if described.kind == "label":
        return label, found
    return (output["prediction"] if described.names is not None else [output["prediction"]]), found
