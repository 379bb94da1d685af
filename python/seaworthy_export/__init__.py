"""Turns a fitted Python pipeline into an artifact that Seaworthy serves, with the proof of its numbers.

    from seaworthy_export import export

    export(pipeline, name="house-prices", version="3.2.0", inputs=raw_rows, postprocess=["exp"])

See docs/exporter.md for the guide and docs/artifact.md for what is written.
"""

from .artifact import artifact_digest
from .context import Column, Constant, Context
from .errors import ExportError, ParityError, SchemaError, UnknownStepError, UnsupportedStepError
from .exporter import export, read_pipeline
from .images import ImageRecipe, export_image_model
from .registry import converter_of, register_converter
from .schema import rows_to_frame
from .text import Text

__all__ = [
    "Column",
    "Constant",
    "Context",
    "ExportError",
    "ImageRecipe",
    "ParityError",
    "SchemaError",
    "Text",
    "UnknownStepError",
    "UnsupportedStepError",
    "artifact_digest",
    "converter_of",
    "export",
    "export_image_model",
    "read_pipeline",
    "register_converter",
    "rows_to_frame",
]
