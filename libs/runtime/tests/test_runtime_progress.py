"""Progress lines of a log."""

import logging
import re

import pytest
from runtime import progress


def test_items_pass_and_the_end_is_counted(caplog):
    with caplog.at_level(logging.INFO):
        assert list(progress(range(5), "reading", unit="file")) == [0, 1, 2, 3, 4]
    (line,) = caplog.messages
    assert re.fullmatch(r"reading: 5 files in \d+\.\d s", line)


def test_counted_lines_with_rate_and_time_left(caplog):
    with caplog.at_level(logging.INFO):
        list(progress(iter(range(3)), "searching", total=3, unit="slide", every=0.0))
    assert len(caplog.messages) == 4
    assert re.fullmatch(r"searching: 1/3 slides, \S+/s, \d+ s left", caplog.messages[0])


def test_unknown_length(caplog):
    with caplog.at_level(logging.INFO):
        list(progress(iter(range(2)), "reading", every=0.0))
    assert re.fullmatch(r"reading: 1/\? items, \S+/s", caplog.messages[0])


def test_an_exception_of_the_work_comes_through():
    def broken():
        yield 1
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        list(progress(broken(), "reading"))
