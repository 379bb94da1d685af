"""Trains and exports the linear template: StandardScaler and LinearRegression on 13 numeric fields.

The rows are made up here, since the Boston housing data that such templates used to show are no longer distributed
with scikit-learn: 13 normal columns, moved and scaled to what such fields are like, and a linear price with noise. What
it shows is the shape of a service, not a market.

    python models/linear_template.py [MODELS_DIR]
"""

from __future__ import annotations

import logging
import sys

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from seaworthy_export import export

NAME = "linear-template"
VERSION = "1.0.0"
SEED = 0
N_ROWS = 506
# Name, mean, standard deviation, what it is.
FIELDS = [
    ("crime_rate", 3.6, 1.1, "Crimes a head"),
    ("large_lots", 11.4, 3.2, "Part of the land in large lots, percent"),
    ("industry", 11.1, 3.4, "Part of the land in industry, percent"),
    ("river", 0.5, 0.2, "Nearness to the river"),
    ("nitric_oxides", 0.55, 0.11, "Nitric oxides, parts in ten million"),
    ("rooms", 6.3, 0.7, "Rooms of a dwelling"),
    ("age", 68.6, 14.1, "Part of the dwellings that are old, percent"),
    ("distance", 3.8, 1.0, "Distance to work"),
    ("highways", 9.5, 2.7, "Access to highways"),
    ("tax", 408.2, 84.3, "Property tax"),
    ("pupils", 18.5, 2.1, "Pupils for each teacher"),
    ("density", 356.7, 45.6, "People for each square kilometre"),
    ("poverty", 12.7, 3.6, "Part of the people in poverty, percent"),
]


def make_rows() -> tuple[pd.DataFrame, np.ndarray]:
    """The features and the price."""
    chance = np.random.default_rng(SEED)
    standard = chance.normal(size=(N_ROWS, len(FIELDS)))
    weights = chance.normal(size=len(FIELDS)) * 3.0
    price = 22.5 + standard @ weights + chance.normal(size=N_ROWS) * 2.0
    columns = {name: np.round(mean + spread * standard[:, i], 4) for i, (name, mean, spread, _) in enumerate(FIELDS)}
    return pd.DataFrame(columns), np.round(price, 1)


def main(models_dir: str = "examples/models") -> None:
    """Trains, and writes the artifact."""
    rows, price = make_rows()
    X_train, X_test, y_train, y_test = train_test_split(rows, price, test_size=0.2, random_state=SEED)
    pipeline = Pipeline([("scaler", StandardScaler()), ("regression", LinearRegression())]).fit(X_train, y_train)
    path = export(
        pipeline,
        name=NAME,
        version=VERSION,
        inputs=X_train,
        models_dir=models_dir,
        fields={name: {"description": words} for name, _, _, words in FIELDS},
        description="A template: StandardScaler and LinearRegression on 13 numeric fields, trained on made-up rows.",
        source="python/models/linear_template.py, which makes the rows",
        metrics={
            "train_r2": float(pipeline.score(X_train, y_train)),
            "test_r2": float(pipeline.score(X_test, y_test)),
        },
        seed=SEED,
        overwrite=True,
    )
    print(path)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main(*sys.argv[1:])
