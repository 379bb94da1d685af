"""Trains and exports the three Titanic models, from the passengers' list as the course's data set has it.

The rows are Kaggle's "Titanic: Machine Learning from Disaster" (891 passengers with their fate), which is not part of
this repository; the artifacts are. A file has the columns PassengerId, Survived, Pclass, Name, Sex, Age, SibSp, Parch,
Ticket, Fare, Cabin, Embarked.

    python models/titanic.py TRAIN.csv VALIDATION.csv [MODELS_DIR]

- `titanic-logistic`: the course's assignment. Missing label, missing indicators, median, letter of the cabin, rare
  labels, one-hot with k-1, StandardScaler, LogisticRegression of C=0.0005.
- `titanic-forest`: a ColumnTransformer with most frequent values and one-hot without the first, 200 trees.
- `titanic-boosting`: arbitrary number, missing label, rare labels, ordered ordinal codes, gradient boosting.

All take raw rows as a frontend sends them: several cabins in one text, the title inside of the name, `?` for a text
that is not known.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feature_engine.encoding import OneHotEncoder, OrdinalEncoder, RareLabelEncoder
from feature_engine.imputation import (
    AddMissingIndicator,
    ArbitraryNumberImputer,
    CategoricalImputer,
    MeanMedianImputer,
)
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder as SklearnOneHotEncoder
from sklearn.preprocessing import StandardScaler

from seaworthy_export import Context, Text, export, register_converter

SEED = 0
VERSION = "1.0.0"
TARGET = "survived"
NUMBERS = ["pclass", "age", "sibsp", "parch", "fare"]
TEXTS = ["sex", "cabin", "embarked", "title"]
TITLES = ["Mrs", "Mr", "Miss", "Master"]
DESCRIPTIONS = {
    "pclass": "Class of the ticket: 1, 2 or 3",
    "name": "Name with title, such as `Cumings, Mrs. John Bradley`",
    "sex": "female or male",
    "age": "Years",
    "sibsp": "Siblings and spouses aboard",
    "parch": "Parents and children aboard",
    "fare": "Price of the ticket, pounds",
    "cabin": "Cabins, divided by spaces; `?` or null when not known",
    "embarked": "Port: C Cherbourg, Q Queenstown, S Southampton; `?` or null when not known",
}
FEATURES = list(DESCRIPTIONS)


class Prepare(TransformerMixin, BaseEstimator):
    """What the course's notebook does first: `?` is missing, the first of several cabins, the title of the name."""

    def fit(self, X: pd.DataFrame, y: Any = None) -> Prepare:  # noqa: ARG002
        """Learns nothing."""
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Looks at each row alone."""
        texts = ["cabin", "embarked", "sex"]
        X = X.assign(**{label: X[label].astype(object).where(X[label].ne("?"), np.nan) for label in texts})
        X["cabin"] = [self._first(cabin) for cabin in X["cabin"]]
        X["title"] = [self._title(name) for name in X["name"]]
        X[["cabin", "embarked", "sex", "title"]] = X[["cabin", "embarked", "sex", "title"]].astype(object)
        return X.drop(columns=["name"])

    @staticmethod
    def _first(cabin: Any) -> Any:
        parts = cabin.split() if isinstance(cabin, str) else []
        return parts[0] if parts else np.nan

    @staticmethod
    def _title(name: str) -> str:
        return next((title for title in TITLES if re.search(title, name)), "Other")

    def __sklearn_is_fitted__(self) -> bool:
        return True


class Letter(TransformerMixin, BaseEstimator):
    """The first letter of each value."""

    def __init__(self, variables: list[str]) -> None:
        self.variables = variables

    def fit(self, X: pd.DataFrame, y: Any = None) -> Letter:  # noqa: ARG002
        """Learns nothing."""
        return self

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Takes each variable's first character."""
        return X.assign(**{variable: X[variable].str[0].astype(object) for variable in self.variables})

    def __sklearn_is_fitted__(self) -> bool:
        return True


@register_converter(Prepare)
def convert_prepare(step: Any, ctx: Context) -> None:  # noqa: ARG001
    """`Prepare.transform` in general steps."""
    for label in ("cabin", "embarked", "sex"):
        ctx.map(label, ["?"], [None], unseen="keep")
    ctx.text("cabin", Text().split(None, 0))
    ctx.check(["name"], "missing")  # re.search raises
    ctx.text("name", Text().extract([(title, title) for title in TITLES], {"value": "Other"}), output="title")
    ctx.drop(["name"])


@register_converter(Letter)
def convert_letter(step: Any, ctx: Context) -> None:
    """`Letter.transform` in general steps."""
    for variable in step.variables:
        ctx.text(variable, Text().item(0))


def logistic() -> Pipeline:
    """The course's assignment."""
    return Pipeline(
        [
            ("prepare", Prepare()),
            ("categorical_imputation", CategoricalImputer(imputation_method="missing", variables=TEXTS)),
            ("missing_indicator", AddMissingIndicator(variables=["age", "fare"])),
            ("median_imputation", MeanMedianImputer(imputation_method="median", variables=["age", "fare"])),
            ("extract_letter", Letter(["cabin"])),
            ("rare_label_encoder", RareLabelEncoder(tol=0.05, n_categories=1, variables=TEXTS)),
            ("categorical_encoder", OneHotEncoder(drop_last=True, variables=TEXTS)),
            ("scaler", StandardScaler()),
            ("Logit", LogisticRegression(C=0.0005, random_state=SEED)),
        ]
    )


def forest() -> Pipeline:
    """Columns apart, then 200 trees."""
    texts = Pipeline(
        [
            ("imputer", SimpleImputer(strategy="most_frequent")),
            ("one_hot", SklearnOneHotEncoder(drop="first", handle_unknown="ignore")),
        ]
    )
    columns = ColumnTransformer(
        [("numbers", SimpleImputer(strategy="most_frequent"), NUMBERS), ("texts", texts, ["sex", "embarked", "title"])]
    )
    return Pipeline(
        [("prepare", Prepare()), ("columns", columns), ("forest", RandomForestClassifier(200, random_state=SEED))]
    )


def boosting() -> Pipeline:
    """Codes in the order of the target, then gradient boosting."""
    return Pipeline(
        [
            ("prepare", Prepare()),
            ("number_imputation", ArbitraryNumberImputer(arbitrary_number=-1, variables=["age", "fare"])),
            ("categorical_imputation", CategoricalImputer(imputation_method="missing", variables=TEXTS)),
            ("extract_letter", Letter(["cabin"])),
            ("rare_label_encoder", RareLabelEncoder(tol=0.05, n_categories=1, variables=TEXTS)),
            ("categorical_encoder", OrdinalEncoder(encoding_method="ordered", variables=TEXTS)),
            ("boosting", GradientBoostingClassifier(random_state=SEED)),
        ]
    )


MODELS = {
    "titanic-logistic": (logistic, "the course's assignment, a logistic regression"),
    "titanic-forest": (forest, "a random forest of 200 trees over one-hot columns"),
    "titanic-boosting": (boosting, "gradient boosting over ordinal codes"),
}


def read_rows(path: Path) -> pd.DataFrame:
    """Rows with the names that a frontend uses."""
    rows = pd.read_csv(path).rename(columns=str.lower)
    for label in ("name", "sex", "cabin", "embarked"):
        rows[label] = rows[label].astype(object).where(rows[label].notna(), np.nan)
    return rows


def metrics(pipeline: Pipeline, rows: pd.DataFrame, prefix: str) -> dict[str, float]:
    """Accuracy, and the area under the curve."""
    probabilities = pipeline.predict_proba(rows[FEATURES])[:, 1]
    return {
        f"{prefix}_accuracy": float(accuracy_score(rows[TARGET], pipeline.predict(rows[FEATURES]))),
        f"{prefix}_roc_auc": float(roc_auc_score(rows[TARGET], probabilities)),
    }


def train(name: str, rows: pd.DataFrame) -> Pipeline:
    """The fitted pipeline of this name."""
    return MODELS[name][0]().fit(rows[FEATURES], rows[TARGET])


def main(training: str, validation: str, models_dir: str = "examples/models") -> None:
    """Trains, and writes the artifacts."""
    rows, held_out = read_rows(Path(training)), read_rows(Path(validation))
    for name, (_, words) in MODELS.items():
        pipeline = train(name, rows)
        path = export(
            pipeline,
            name=name,
            version=VERSION,
            inputs=rows[FEATURES],
            models_dir=models_dir,
            fields={
                **{label: {"description": text} for label, text in DESCRIPTIONS.items()},
                # Names are of people, and say nothing as categories.
                "name": {"description": DESCRIPTIONS["name"], "categories": None},
                "fare": {"description": DESCRIPTIONS["fare"], "nullable": True},
            },
            description=f"Whether a passenger of the Titanic survived: {words}.",
            source="python/models/titanic.py; the rows are Kaggle's Titanic data set, not part of this project",
            training_data=[training, validation],
            metrics={**metrics(pipeline, rows, "train"), **metrics(pipeline, held_out, "validation")},
            seed=SEED,
            overwrite=True,
        )
        print(path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(*sys.argv[1:])
