"""The table of states is bounded."""

import pytest
from triton_server.backends.sequences import SequenceStates, UnknownSequenceError


@pytest.fixture
def time():
    return [0.0]


@pytest.fixture
def states(time):
    return SequenceStates(lambda: {"s": 0}, idle_length=10, clock=lambda: time[0])


def test_a_sequence_needs_a_start(states):
    with pytest.raises(UnknownSequenceError, match="sequence 4 must specify the START flag"):
        states.read(4, start=False)
    assert states.read(4, start=True) == {"s": 0}
    states.write(4, {"s": 1})
    assert states.read(4, start=False) == {"s": 1}
    assert states.read(4, start=True) == {"s": 0}
    states.end(4)
    with pytest.raises(UnknownSequenceError):
        states.read(4, start=False)


def test_what_idles_is_forgotten_but_never_before_the_server_does(states, time):
    states.read("old", start=True)
    time[0] = 10.5
    states.read("new", start=True)
    assert states.read("old", start=False) == {"s": 0}
    states.write("old", {"s": 3})
    time[0] = 35.4
    assert states.read("new", start=False) == {"s": 0}
    time[0] = 35.6
    states.write("old", {"s": 4})
    with pytest.raises(UnknownSequenceError):
        states.read("new", start=False)
    assert len(states) == 1


def test_many_clients_that_never_end_do_not_fill_the_table(states, time):
    for number in range(10_000):
        time[0] += 1
        states.read(number, start=True)
    assert len(states) <= 26
