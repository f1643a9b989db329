"""The experiment file: what cannot be is told in a sentence."""

import itertools

import pytest
import yaml
from runtime import ExperimentError, load_experiment

IMPORTED = {"strain": {"source": "import"}}

WRONG = [
    ({"sample_rate": 1000}, "sample_rate 1000.0 is not 64 Hz times a power of two"),
    ({"sample_rate": 96}, "sample_rate 96.0 is not 64 Hz times a power of two"),
    ({"ifos": ["H1", "H1"]}, "must name each detector once"),
    ({"ifos": []}, "must name each detector once"),
    ({"ifos": ["H1", "L1", "V1"]}, "strain.noise_curves has none for V1"),
    ({"highpass": 600}, "highpass 600.0 and lowpass None must lie in order below .* 512.0"),
    ({"lowpass": 600}, "lowpass 600.0 must lie in order below"),
    ({"lowpass": 30}, "highpass 32.0 and lowpass 30.0 must lie in order"),
    ({"whitening.fftlength": 9}, "fftlength 9.0 exceeds psd_length 8.0"),
    ({"whitening.fduration": 3}, "fduration 3.0 exceeds fftlength 2.0"),
    ({"whitening.update_length": -1}, r"whitening.update_length: .*greater than 0 \(found -1\)"),
    ({"search.scores_per_second": 7}, "scores_per_second 7 must divide 64"),
    ({"search.slide_step": 1}, "slide_step 1.0 s is less than kernel plus .*, 4.0 s: one dist"),
    # 1.5 s of kernel, 0.5 s of integration, and so 4.5 s for clusters
    ({"search.cluster_length": 4.5}, "slide_step 6.0 s is less than .*cluster_length, 6.5 s"),
    ({"search.vetoes": {"V1": ["v.txt"]}}, "search.vetoes names V1, which is not among ifos"),
    ({"strain.training": [10, 10]}, r"strain.training \[10.0, 10.0\) is empty"),
    ({"strain.validation": [400, 800]}, r"strain.training .* overlaps strain.validation"),
    ({"strain.search": [1000, 1005]}, "strain.search is 5.0 s long, shorter than 10.5 s"),
    ({"strain.source": "guess"}, "guess"),
    ({"folds": 2}, "folds is 2: strain.source simulate has fixed spans, use 1"),
    ({"folds": 0}, "folds: .*greater than or equal to 1"),
    (IMPORTED, "folds is 1: imported strain needs at least 2"),
    ({"waveforms.right_pad": 4}, "right_pad 4.0 is not less than duration 4.0"),
    ({"waveforms.approximant": "Newton"}, "waveforms.approximant Newton: ml4gw has IMRPhenomD"),
    ({"seed": "lots"}, r"seed: .*integer.* \(found 'lots'\)"),
    ({"kernel_length": None}, "kernel_length: Field required"),
    ({"kernal_length": 2}, "kernal_length: Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG, ids=[w[1][:40] for w in WRONG])
def test_each_mistake_has_its_sentence(changes, sentence, write):
    path = write(changes)
    with pytest.raises(ExperimentError, match=sentence) as caught:
        load_experiment(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_good_file_is_read_whole(write):
    path = write()
    experiment = load_experiment(path)
    assert experiment.source == str(path)
    assert load_experiment(path.parent) == experiment
    assert experiment.shortest_segment == 10.5
    # settings are plain: what is written to YAML and read again is the same experiment
    again = path.with_name("again.yaml")
    again.write_text(yaml.safe_dump(experiment.settings()))
    assert load_experiment(again).settings() == experiment.settings()


def test_missing_broken_and_foreign_files(tmp_path):
    with pytest.raises(ExperimentError, match="no experiment file"):
        load_experiment(tmp_path / "gone")
    (tmp_path / "a").write_text("a: [")
    with pytest.raises(ExperimentError, match="is not YAML"):
        load_experiment(tmp_path / "a")
    (tmp_path / "a").write_text("- 1")
    with pytest.raises(ExperimentError, match="must hold a mapping, found list"):
        load_experiment(tmp_path / "a")


def test_files_cover_each_span_without_gap_or_overlap(write):
    strain = load_experiment(write()).strain
    files = strain.simulated_files()
    for role in ("training", "validation", "search"):
        spans = [(start, stop) for name, start, stop in files if name == role]
        start, stop = getattr(strain, role)
        assert spans[0][0] == start
        assert spans[-1][1] == stop
        assert all(left[1] == right[0] for left, right in itertools.pairwise(spans))
        assert all(0 < b - a <= strain.file_length for a, b in spans)


def test_digest_changes_with_every_number_and_with_nothing_else(write):
    base = load_experiment(write())
    assert load_experiment(write(name="copy.yaml")).digest() == base.digest()
    changed = [
        {"seed": 8},
        {"whitening.psd_length": 9},
        {"search.cluster_length": 3},
        {"strain.noise_curves": {"H1": "b", "L1": "a"}},
        {"evaluation.num_loudest": 1},
        {"evaluation.populations": ["spin_bbh"]},
    ]
    digests = {load_experiment(write(change)).digest() for change in changed}
    assert len(digests | {base.digest()}) == len(changed) + 1
    assert base.digest("lr: 1") != base.digest("lr: 2")
    assert len(base.digest()) == 8


def test_an_experiment_cannot_be_changed(write):
    experiment = load_experiment(write())
    with pytest.raises(ValueError, match="frozen"):
        experiment.seed = 1


FETCHED = {
    "source": "fetch",
    "training": [1000, 4000],
    "validation": [4000, 5000],
    "search": [5000, 6000],
}


def test_fetched_strain_is_analysed_below_the_anti_alias_filter(write):
    changes = {"strain": FETCHED, "sample_rate": 1024}
    for wrong in ({}, {"lowpass": 420.0}):
        with pytest.raises(ExperimentError, match=r"lowpass is .*, expected at most 419.84 Hz"):
            load_experiment(write(changes | wrong))
    assert load_experiment(write({**changes, "lowpass": 419.0})).strain.flag("H1") == "H1_DATA"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"simulated": ["training"]}, "simulated names training: give strain.noise too"),
        ({"vetoes": {"categories": ["CAT1"]}}, "vetoes.categories needs vetoes.definer"),
        ({"file_length": 30000}, "file_length: .*less than or equal to 20000"),
        (
            {"simulated": ["training"], "noise": {"noise_curves": {"H1": "a"}}},
            "noise_curves has none for L1",
        ),
        (
            {
                "simulated": ["training", "validation", "search"],
                "noise": {"noise_curves": {"H1": "a", "L1": "b"}},
            },
            "names every role: use source: simulate",
        ),
        ({"search": [4500, 6000]}, r"strain.validation .* overlaps strain.search"),
    ],
)
def test_each_mistake_about_fetched_strain_has_its_sentence(changes, sentence, write):
    with pytest.raises(ExperimentError, match=sentence):
        load_experiment(write({"strain": FETCHED | changes, "lowpass": 50.0}))


def test_files_that_an_experiment_may_name(write):
    strain = FETCHED | {
        "segments": "s.csv",
        "vetoes": {"definer": "d.xml", "categories": ["CAT1"], "gates": {"H1": "g.txt"}},
        "simulated": ["training"],
        "noise": {
            "noise_curves": {"H1": ["a", "b"], "L1": "b"},
            "glitches": {"rate": 0.1, "shapes": "x.hdf5"},
        },
    }
    changes = {"strain": strain, "lowpass": 50.0, "waveforms.prior": "mine.yaml"}
    changes |= {"evaluation.populations": ["target.prior", "spin_bbh"]}
    changes |= {"search.vetoes": {"L1": ["l.xml", "more.txt"]}}
    named = load_experiment(write(changes)).files()
    expected = ["a", "b", "d.xml", "g.txt", "l.xml", "mine.yaml", "more.txt", "s.csv"]
    assert named == [*expected, "spin_bbh", "target.prior", "x.hdf5"]
