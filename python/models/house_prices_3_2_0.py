"""Exports house-prices 3.2.0 from the pickle that the package tid-regression-model 3.2.0 publishes.

Runs with the libraries of that time, `requirements-2023.txt`: a pickle is read by what wrote it.

    python models/house_prices_3_2_0.py [MODELS_DIR]
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import regression_model
from house_prices import (
    FEATURES,
    NAME,
    RENAMED,
    SEED,
    TARGET,
    TEST_SIZE,
    convert_elapsed,
    convert_mapper,
    field_overrides,
    metrics,
    read_rows,
)
from regression_model.processing.features import Mapper, TemporalVariableTransformer
from sklearn.model_selection import train_test_split

from seaworthy_export import export, register_converter

PACKAGE = Path(regression_model.__file__).parent
PICKLE = PACKAGE / "trained_models" / "regression_model_output_v3.2.0.pkl"
TRAIN = PACKAGE / "datasets" / "train.csv"


register_converter(Mapper)(convert_mapper)
register_converter(TemporalVariableTransformer)(convert_elapsed)


def load_pipeline() -> Any:
    """The published pipeline."""
    with warnings.catch_warnings():
        # Pickled by scikit-learn 1.2.0, read by 1.2.2; golden rows and predictions in tests/data show that it
        # does not matter.
        warnings.simplefilter("ignore")
        return joblib.load(PICKLE)


def main(models_dir: str = "models") -> None:
    """Writes the artifact."""
    pipeline = load_pipeline()
    rows = read_rows(TRAIN)
    X_train, X_test, y_train, y_test = train_test_split(
        rows[FEATURES], rows[TARGET], test_size=TEST_SIZE, random_state=SEED
    )
    found = {
        **metrics("train", y_train.to_numpy(), np.exp(pipeline.predict(X_train))),
        **metrics("test", y_test.to_numpy(), np.exp(pipeline.predict(X_test))),
    }
    path = export(
        pipeline,
        name=NAME,
        version="3.2.0",
        inputs=X_train,
        models_dir=models_dir,
        postprocess=["exp"],
        aliases=RENAMED,
        fields=field_overrides(),
        description="Sale price in dollars of a house in Ames, Iowa: the model of tid-regression-model 3.2.0.",
        source="tid-regression-model 3.2.0",
        training_data=[TRAIN],
        metrics=found,
        seed=SEED,
        provenance={
            "licence": "BSD-3",
            "split": {
                "test_size": TEST_SIZE,
                "random_state": SEED,
                "train_rows": len(X_train),
                "test_rows": len(X_test),
            },
        },
        overwrite=True,
    )
    print(path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(*sys.argv[1:])
