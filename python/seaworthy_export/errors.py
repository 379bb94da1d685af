"""What can go wrong, by what the caller can do about it."""

from __future__ import annotations


class ExportError(Exception):
    """The pipeline, the rows or the options cannot become an artifact; the message says why and what to do."""


class UnknownStepError(ExportError):
    """A step has no converter; the message shows how to register one."""


class UnsupportedStepError(ExportError):
    """A step is known, but not with these parameters or in this state."""


class WrongConverterError(UnsupportedStepError):
    """A converter does not emit the columns that its step's `transform` gives."""


class SchemaError(ExportError):
    """The raw rows, or what was said about them, do not make a schema."""


class ParityError(ExportError):
    """The written graph does not give the numbers of the estimator."""


class NothingAcceptedError(ExportError):
    """The pipeline refuses every row that it was given."""
