"""The numbers that the figures draw."""

import json
from dataclasses import replace

import numpy as np
import pytest
from evaluate.figures.glitches import event_rates
from evaluate.figures.injections import MISSED, NUM_LOUD_MISSED, NUM_SHOWN, shown_rows
from evaluate.lines import Lines, draw_lines, read_lines
from evaluate.rates import YEAR


@pytest.fixture(scope="module")
def lines(findings):
    return draw_lines(findings)


def test_recall_at_a_rate_by_hand(findings, lines):
    names = [line.name for line in lines.recall]
    assert names == ["all accepted", "SNR below 8", "SNR 8 to 12", "SNR of 12 or more"]
    point = 25
    far = lines.recall[0].x[point]
    found = total = quiet = num_quiet = 0
    for result in findings.folds:
        allowed = int(far * result.background.livetime / YEAR)
        loud = result.injections.statistic >= np.sort(result.background.statistic)[-allowed]
        found, total = found + loud.sum(), total + len(loud)
        below = result.injections.snr < 8
        quiet, num_quiet = quiet + (loud & below).sum(), num_quiet + below.sum()
    assert lines.recall[0].y[point] == pytest.approx(found / total)
    assert lines.recall[1].y[point] == pytest.approx(quiet / num_quiet)
    for line in lines.recall:
        assert (np.diff(line.y) >= 0).all()
        assert (line.low <= line.y).all()
        assert (line.y <= line.high).all()


def test_volume_line_passes_through_the_volume_at_a_rate(findings, lines):
    for line, pair in zip(lines.volume, findings.volumes.pairs, strict=True):
        # the line ends at the largest rate of the experiment
        assert line.x[-1] == pytest.approx(max(findings.recovered))
        assert line.y[-1] == pytest.approx(pair.at_far[0].volume)
        assert line.high[-1] - line.y[-1] == pytest.approx(pair.at_far[0].std)


def test_found_fractions_of_all_quantities(findings, lines):
    assert len(lines.found) == 3
    assert [name.split(" ")[0] for name in lines.found] == ["optimal", "luminosity", "chirp"]
    for some in lines.found.values():
        assert [line.name for line in some] == ["8766 / yr", "365.25 / yr"]
    distance = lines.found["luminosity distance [Mpc]"][1]
    assert distance.y[0] > distance.y[-1]
    mass = lines.found["chirp mass, source frame [M☉]"][1]
    assert mass.y[0] < mass.y[-1]


def test_lines_are_read_as_they_were_written(lines, tmp_path):
    lines.write(tmp_path / "lines.json")
    again = read_lines(tmp_path / "lines.json")
    assert isinstance(again, Lines)
    for kind in ("volume", "recall", "background"):
        for old, new in zip(getattr(lines, kind), getattr(again, kind), strict=True):
            assert old.name == new.name
            np.testing.assert_array_equal(old.y, new.y)
            np.testing.assert_array_equal(old.high, new.high)
    assert again.found.keys() == lines.found.keys()


@pytest.mark.parametrize("spoil", ["schema", "recall", "found"])
def test_lines_of_another_kind_are_refused(lines, tmp_path, spoil):
    path = tmp_path / "lines.json"
    lines.write(path)
    content = json.loads(path.read_text())
    content[spoil] = 7
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="make the report again") as caught:
        read_lines(path)
    assert str(path) in str(caught.value)


def test_rates_over_time_count_every_event_and_show_a_glitch(findings):
    result = findings.folds[0]
    background = result.background
    edges, rates = event_rates(result)
    mean = len(background.statistic) / background.livetime
    np.testing.assert_allclose(rates.mean(axis=1), mean)
    # Poisson noise of a constant rate
    expected = mean * background.livetime / (len(edges) - 1)
    pulls = (rates / mean - 1) * np.sqrt(expected)
    assert np.std(pulls) == pytest.approx(1, abs=0.25)
    # an event in the third span, by hand
    gps = background.analysed[2, 0] + 50.0
    before = sum(stop - start for start, stop in background.analysed[:2]) + 50.0
    time = background.time.copy()
    time[:200, 1] = gps
    loud = event_rates(replace(result, background=replace(background, time=time)))[1]
    place = int(before // edges[1])
    assert np.argmax(loud[1]) == place
    assert loud[1][place] > 1.5 * rates[1][place]
    np.testing.assert_array_equal(loud[0], rates[0])


def test_shown_injections_are_few_and_have_the_loudest_missed():
    rng = np.random.default_rng(3)
    snr = rng.uniform(4, 50, 20_000)
    level = np.where(rng.random(20_000) < 0.4, MISSED, "8766").astype(object)
    rows = shown_rows(snr, level)
    assert len(np.unique(rows)) == len(rows) == NUM_SHOWN
    missed = np.flatnonzero(level == MISSED)
    loudest = missed[np.argsort(-snr[missed])[:NUM_LOUD_MISSED]]
    assert np.isin(loudest, rows).all()
    assert len(shown_rows(snr[:100], level[:100])) == 100
