"""Known events and vetoes: out of the background, marked in the zero lag, by detector."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import RATE, Setup
from infer.exclusion import LeftOut, Reason, find_left_out
from infer.search import frames as make_frames
from infer.search import merge, search, slides, zero_lag
from infer.windows import read_windows
from ledger import EventSet, ProductError, SegmentList, StrainIndex
from ledger.product import read_provenance
from preprocessing.slides import FrameTimeline, Stretch
from runtime import load_experiment, make_provenance

GATES = "# centre, half width, taper\n1030.0 0.5 0.25\n2020 1 0\n"
LISTS = """<?xml version='1.0' encoding='utf-8'?>
<!DOCTYPE LIGO_LW SYSTEM "http://ldas-sw.ligo.caltech.edu/doc/ligolwAPI/html/ligolw_dtd.txt">
<LIGO_LW>
 <Table Name="segment_definer:table">
  <Column Name="process:process_id" Type="int_8s"/>
  <Column Name="segment_def_id" Type="int_8s"/>
  <Column Name="ifos" Type="lstring"/>
  <Column Name="name" Type="lstring"/>
  <Column Name="version" Type="int_4s"/>
  <Stream Name="segment_definer:table" Delimiter="," Type="Local">
   0,0,"H1","HUM",2,
   0,1,"L1","HUM",1
  </Stream>
 </Table>
 <Table Name="segment_summary:table">
  <Column Name="process:process_id" Type="int_8s"/>
  <Column Name="segment_sum_id" Type="int_8s"/>
  <Column Name="start_time" Type="int_4s"/>
  <Column Name="start_time_ns" Type="int_4s"/>
  <Column Name="end_time" Type="int_4s"/>
  <Column Name="end_time_ns" Type="int_4s"/>
  <Column Name="segment_definer:segment_def_id" Type="int_8s"/>
  <Stream Name="segment_summary:table" Delimiter="," Type="Local">
   0,0,0,0,5000,0,0,
   0,1,0,0,5000,0,1
  </Stream>
 </Table>
 <Table Name="segment:table">
  <Column Name="process:process_id" Type="int_8s"/>
  <Column Name="segment_id" Type="int_8s"/>
  <Column Name="start_time" Type="int_4s"/>
  <Column Name="start_time_ns" Type="int_4s"/>
  <Column Name="end_time" Type="int_4s"/>
  <Column Name="end_time_ns" Type="int_4s"/>
  <Column Name="segment_definer:segment_def_id" Type="int_8s"/>
  <Stream Name="segment:table" Delimiter="," Type="Local">
   0,0,2010,500000000,2012,0,0,
   0,1,3010,0,3011,0,1
  </Stream>
 </Table>
</LIGO_LW>
"""


def segments_file(path: Path, setup: Setup) -> None:
    """What `datagen query` writes, with a veto of each detector and one of both."""
    empty = np.zeros(0)
    SegmentList(
        ifos=("H1", "L1"),
        flags=("H1_DATA", "L1_DATA"),
        start=empty,
        stop=empty,
        role=empty,
        science_ifo=empty,
        science_start=empty,
        science_stop=empty,
        veto_name=["CAT2 H1:HUM", "gate", "CAT3 BOTH"],
        veto_ifo=np.array([0, 1, -1]),
        veto_start=np.array([1011.0, 2011.0, 3012.0]),
        veto_stop=np.array([1012.0, 2012.0, 3012.5]),
        event_label=[],
        event_time=empty,
    ).write(path, make_provenance("test", load_experiment(setup.experiment)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# known\n10 12\n20.5 21\n", [(10, 12), (20.5, 21)]),
        ("start,stop\n10,12\n", [(10, 12)]),
        ("10 12 2\n", [(10, 12)]),
        ("0 10 12 2\n1 20 21 1\n", [(10, 12), (20, 21)]),
        (GATES, [(1029.25, 1030.75), (2019, 2021)]),
        ("", []),
    ],
)
def test_forms_of_text(tmp_path: Path, text: str, expected: list[tuple[float, float]]) -> None:
    path = tmp_path / "windows.txt"
    path.write_text(text)
    assert read_windows(path) == {"windows.txt": expected}


@pytest.mark.parametrize(
    "text", ["12 10\n", "10 12\nten twelve\n", "1 2 3 4 5\n", "start stop\n", "10 nan\n", "7\n"]
)
def test_text_that_is_no_window(tmp_path: Path, text: str) -> None:
    path = tmp_path / "windows.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"windows\.txt is no table of GPS windows"):
        read_windows(path)


def test_files_of_detectors(setup: Setup, tmp_path: Path) -> None:
    xml, product = tmp_path / "flags.xml", tmp_path / "segments.hdf5"
    xml.write_text(LISTS)
    segments_file(product, setup)
    assert read_windows(xml, "H1") == {"HUM:2": [(2010.5, 2012)]}
    assert read_windows(xml, "L1") == {"HUM:1": [(3010, 3011)]}
    assert read_windows(product, "H1") == {
        "CAT2 H1:HUM": [(1011, 1012)],
        "CAT3 BOTH": [(3012, 3012.5)],
    }
    assert read_windows(product, "L1") == {"gate": [(2011, 2012)], "CAT3 BOTH": [(3012, 3012.5)]}
    for path in (xml, product):
        with pytest.raises(ValueError, match="holds nothing of detector V1"):
            read_windows(path, "V1")
    xml.write_text("no XML")
    with pytest.raises(ValueError, match=r"flags\.xml holds no segments that can be read"):
        read_windows(xml, "H1")
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.txt"):
        read_windows(tmp_path / "absent.txt")


def test_marks_follow_an_independent_count() -> None:
    rng = np.random.default_rng(0)
    windows = [(float(a), float(a + b)) for a, b in rng.uniform(0, [[90, 3]] * 12)]
    reasons = (Reason("all", None, windows[:4]), Reason("second", 1, windows[4:]))
    start = rng.uniform(0, 95, (300, 2))
    columns = LeftOut(reasons).marks(start, 0.75)
    expected = []
    for i, each in enumerate(start):
        for why, ifos in zip(reasons, ((0, 1), (1,)), strict=True):
            spans = [(each[j], each[j] + 0.75) for j in ifos]
            if any(a < stop and begin < b for a, b in spans for begin, stop in why.windows):
                expected.append((i, why.name, -1 if why.ifo is None else why.ifo))
    found = list(zip(columns["mark"], columns["mark_reason"], columns["mark_ifo"], strict=True))
    assert found == expected
    assert {name for _, name, _ in expected} == {"all", "second"}


def test_livetime_of_a_slide_equals_an_independent_count() -> None:
    """Each detector loses its own vetoes, in the pairing of the slide."""
    rate, window, view = 8, 12, 0.5
    spans = [(100.0, 400), (300.0, 640)]
    common, first, second = [(110.0, 111.0)], [(120.3, 121.0)], [(320.0, 322.0), (95.0, 101.0)]
    timeline = FrameTimeline(
        [Stretch(start, size, common, "", {0: first, 1: second}) for start, size in spans],
        rate,
        window,
        view,
    )
    row = [(s, start + i / rate) for s, (start, n) in enumerate(spans) for i in range(n)]
    for shift in (0, 24, 333, 1000):
        count = 0
        for i in range(len(row)):
            good = True
            for move, vetoes in ((0, first), (shift, second)):
                frames = [(i + move) % len(row) + j for j in range(window)]
                if frames[-1] >= len(row) or row[frames[0]][0] != row[frames[-1]][0]:
                    good = False
                    break
                begin, end = row[frames[0]][1], row[frames[-1]][1] + view
                good &= not any(begin < b and a < end for a, b in common + vetoes)
            count += good
        assert np.count_nonzero(timeline.scored((0, shift))) == count


@pytest.fixture
def vetoed(setup: Setup, tmp_path: Path) -> Path:
    """The experiment with vetoes of one detector each."""
    content = yaml.safe_load(setup.experiment.read_text())
    content["search"]["vetoes"] = {"H1": ["flags.xml"], "L1": ["segments.hdf5", "more.txt"]}
    (tmp_path / "flags.xml").write_text(LISTS)
    (tmp_path / "more.txt").write_text("1040 1050\n")
    segments_file(tmp_path / "segments.hdf5", setup)
    path = tmp_path / "experiment.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_vetoes_leave_the_background_and_mark_the_zero_lag(
    setup: Setup, vetoed: Path, tmp_path: Path
) -> None:
    inputs = {**setup.inputs, "experiment": vetoed, "injections": None}
    search(repository=setup.streaming, output=tmp_path / "events", **inputs)
    plain = {**setup.inputs, "injections": None}
    search(repository=setup.streaming, output=tmp_path / "plain", **plain)
    names = sorted(f.name for f in (tmp_path / "events").iterdir())
    assert names == ["background.hdf5", "zero-lag.hdf5"]
    background = EventSet.read(tmp_path / "events/background.hdf5")
    # the peak of the evidence lies within what the score looks at, which touches no veto
    own = {
        0: [(1028, 1032), (2010.5, 2012)],
        1: [(1028, 1032), (2011, 2012), (3012, 3012.5), (1040, 1050)],
    }
    for ifo, windows in own.items():
        times = background.time[:, ifo]
        assert not any(((a <= times) & (times < b)).any() for a, b in windows)
    # and the other detector's data at those times are still used
    assert ((background.time[:, 0] > 1040) & (background.time[:, 0] < 1050)).any()
    # second by second, from the spans analysed
    counted = [_count(setup, background, own, i) for i in range(len(background.slide_shift))]
    np.testing.assert_allclose(background.slide_livetime, counted, atol=1e-9)
    marked, unmarked = (EventSet.read(tmp_path / n / "zero-lag.hdf5") for n in ("events", "plain"))
    # the zero lag keeps all: the same events, some with a name
    np.testing.assert_array_equal(marked.statistic, unmarked.statistic)
    assert marked.livetime == unmarked.livetime
    reasons = marked.reasons()
    loudest = int(marked.statistic.argmax())
    assert reasons[loudest] == ["GW"]
    near = [i for i, t in enumerate(marked.time[:, 0]) if 1040 < t < 1050]
    assert near
    assert all("more.txt (L1)" in reasons[i] for i in near)
    far = [i for i, t in enumerate(marked.time[:, 0]) if 1015 < t < 1025]
    assert far
    assert not any(i in reasons for i in far)
    assert set(unmarked.mark_reason) == {"GW"}


def _count(
    setup: Setup, background: EventSet, own: dict[int, list[tuple[float, float]]], slide: int
) -> float:
    """Livetime of a slide [s]: 16 scores per second of kernel plus integration, one by one."""
    hop = setup.network.hop_size
    # of the towers; the head sees more of their frames
    view = setup.network.receptive_size - (setup.network.head_size - 1) * hop
    kernel, mean = setup.network.kernel_size, 8
    seen = (kernel + (mean - 1) * RATE // 16) / RATE
    row = []
    for start, stop in background.analysed:
        frames = (round((stop - start) * RATE) - view) // hop + 1
        row += [(start + i * hop / RATE, stop) for i in range(frames)]
    moves = np.round(background.slide_shift[slide] * RATE / hop).astype(int)
    count = 0
    for i in range(0, len(row), RATE // 16 // hop):
        good = True
        for ifo, windows in own.items():
            begin, last = row[(i + moves[ifo]) % len(row)]
            good &= begin + seen <= last
            good &= not any(begin < b and a < begin + seen for a, b in windows)
        count += good
    return count / 16


def test_parts_that_left_out_other_times_are_not_joined(setup: Setup, tmp_path: Path) -> None:
    common = {
        "experiment": setup.experiment,
        "repository": setup.streaming,
        "strain": setup.folder / "index.hdf5",
    }
    make_frames(output=tmp_path / "frames", **common)
    table = tmp_path / "windows.txt"
    table.write_text("2010 2025\n")
    slides(frames=tmp_path / "frames", output=tmp_path / "s.hdf5", exclude=table, **common)
    zero_lag(frames=tmp_path / "frames", output=tmp_path / "z.hdf5", **common)
    parts = {"slides": [tmp_path / "s.hdf5"], "zero_lag": tmp_path / "z.hdf5"}
    parts |= {"frames": tmp_path / "frames", "output": tmp_path / "events"}
    with pytest.raises(ProductError, match=r"z\.hdf5 was made from other inputs"):
        merge(**common, **parts)
    zero_lag(frames=tmp_path / "frames", output=tmp_path / "z.hdf5", exclude=table, **common)
    merge(**common, **parts)
    search(
        repository=setup.streaming,
        output=tmp_path / "whole",
        exclude=table,
        **{**setup.inputs, "injections": None},
    )
    for name in ("background.hdf5", "zero-lag.hdf5"):
        whole = (tmp_path / "whole" / name).read_bytes()
        assert (tmp_path / "events" / name).read_bytes() == whole
    marks = EventSet.read(tmp_path / "events/zero-lag.hdf5").mark_reason
    assert set(marks) == {"GW", "windows.txt"}
    assert "injections" not in read_provenance(tmp_path / "whole/zero-lag.hdf5").parents


def test_a_veto_file_that_is_missing_is_named(setup: Setup, vetoed: Path) -> None:
    (vetoed.parent / "more.txt").unlink()
    index = StrainIndex.read(setup.folder / "index.hdf5")
    with pytest.raises(FileNotFoundError, match=r"no file .*more\.txt"):
        find_left_out(index, load_experiment(vetoed), None)
