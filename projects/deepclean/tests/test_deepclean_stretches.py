"""Which data a training learns from."""

from typing import ClassVar

import numpy as np
import pytest
import yaml
from cleaning import load_problem
from conftest import PROBLEM, START
from deepclean.frames import frame_name, read_frame, write_frame
from deepclean.trainings import stretches
from deepclean.trainings.stretches import NothingToDoError, Stretches

DURATION, VALID = 16, 4


class Reader:
    """Reads in this process, and says what."""

    seconds: ClassVar[list[int]] = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def read(self, path, start, names, duration=1):
        Reader.seconds.append(start)
        return read_frame(path, start, names, duration)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    Reader.seconds.clear()
    monkeypatch.setattr(stretches, "GuardedReader", Reader)


def make(folder, pattern, first=0, state="STATE"):
    """Frames by a letter for each second: analysed, not analysed, no Strain, no Witnesses.

    Args:
        folder: Gets `strain/` and `witness/`.
        pattern: Of the letters a, n, S, W.
        first: Where it begins, counted from `START` [s].
        state: Channel of the state vector; None for none.
    """
    for name in ("strain", "witness"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for i, letter in enumerate(pattern):
        second = START + first + i
        strain, witness = (
            folder / name / frame_name("H", name.upper(), second) for name in ("strain", "witness")
        )
        if letter != "S":
            # nothing of it is read
            strain.touch()
        if letter != "W":
            # bits beside the mask say nothing
            bits = np.full(16, 7 if letter != "n" else 6, dtype=np.int32)
            write_frame(witness, second, 1, {"H1:STATE": bits})
    (folder / "problem.yaml").write_text(
        yaml.safe_dump(PROBLEM | ({"state": state} if state else {}))
    )
    return Stretches(folder, load_problem(folder / "problem.yaml"), DURATION, VALID)


def expected(pattern, earliest=0):
    """The latest end, each one tried by itself."""
    good = [letter == "a" for letter in pattern]
    ends = []
    for stop in range(max(earliest, DURATION + 1), len(pattern)):
        usable = [all(good[s - 1 : s + 2]) for s in range(stop - DURATION, stop)]
        parts = (usable[:-VALID], usable[-VALID:])
        if all(2 * sum(part) >= len(part) for part in parts):
            ends.append(stop)
    return max(ends, default=None)


def found(made, earliest=0):
    try:
        start, stop = made.newest(START + earliest)
    except NothingToDoError:
        return None
    assert stop - start == DURATION
    return stop - START


def test_the_newest_that_will_do(tmp_path):
    random = np.random.default_rng(3)
    ends = []
    for number in range(40):
        # runs of one kind, as locks and their ends are
        letters = np.repeat(random.choice(list("aaanWS"), 12), random.integers(1, 9, 12))
        pattern = "a" + "".join(letters)[:50] + "a"
        earliest = int(random.choice([0, 30]))
        ends.append(expected(pattern, earliest))
        made = make(tmp_path / str(number), pattern)
        assert found(made, earliest) == ends[-1], pattern
    assert None in ends
    assert len(set(ends)) > 10


def test_what_was_found_is_said(tmp_path):
    made = make(tmp_path, "a" * 10)
    with pytest.raises(
        NothingToDoError, match=rf"from GPS {START} to {START + 10}: .* to GPS {START + 18}"
    ):
        made.newest()
    made = make(tmp_path, "n" * 20, 10)
    with pytest.raises(NothingToDoError, match=r"at best 0% are usable, expected 50%"):
        made.newest()
    with pytest.raises(NothingToDoError, match="no frames in"):
        Stretches(tmp_path / "none", made.problem, DURATION, VALID).newest()


def test_nothing_is_read_twice_while_it_is_waited(tmp_path):
    made = make(tmp_path, "n" * 30)
    assert found(made) is None
    before = set(Reader.seconds)
    assert len(before) > 20
    make(tmp_path, "a" * 14, 30)
    Reader.seconds.clear()
    assert found(made) == 43
    # but one, for the rate of the channel
    assert len(before & set(Reader.seconds)) == 1


def test_without_a_state_vector_only_missing_frames_count(tmp_path):
    assert found(make(tmp_path, "a" * 18 + "n" * 10, state=None)) == 27
    assert not Reader.seconds
