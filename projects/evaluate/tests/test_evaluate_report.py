"""The command line from the products of a search to the report."""

import json
import shutil
from copy import copy

import h5py
import numpy as np
import pytest
from evaluate.candidates import find_candidates, find_known
from evaluate.findings import find
from evaluate.inputs import read_results
from evaluate.rates import YEAR
from evaluate.report import report
from evaluate.summary import summarise
from fake_search import FakeSearch
from ledger import EventSet, ProductError, RecoveredInjections
from priors import PowerLawMasses

KEYS = {
    "schema": None,
    "experiment": None,
    "version": None,
    "ifos": None,
    "zero_lag_livetime_s": None,
    "background": {"livetime_s", "num_slides", "num_events", "loudest"},
    "injections": {"num_injected", "num_accepted", "num_rejected", "num_found"},
    "sensitive_volume": {
        "mass_1_source",
        "mass_2_source",
        "far_per_year",
        "volume_gpc3",
        "std_gpc3",
        "bootstrap_std_gpc3",
        "time_volume_gpc3_yr",
        "time_volume_std_gpc3_yr",
        "effective_samples",
        "covered",
    },
    "population_volume": None,
    "signals": {
        "population",
        "num_events",
        "noise_events",
        "expected",
        "expected_interval",
        "rate_per_gpc3_yr",
        "rate_interval_per_gpc3_yr",
        "effective_samples",
    },
    "p_astro_calibration": None,
    "zero_lag": {
        "gps",
        "statistic",
        "far_per_year",
        "far_interval_per_year",
        "noise_events",
        "false_alarm_probability",
        "p_astro",
        "p_astro_unextrapolated",
        "p_astro_is_extrapolated",
        "p_class",
        "known_event",
        "left_out",
        "fold",
    },
    "known_events": None,
    "folds": None,
    "warnings": None,
    "settings": None,
    "code_version": None,
    "parents": {"strain", "folds"},
    "stages": None,
}


@pytest.fixture
def search(finished_search, tmp_path):
    """A search that a test may spoil."""
    shutil.copytree(finished_search.folder, tmp_path / "search")
    mine = copy(finished_search)
    mine.folder = tmp_path / "search"

    def moved(path):
        return mine.folder / path.relative_to(finished_search.folder)

    for name in ("experiment_file", "strain", "stages"):
        setattr(mine, name, moved(getattr(mine, name)))
    mine.results = [moved(path) for path in mine.results]
    mine.runs = [moved(path) for path in mine.runs]
    return mine


def summary_of(search, **changes):
    """What `report` writes into `summary.json`."""
    findings = find(**{**search.inputs(), **changes})
    return json.loads(json.dumps(summarise(findings), allow_nan=False))


def test_summary_has_the_keys_of_its_schema(made):
    _, summary = made
    assert summary.keys() == KEYS.keys()
    assert summary["schema"] == 1
    for name, inner in KEYS.items():
        if inner:
            items = summary[name] if isinstance(summary[name], list) else [summary[name]]
            assert items
            assert all(item.keys() == inner for item in items)
    assert summary["stages"]["train"] == {"wall_s": 311.0}


def test_summary_agrees_with_the_products(made, finished_search):
    _, summary = made
    backgrounds = [EventSet.read(f / "background.hdf5") for f in finished_search.results]
    zero_lags = [EventSet.read(f / "zero-lag.hdf5") for f in finished_search.results]
    injections = [RecoveredInjections.read(f / "foreground.hdf5") for f in finished_search.results]
    assert summary["background"]["livetime_s"] == sum(b.livetime for b in backgrounds)
    assert summary["zero_lag_livetime_s"] == sum(z.livetime for z in zero_lags)
    assert summary["injections"]["num_injected"] == 2 * finished_search.num_injections
    assert len(summary["zero_lag"]) == sum(len(z.statistic) for z in zero_lags)
    # each event against its own fold, by hand
    for event in summary["zero_lag"]:
        background = backgrounds[event["fold"]]
        louder = np.sum(background.statistic >= event["statistic"])
        expected = max(louder, 1) * YEAR / background.livetime
        assert event["far_per_year"] == pytest.approx(expected)
        low, high = event["far_interval_per_year"]
        assert low <= louder * YEAR / background.livetime <= high
        assert (low == 0) == (louder == 0)
    # injections found at one per hour, by hand
    found = 0
    for background, recovered in zip(backgrounds, injections, strict=True):
        allowed = int(8766 * background.livetime / YEAR)
        found += np.sum(recovered.statistic >= np.sort(background.statistic)[-allowed])
    assert summary["injections"]["num_found"]["8766"] == found


def test_rates_that_the_livetime_does_not_support_are_null(made):
    _, summary = made
    assert summary["injections"]["num_found"]["12.175"] is None
    assert summary["injections"]["num_found"]["8766"] > 0
    volumes = [v for v in summary["sensitive_volume"] if v["far_per_year"] == 12.175]
    assert len(volumes) == 4
    assert all(v["volume_gpc3"] is None and v["std_gpc3"] is None for v in volumes)
    assert any("12.175 per year is not supported" in n for n in summary["folds"][0]["notes"])


def test_zero_lag_is_sorted_the_most_significant_first(made):
    _, summary = made
    rates = [event["far_per_year"] for event in summary["zero_lag"]]
    assert rates == sorted(rates)
    assert [event["known_event"] for event in summary["zero_lag"][:2]] == [
        "GW-loud-too",
        "GW-loud",
    ]


def test_known_events(made):
    _, summary = made
    known = {event["label"]: event for event in summary["known_events"]}
    assert known["GW-loud"]["found"]
    assert known["GW-loud"]["far_is_upper_limit"]
    assert known["GW-loud"]["zero_lag_gps"] == pytest.approx(known["GW-loud"]["gps"] + 0.02)
    assert known["GW-loud"]["background_livetime_s"] == pytest.approx(4e5)
    assert not known["GW-quiet"]["found"]
    assert known["GW-quiet"]["far_per_year"] > 8766
    assert "no zero-lag event" in known["GW-missed"]["sentence"]
    assert known["GW-elsewhere"]["sentence"] == "outside the analysed time"
    assert known["GW-elsewhere"]["fold"] is None


def test_analysed_spans_are_half_open(search):
    """An event at the end of a span was not searched."""
    index, folds = read_results(search.results, search.experiment, search.strain)
    stop = float(folds[0].zero_lag.analysed[0, 1])
    index.known_time[:2] = stop, np.nextafter(stop, 0)
    candidates = find_candidates(folds, index, 0.9)
    known = {event.gps: event for event in find_known(folds, index, candidates, 8766)}
    assert known[stop].fold is None
    assert known[np.nextafter(stop, 0)].fold == 0


def test_event_below_the_kept_background_has_no_rate(search):
    search.rewrite(0, "background", threshold=2.0)
    index, folds = read_results(search.results, search.experiment, search.strain)
    candidates = find_candidates(folds, index, 0.9)
    quiet = [event for event in candidates if event.fold == 0 and event.statistic < 2]
    assert quiet
    assert all(event.far is None and event.far_interval is None for event in quiet)
    assert candidates[-1].far is None


def test_injection_recovered_elsewhere_is_not_found(search):
    recovered = RecoveredInjections.read(search.results[0] / "foreground.hdf5")
    search.rewrite(0, "foreground", time=recovered.injection_time + 100.0)
    recovered = RecoveredInjections.read(search.results[1] / "foreground.hdf5")
    search.rewrite(1, "foreground", time=recovered.injection_time + 100.0)
    summary = summary_of(search)
    assert summary["injections"]["num_found"]["8766"] == 0
    assert all(not v["volume_gpc3"] for v in summary["sensitive_volume"])


def refuses(search, error, *parts, **changes):
    output = search.folder / "report"
    with pytest.raises(error) as caught:
        report(**{**search.keywords(output), **changes})
    for part in parts:
        assert part in str(caught.value)
    assert not output.exists()


@pytest.mark.parametrize("name", ["background", "foreground", "zero-lag"])
def test_missing_file(search, name):
    (search.results[1] / f"{name}.hdf5").unlink()
    refuses(search, FileNotFoundError, f"{name}.hdf5")


def test_missing_folder_metrics_stages_and_index(search):
    refuses(search, FileNotFoundError, "infer search", results=[search.folder / "none"] * 2)
    refuses(search, FileNotFoundError, "metrics.csv", runs=[search.folder])
    refuses(search, FileNotFoundError, "none.json", stages=search.folder / "none.json")
    refuses(search, FileNotFoundError, "none.hdf5", strain=search.folder / "none.hdf5")


def test_truncated_file(search):
    path = search.results[0] / "background.hdf5"
    path.write_bytes(path.read_bytes()[:5000])
    refuses(search, ProductError, "truncated", str(path))


def test_swapped_kinds(search):
    shutil.copy(search.results[0] / "background.hdf5", search.results[0] / "zero-lag.hdf5")
    refuses(search, ProductError, "'background'", "expected 'zero-lag'")


@pytest.mark.parametrize("name", ["background", "foreground", "zero-lag"])
def test_products_of_other_settings(search, name):
    path = search.results[0] / f"{name}.hdf5"
    with h5py.File(path, "r+") as file:
        text = file.attrs["settings"]
        assert "sample_rate: 1024.0" in text
        file.attrs["settings"] = text.replace("sample_rate: 1024.0", "sample_rate: 2048.0")
    refuses(search, ProductError, "sample_rate = 2048.0", "1024.0", str(path), "experiment.yaml")


def test_index_of_other_settings(search):
    with h5py.File(search.strain, "r+") as file:
        text = file.attrs["settings"]
        file.attrs["settings"] = text.replace("- H1\n", "- V1\n")
    refuses(search, ProductError, "ifos", "V1", str(search.strain))


def test_other_thresholds_of_the_report_are_no_other_search(search):
    text = search.experiment_file.read_text()
    search.experiment_file.write_text(text.replace("12.175", "20000"))
    summary = summary_of(search)
    assert summary["injections"]["num_found"]["20000"] > 0


@pytest.mark.parametrize("name", ["foreground", "zero-lag"])
def test_file_of_another_fold(search, name):
    shutil.copy(search.results[1] / f"{name}.hdf5", search.results[0] / f"{name}.hdf5")
    refuses(search, ProductError, f"{name}.hdf5 holds fold 1", "fold 0")


def test_missing_or_double_fold(search):
    refuses(search, ProductError, "[0]", "[0, 1]", results=search.results[:1])
    refuses(search, ProductError, "[0, 0]", results=[search.results[0]] * 2)


def test_folds_in_any_order(made, search):
    assert summary_of(search, results=search.results[::-1]) == made[1]


def test_time_searched_twice(search):
    other = EventSet.read(search.results[0] / "zero-lag.hdf5")
    search.rewrite(1, "zero-lag", analysed=other.analysed)
    refuses(search, ProductError, "searched twice", "fold 0", "fold 1")


def test_empty_background(search):
    nothing = {"statistic": np.empty(0), "time": np.empty((0, 2))}
    nothing |= {"slide": np.empty(0), "fold": np.empty(0)}
    search.rewrite(0, "background", **nothing)
    refuses(search, ProductError, "no event", "search.background_livetime")


def test_no_livetime(search):
    events = EventSet.read(search.results[0] / "background.hdf5")
    search.rewrite(0, "background", slide_livetime=0 * events.slide_livetime)
    refuses(search, ProductError, "livetime of 0.0 s", "slide_step")


def test_zero_lag_in_the_background(search):
    events = EventSet.read(search.results[0] / "background.hdf5")
    search.rewrite(0, "background", slide_shift=events.slide_shift * 0 + 3.0)
    refuses(search, ProductError, "holds the zero lag")


def test_other_parents(search):
    refuses_with = {"strain": search.results[1] / "zero-lag.hdf5"}
    search.rewrite(0, "zero-lag", parents=refuses_with)
    refuses(search, ProductError, "made from strain", "index.hdf5")


def test_no_injections(search):
    empty = {"statistic": np.empty(0), "time": np.empty(0), "injection_time": np.empty(0)}
    empty |= {"snr": np.empty(0), "ifo_snr": np.empty((0, 2)), "fold": np.empty(0)}
    empty |= {"parameters": {}, "rejected": {}, "rejected_snr": np.empty(0)}
    empty |= {"rejected_file": np.empty(0), "rejected_draw": np.empty(0)}
    search.rewrite(0, "foreground", **empty)
    refuses(search, ProductError, "no injections", "datagen injections")


def test_background_in_the_window_of_a_known_event_is_told(search):
    events = EventSet.read(search.results[0] / "background.hdf5")
    events.time[:3, 1] = 1126000128.0
    search.rewrite(0, "background", time=events.time)
    summary = summary_of(search)
    assert any(note.startswith("3 background events") for note in summary["folds"][0]["notes"])
    assert not any("background events" in note for note in summary["folds"][1]["notes"])


def with_evaluation(search, text):
    """Add lines to the evaluation of the experiment."""
    content = search.experiment_file.read_text()
    assert "evaluation:\n" in content
    search.experiment_file.write_text(content.replace("evaluation:\n", f"evaluation:\n{text}"))


def test_populations_by_name_and_by_file(search):
    (search.folder / "steep.yaml").write_text(
        """
frame: source
priors:
  mass_1: PowerLaw(alpha=-3.5, minimum=8, maximum=80)
  mass_2: ConditionalPowerLaw(condition_func=bilby.gw.prior.secondary_mass_condition_function,
    alpha=1, minimum=8, maximum=80)
  redshift: bilby.gw.prior.UniformSourceFrame(minimum=0, maximum={redshift_max}, name='redshift')
  a_1: Uniform(minimum=0, maximum=0.499)
  a_2: Uniform(minimum=0, maximum=0.499)
  tilt_1: Sine(minimum=0, maximum=np.pi)
  tilt_2: Sine(minimum=0, maximum=np.pi)
  phi_12: Uniform(minimum=0, maximum=2*np.pi)
  phi_jl: Uniform(minimum=0, maximum=2*np.pi)
"""
    )
    with_evaluation(search, "  populations: [steep.yaml, end_o3_ratesandpops]\n")
    summary = summary_of(search)
    rows = {(row["population"], row["far_per_year"]): row for row in summary["population_volume"]}
    assert len(rows) == 8
    own, steep = (rows[name, 8766.0] for name in ("end_o3_ratesandpops", "steep.yaml"))
    injections = [RecoveredInjections.read(f / "foreground.hdf5") for f in search.results]
    backgrounds = [EventSet.read(f / "background.hdf5") for f in search.results]
    by_hand = np.zeros(2)
    for recovered, background in zip(injections, backgrounds, strict=True):
        allowed = int(8766 * background.livetime / YEAR)
        found = recovered.statistic >= np.sort(background.statistic)[-allowed]
        masses = [recovered.parameters[f"mass_{i}_source"] for i in "12"]
        spins = recovered.parameters["a_1"], recovered.parameters["a_2"]
        weights = np.exp(
            PowerLawMasses(-3.5, 1, 8, 80).log_prob(*masses)
            - PowerLawMasses(-2.35, 1, 5, 100).log_prob(*masses)
        )
        weights *= 4 * (np.maximum(*spins) < 0.499)
        number = len(recovered.snr) + len(recovered.rejected_snr)
        for i, each in enumerate((np.ones(len(weights)), weights)):
            # both folds search as long
            by_hand[i] += 0.5 * recovered.volume * each[found].sum() / number
    assert own["volume_gpc3"] == pytest.approx(by_hand[0])
    assert steep["volume_gpc3"] == pytest.approx(by_hand[1])
    years = summary["zero_lag_livetime_s"] / YEAR
    assert steep["time_volume_gpc3_yr"] == pytest.approx(by_hand[1] * years)
    assert own["bootstrap_std_gpc3"] == pytest.approx(own["std_gpc3"], rel=0.3)
    assert own["covered"] == steep["covered"] == 1
    assert summary["signals"]["population"] == "steep.yaml"


def test_population_that_no_weights_lead_to(search):
    with_evaluation(search, "  populations: [nonspin_bbh]\n")
    refuses(search, ValueError, "no weights lead", "a_1 is drawn in the first and 0", "densities")


def test_injections_of_detector_frame_masses(tmp_path):
    search = FakeSearch(
        tmp_path / "search",
        evaluation={"num_loudest": 0, "populations": ["nonspin_bbh"]},
        background_livetime=1e5,
        num_injections=2000,
        prior="nonspin_bbh",
    )
    summary = summary_of(search)
    pairs = {
        row["mass_1_source"]: row
        for row in summary["sensitive_volume"]
        if row["far_per_year"] == 8766
    }
    assert pairs[35]["volume_gpc3"] > 0
    # those of the farthest lie above all detector-frame masses
    assert 0.3 < pairs[35]["covered"] <= 1
    [own] = [row for row in summary["population_volume"] if row["far_per_year"] == 8766]
    assert own["covered"] == 1
    assert own["effective_samples"] == pytest.approx(summary["injections"]["num_found"]["8766"])


def test_p_astro_of_the_events(made, finished_search):
    _, summary = made
    signals = summary["signals"]
    low, high = signals["expected_interval"]
    assert 0 < low < signals["expected"] < high
    assert signals["population"] == finished_search.experiment.waveforms.prior
    events = summary["zero_lag"]
    assert signals["num_events"] == sum(event["p_astro"] is not None for event in events)
    loud = [event for event in events if event["known_event"] in ("GW-loud", "GW-loud-too")]
    assert len(loud) == 2
    for event in loud:
        assert event["p_astro"] > 0.9
        assert event["p_astro_is_extrapolated"]
        assert event["p_astro_unextrapolated"] <= event["p_astro"]
        assert event["p_class"]["BBH"] == pytest.approx(event["p_astro"])
        assert event["p_class"]["BNS"] == 0
        assert event["false_alarm_probability"] < event["noise_events"]
    told = sum(event["p_astro"] or 0 for event in events)
    assert told == pytest.approx(signals["expected"], abs=2)


def test_repeated_times_are_told(search):
    events = EventSet.read(search.results[0] / "background.hdf5")
    loudest = np.argsort(-events.statistic)[3:11]
    # one time of the second detector, whatever it is slid to
    events.time[loudest, 1] = events.analysed[2, 0] + 3.0 + 0.01 * np.arange(8)
    search.rewrite(0, "background", time=events.time)
    summary = summary_of(search)
    told = summary["folds"][0]["loudest_background"]
    assert told["num_events"] == 100
    assert told["repeated_times"][0]["ifo"] == "L1"
    assert told["repeated_times"][0]["num_events"] >= 8
    assert told["repeated_times"][0]["gps"] == pytest.approx(events.analysed[2, 0] + 3, abs=2)
    assert any("come from one disturbance" in n for n in summary["folds"][0]["notes"])
    assert not any("come from one disturbance" in n for n in summary["folds"][1]["notes"])


@pytest.mark.parametrize(
    ("text", "part"),
    [("[1, 2]", "list"), ("{", "not JSON"), ('{"train": "long"}', "'long'"), ('{"a": -1}', "-1")],
)
def test_stages_that_are_none(search, text, part):
    search.stages.write_text(text)
    refuses(search, ValueError, part)
