import json

import pytest
from deepclean.online.telemetry import PER_FILE, Record, Telemetry
from deepclean.online.verdict import Rules, independent, judge_canary, judge_production

RULES = Rules(trial=100)


def record(second, canary=2, ratio=0.5, production_ratio=0.6, **changes):
    values = {
        "second": second,
        "production": 1,
        "canary": canary,
        "good": True,
        "dropped": False,
        "ratios": (production_ratio,),
        "outside": (1.0,),
        "canary_ratios": (ratio,),
        "canary_outside": (1.0,),
        "canary_newest": (0.8,),
        "compute": 0.01,
        "latency": 2.0,
    }
    return Record(**values | changes)


def records(number, **changes):
    return [record(second, **changes) for second in range(number)]


def test_stretches_share_no_second():
    found = [r.second for r in independent(records(40), lambda r: True)]
    assert found == [7, 15, 23, 31, 39]


def test_a_stretch_with_a_gap_or_a_dropped_second_does_not_count():
    gap = [r for r in records(30) if r.second != 10]
    assert [r.second for r in independent(gap, lambda r: True)] == [7, 18, 26]
    dropped = [record(s, dropped=s == 10) for s in range(30)]
    assert [r.second for r in independent(dropped, lambda r: not r.dropped)] == [7, 18, 26]


def test_a_good_canary_is_promoted_after_its_time_and_not_before():
    # of the last second it is not known whether what follows is missing
    assert judge_canary(records(96), 2, RULES).decision == "wait"
    verdict = judge_canary(records(97), 2, RULES)
    assert verdict.decision == "promote"
    assert "0.5000, 0.6000 in production, 12 stretches" in verdict.reason


def test_seconds_of_another_version_do_not_count():
    mixed = [*records(90, canary=1), *(record(90 + i) for i in range(90))]
    assert judge_canary(mixed, 2, RULES).decision == "wait"


@pytest.mark.parametrize("beside", [-1, 0, 1, 6])
@pytest.mark.parametrize("there", [True, False])
def test_what_is_tapered_beside_a_missing_second_is_no_harm(beside, there):
    """Also where the second itself was not written."""
    harm = {"canary_outside": (1.03,), "canary_newest": (1.5,)}
    lost = 23
    found = [
        record(s, dropped=s == lost, **(harm if s in (lost, lost + beside) else {}))
        for s in range(130)
        if there or s != lost
    ]
    for number in (lost - 1, lost, lost + 1, lost + 12, len(found)):
        assert judge_canary(found[:number], 2, RULES).decision != "reject"
    assert judge_canary(found, 2, RULES).decision == "promote"


def test_harm_a_little_farther_off_is_harm():
    for second in (21, 31):
        found = [
            record(s, dropped=s == 23, canary_newest=(1.5 if s == second else 0.8,))
            for s in range(60)
        ]
        verdict = judge_canary(found, 2, RULES)
        assert verdict.decision == "reject"
        assert f"GPS {second + 1}" in verdict.reason


@pytest.mark.parametrize(
    "harm",
    [
        {"ratio": 1.01},
        {"ratio": float("nan")},
        {"canary_outside": (1.02,)},
        {"canary_outside": (float("inf"),)},
        {"canary_newest": (1.5,)},
        {"canary_newest": (float("nan"),)},
    ],
)
def test_one_harmful_stretch_rejects(harm):
    found = [record(s, **(harm if s == 39 else {})) for s in range(60)]
    verdict = judge_canary(found, 2, RULES)
    assert verdict.decision == "reject"
    assert "GPS 40" in verdict.reason


def test_one_that_cleans_worse_than_production_is_rejected():
    verdict = judge_canary(records(100, ratio=0.7), 2, RULES)
    assert verdict.decision == "reject"
    assert "0.7000 against 0.6000" in verdict.reason
    assert judge_canary(records(100, ratio=0.7), 2, Rules(margin=0.2)).decision == "promote"


def test_the_first_version_needs_no_rival():
    assert judge_canary(records(100, production=0, ratios=()), 2, RULES).decision == "promote"


def test_production_is_rolled_back_when_the_gate_stays_closed():
    assert judge_production(records(200), 1, RULES).decision == "wait"
    closed = [record(s, good=s < 150) for s in range(260)]
    assert judge_production(closed[:190], 1, RULES).decision == "wait"
    assert judge_production(closed, 1, RULES).decision == "roll back"
    # witnesses that are missing are no fault of the version
    dropped = [record(s, good=s < 150, dropped=s >= 150) for s in range(260)]
    assert judge_production(dropped, 1, RULES).decision == "wait"
    # nor that the gate is closed beside them
    beside = [record(s, good=s % 16 == 0, dropped=s % 16 == 8) for s in range(2000)]
    assert judge_production(beside, 1, RULES).decision == "wait"


def test_records_come_back_as_they_went_in(tmp_path):
    telemetry = Telemetry(tmp_path)
    first = 5 * PER_FILE - 3
    written = [record(first + i, ratio=float(i)) for i in range(6)]
    for each in written:
        telemetry.add(each)
    assert telemetry.since(0) == written
    assert telemetry.since(first + 2) == written[2:]
    assert telemetry.last() == written[-1]
    assert len(list(tmp_path.glob("*.jsonl"))) == 2
    telemetry.forget(5 * PER_FILE)
    assert telemetry.since(0) == written[3:]


def test_a_torn_line_and_a_doubled_second_do_no_harm(tmp_path):
    telemetry = Telemetry(tmp_path)
    telemetry.add(record(10))
    path = next(tmp_path.glob("*.jsonl"))
    with path.open("a") as file:
        file.write(json.dumps({"second": 11})[:-4])
    assert [r.second for r in telemetry.since(0)] == [10]
    telemetry.add(record(11, ratio=0.1))
    telemetry.add(record(11, ratio=0.2))
    assert [(r.second, r.canary_ratios) for r in telemetry.since(0)] == [
        (10, (0.5,)),
        (11, (0.2,)),
    ]
