"""Functions of text and patterns: what is written for the server, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer

from seaworthy_export import Text, UnsupportedStepError, read_pipeline
from seaworthy_export.converters.datetime import zone_changes
from seaworthy_export.converters.text import token
from seaworthy_export.patterns import translate


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        (r"(?=a)b", "looks ahead or behind"),
        (r"(?<!a)b", "looks ahead or behind"),
        (r"(a)\1", "refers back to a group"),
        (r"a$b", "last line break"),
        (r"(?a)\bx", "boundaries of ASCII words"),
        (r"(?:(a)|)*", "repeats a group that can be empty"),
    ],
)
def test_a_pattern_that_means_something_else_is_refused_with_the_reason(pattern, reason):
    with pytest.raises(UnsupportedStepError, match=reason):
        translate(pattern)


def test_a_pattern_that_matches_nothing_is_refused_where_all_matches_count():
    assert translate("a*") == ("(?:a){0,}", 0)
    with pytest.raises(UnsupportedStepError, match="empty text"):
        translate("a*", all_matches=True)


def test_classes_are_written_out_as_python_has_them():
    assert translate(r"\w\s[^\d]") == (r"[\p{L}\p{N}_][\s\x1c-\x1f][^\p{Nd}]", 0)
    assert translate(re.compile("(i)", re.IGNORECASE)) == (r"(?i)([Ii\x{130}\x{131}])", 1)


@pytest.mark.parametrize(
    ("pattern", "least"), [(r"(?u)\b\w\w+\b", 2), (r"\b\w+\b", 1), (r"\w{3,}", 3), (r"(?u)\b\w\w\w+\b", 3)]
)
def test_usual_token_patterns_are_runs_of_word_characters(pattern, least):
    assert token(pattern) == {"word": least}


def test_other_token_patterns_are_translated():
    assert token(r"\b[a-z]+\b") == {"pattern": r"\b(?:[a-z]){1,}\b"}
    assert token(r"\b\w\w*\b") == {"pattern": r"\b[\p{L}\p{N}_](?:[\p{L}\p{N}_]){0,}\b"}


def test_a_chain_ends_with_a_number():
    assert Text().lower().number("int").result == "int"
    with pytest.raises(ValueError, match="last function"):
        Text().length().lower()


def test_a_vectorizer_of_functions_is_refused():
    frame = pd.DataFrame({"text": ["a b", "c d"]})
    step = ColumnTransformer([("words", CountVectorizer(tokenizer=str.split, token_pattern=None), "text")]).fit(frame)
    with pytest.raises(UnsupportedStepError, match="tokenizer is a function"):
        read_pipeline(step, frame)


def test_a_list_of_one_column_is_no_series():
    frame = pd.DataFrame({"text": ["ab", "cd"], "n": [1.0, np.nan]})
    step = ColumnTransformer([("words", CountVectorizer(), "text"), ("n", "passthrough", ["n"])]).fit(frame)
    reading = read_pipeline(step, frame)
    assert [column.name for column in reading.columns] == ["words__ab", "words__cd", "n__n"]


def test_a_zone_is_its_changes():
    berlin = zone_changes("Europe/Berlin", 2020, 2021)
    assert berlin == {"changes": [1585443600, 1603587600], "offsets": [3600, 7200, 3600]}
    assert zone_changes("UTC", 2020, 2021) == {"changes": [], "offsets": [0]}
