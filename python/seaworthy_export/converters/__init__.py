"""The converters that ship with the package. Importing this registers them.

Each was written from the source of the class in scikit-learn 1.2 and 1.9 and in feature-engine 1.5 and 1.9, and says
where those differ. The libraries are not imported: classes are registered by name and only fitted attributes are
read.
"""

from . import (
    categories,
    datetime,
    encoders,
    feature_engine,
    feature_engine_numeric,
    sklearn,
    sklearn_numeric,
    tabulate,
    text,
)

__all__ = [
    "categories",
    "datetime",
    "encoders",
    "feature_engine",
    "feature_engine_numeric",
    "sklearn",
    "sklearn_numeric",
    "tabulate",
    "text",
]
