"""The converters that ship with the package. Importing this registers them.

Each was written from the source of the class in scikit-learn 1.2 and 1.9 and in feature-engine 1.5 and 1.9, and says
where those differ. The libraries are not imported: classes are registered by name and only fitted attributes are
read.
"""

from . import datetime, feature_engine, sklearn, text

__all__ = ["datetime", "feature_engine", "sklearn", "text"]
