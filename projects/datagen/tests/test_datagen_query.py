import csv
import itertools
import logging
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import numpy as np
import pytest
from datagen.query import query_segments
from datagen.query.catalogues import read_events
from datagen.query.coincidence import role_yield
from datagen.query.intervals import intervals, length
from datagen.query.science import Science
from datagen.query.segment_files import read_flags, read_segments
from datagen.query.vetoes import (
    Veto,
    category_vetoes,
    gate_vetoes,
    read_definer,
    read_gates,
)
from gwpy.segments import DataQualityDict, DataQualityFlag, SegmentList
from ledger import ROLES, read_provenance
from ledger import SegmentList as Product
from runtime.experiment import Vetoes

SPANS = {"training": [1000, 5000], "validation": [5000, 7000], "search": [7000, 12000]}


@pytest.fixture(scope="session")
def observing(real_data):
    folder = real_data.parent / "observing"
    if not folder.is_dir():
        pytest.skip(f"no published segments at {folder}")
    return folder


@pytest.fixture
def fetched(edited):
    """Write an experiment whose strain is fetched, with files beside it."""

    def write(files=None, ifos=("H1", "L1"), **strain):
        content = {"source": "fetch"} | SPANS | strain
        if "minimum_length" not in strain:
            content["minimum_length"] = dict.fromkeys(ROLES, 20.0)
        folder = edited(strain=content, ifos=list(ifos), lowpass=200.0)
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
        return folder

    return write


def masks(pairs, size):
    """Whether each second is in one of the segments."""
    found = np.zeros(size, dtype=bool)
    for start, stop in pairs:
        found[max(int(start), 0) : max(int(stop), 0)] = True
    return found


def mask_runs(mask):
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(int), [0]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def random_pairs(rng, size, number, longest):
    start = rng.integers(-50, size, number)
    return [
        (int(a), int(b))
        for a, b in zip(start, start + rng.integers(1, longest, number), strict=True)
    ]


def cut(pairs, start, stop, least):
    """Segments in a span that are long enough, with numpy alone."""
    low = np.maximum(pairs[:, 0], start)
    high = np.minimum(pairs[:, 1], stop)
    return [(a, b) for a, b in zip(low, high, strict=True) if b - a >= least]


def test_published_segments(observing, edited, tmp_path):
    """The 362 published segments, cut to three spans; against numpy, and gwpy's reader."""
    source = observing / "H1L1-O3a-segments.csv"
    table = np.loadtxt(source, delimiter=",", skiprows=1)[:, 1:]
    assert len(read_segments(source)) == len(table) == 362
    assert length(read_segments(source)) == (table[:, 1] - table[:, 0]).sum()
    spans = {
        "training": [1240579783, 1241443783],
        "validation": [1241443783, 1242443783.5],
        "search": [1250643783, 1253035783],
    }
    strain = {"source": "fetch", "segments": str(source), **spans}
    query_segments(edited(strain=strain, lowpass=200.0), tmp_path / "out")
    product = Product.read(tmp_path / "out" / "segments.hdf5")
    expected = []
    for (role, span), least in zip(spans.items(), (1024, 1024, 128), strict=True):
        part = cut(table, *span, least)
        expected += part
        assert product.livetime(role) == sum(b - a for a, b in part)
        assert (product.role == ROLES.index(role)).sum() == len(part) > 10
    assert list(zip(product.start, product.stop, strict=True)) == expected
    assert product.start.dtype == np.float64
    text = SegmentList.read(tmp_path / "out" / "segments.txt", format="segwizard")
    assert [(float(a), float(b)) for a, b in text] == expected
    # both detectors have what the file has, in the spans
    for ifo in (0, 1):
        own = product.science_ifo == ifo
        total = sum(b - a for span in spans.values() for a, b in cut(table, *span, 1e-9))
        assert (product.science_stop - product.science_start)[own].sum() == total
    assert product.flags == (source.name, source.name)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_set_algebra_against_masks(number):
    """Coincidence less vetoes, run edges, spans and minimum length, second by second."""
    rng, size = np.random.default_rng(number), 3000
    ifos = ("H1", "L1", "V1", "K1")[:number]
    for _ in range(40):
        active = [random_pairs(rng, size, 12, 900) for _ in ifos]
        vetoed = [
            (name, index, random_pairs(rng, size, 6, 60))
            for index in range(number)
            for name in ("CAT1 a", "CAT1 b", "CAT2 c", "gate")
        ]
        edges = rng.integers(0, size, 3).tolist()
        start, stop = np.sort(rng.choice(size, 2, replace=False)).tolist()
        least = int(rng.integers(1, 60))
        found = role_yield(
            "search",
            (start, stop),
            least,
            ifos,
            Science(ifos, tuple(map(intervals, active)), tuple(edges)),
            [Veto(name, index, intervals(pairs)) for name, index, pairs in vetoed],
        )
        span = masks([(start, stop)], size + 1000)
        science = [masks(pairs, len(span)) & span for pairs in active]
        left = [mask.copy() for mask in science]
        for _, index, pairs in vetoed:
            left[index] &= ~masks(pairs, len(span))
        coincident = np.logical_and.reduce(left)
        pieces = []
        for first, last in itertools.pairwise([0, *sorted(edges), len(span)]):
            pieces += mask_runs(coincident & masks([(first, last)], len(span)))
        assert found.segments == [(a, b) for a, b in pieces if b - a >= least]
        assert found.coincident == np.logical_and.reduce(science).sum()
        assert found.unvetoed == coincident.sum()
        assert found.science == {i: m.sum() for i, m in zip(ifos, science, strict=True)}
        for index, ifo in enumerate(ifos):
            for kind in ("CAT1", "CAT2", "gate"):
                taken = masks(
                    [p for n, i, ps in vetoed for p in ps if i == index and n.startswith(kind)],
                    len(span),
                )
                assert found.vetoed[ifo][kind] == (taken & science[index]).sum()


def definer_rows(path):
    """Rows of the veto_definer table, without a reader of the format."""
    table = next(
        t for t in ElementTree.parse(path).iter("Table") if t.get("Name") == "veto_definer:table"
    )
    names = [c.get("Name").split(":")[1] for c in table.iter("Column")]
    lines = [line.strip() for line in table.find("Stream").text.strip().splitlines()]
    return [dict(zip(names, cells, strict=False)) for cells in csv.reader(lines)]


@pytest.mark.parametrize("kind", ["xml", "xml.gz", "hdf5"])
def test_categories_against_masks(observing, tmp_path, kind):
    """Made-up segments of the real definer's flags: validity, then padding, by category."""
    first, size = 1256655618, 200000
    rng = np.random.default_rng(5)
    definer = observing / "H1L1-O3-CBC-veto-definer.xml"
    rows = definer_rows(definer)
    flags = DataQualityDict()
    for row in rows:
        name = f"{row['ifo']}:{row['name']}:{row['version']}"
        pairs = [(first + a, first + b) for a, b in random_pairs(rng, size, 5, 400)]
        known = [(first - 500, first + size + 500)]
        flags[name] = DataQualityFlag(name, active=pairs, known=known)
    flags.write(tmp_path / f"segments.{kind}", format="hdf5" if kind == "hdf5" else "ligolw")
    wanted = intervals([(first, first + size)])
    for categories in [("CAT1",), ("CAT2", "CAT3"), ("CAT1", "CAT2", "CAT3")]:
        found = category_vetoes(
            Vetoes(categories=categories, definer=str(definer), segments=f"segments.{kind}"),
            ("L1", "H1"),
            wanted,
            tmp_path,
        )
        for index, ifo in enumerate(("L1", "H1")):
            expected = np.zeros(size, dtype=bool)
            for row in rows:
                if row["ifo"] != ifo or f"CAT{row['category']}" not in categories:
                    continue
                begin, end = int(row["start_time"]), int(row["end_time"]) or 2**31
                expected |= masks(
                    [
                        (
                            max(int(a), begin) + int(row["start_pad"]) - first,
                            min(int(b), end) + int(row["end_pad"]) - first,
                        )
                        for a, b in flags[f"{ifo}:{row['name']}:{row['version']}"].active
                        if max(a, begin) < min(b, end)
                    ],
                    size,
                )
            got = intervals(
                itertools.chain(*(veto.segments for veto in found if veto.ifo == index))
            )
            assert [(a - first, b - first) for a, b in got] == mask_runs(expected)
            assert expected.sum() > 1000
        assert {veto.kind for veto in found} == set(categories)


def test_real_definer(observing):
    definer = observing / "H1L1-O3-CBC-veto-definer.xml"
    rows = read_definer(definer)
    assert [row.flag for row in rows] == [
        f"{r['ifo']}:{r['name']}:{r['version']}" for r in definer_rows(definer)
    ]
    assert len(rows) == 43
    assert {row.category for row in rows} == {"CAT1", "CAT2", "CAT3"}
    (burst,) = [row for row in rows if row.flag == "H1:DMT-INJECTION_BURST:1"]
    assert (burst.start_pad, burst.end_pad, burst.stop) == (-4, 4, np.inf)


def test_real_gates(observing):
    """Centre and reach of the published gates, merged by sorting."""
    for ifo in ("H1", "L1"):
        centre, half, taper = np.loadtxt(observing / f"{ifo}-O3-gates.txt").T
        order = np.argsort(centre - half - taper)
        low, high = (centre - half - taper)[order], (centre + half + taper)[order]
        top = np.maximum.accumulate(high)
        begins = np.concatenate(([True], low[1:] > top[:-1]))
        ends = np.concatenate((begins[1:], [True]))
        found = read_gates(observing / f"{ifo}-O3-gates.txt")
        assert len(found) == begins.sum()
        assert length(found) == pytest.approx((top[ends] - low[begins]).sum())


TABLE = "start,stop\n900,4000\n4500,12500\n"


def test_gates_and_roles_end_to_end(fetched, tmp_path):
    experiment = fetched(
        {"s.csv": TABLE, "h.txt": "2000 0.5 0.25\n# no gate\n4510 10 0\n", "l.txt": "8000 1 1"},
        segments="s.csv",
        vetoes={"gates": {"H1": "h.txt", "L1": "l.txt"}},
    )
    query_segments(experiment, tmp_path / "out")
    product = Product.read(tmp_path / "out" / "segments.hdf5")
    assert list(zip(product.start, product.stop, product.role, strict=True)) == [
        (1000, 1999.25, 0),
        (2000.75, 4000, 0),
        (4520, 5000, 0),
        (5000, 7000, 1),
        (7000, 7998, 2),
        (8002, 12000, 2),
    ]
    assert product.veto_name == ["gate"] * 3
    assert product.veto_ifo.tolist() == [0, 0, 1]
    assert product.veto_start.tolist() == [1999.25, 4500, 7998]
    text = SegmentList.read(tmp_path / "out" / "segments.txt", format="segwizard")
    assert [tuple(map(float, pair)) for pair in text] == list(
        zip(product.start, product.stop, strict=True)
    )
    assert "# validation: 1 segments, 2000 s" in (tmp_path / "out" / "segments.txt").read_text()
    parents = read_provenance(tmp_path / "out" / "segments.hdf5").parents
    assert sorted(parents) == ["h.txt", "l.txt", "s.csv"]


def test_simulated_roles_have_no_segments(fetched, tmp_path):
    noise = {"noise_curves": dict.fromkeys(("H1", "L1"), "aLIGO_O4_high_asd.txt")}
    experiment = fetched(
        {"s.csv": "start,stop\n7100,8000\n"},
        segments="s.csv",
        simulated=["training", "validation"],
        noise=noise,
    )
    query_segments(experiment, tmp_path / "out")
    product = Product.read(tmp_path / "out" / "segments.hdf5")
    assert product.role.tolist() == [2]
    assert product.science_start.tolist() == [7100, 7100]


def test_single_detector_and_four(fetched, tmp_path):
    flags = DataQualityDict()
    for number, ifo in enumerate(("H1", "L1", "V1", "K1")):
        name = f"{ifo}:SCIENCE:1"
        flags[name] = DataQualityFlag(
            name, active=[(1000 + 100 * number, 12000)], known=[(0, 20000)]
        )
    for ifos, start in ((("V1",), 1200), (("H1", "L1", "V1"), 1200), (tuple("HLVK"), 1300)):
        ifos = tuple(ifo if len(ifo) > 1 else f"{ifo}1" for ifo in ifos)
        experiment = fetched(ifos=ifos, segments="flags.xml")
        flags.write(experiment / "flags.xml", format="ligolw")
        query_segments(experiment, tmp_path / "out")
        product = Product.read(tmp_path / "out" / "segments.hdf5")
        assert product.start.tolist() == [start, 5000, 7000]
        assert product.flags == tuple(f"{ifo}:SCIENCE:1" for ifo in ifos)


def test_too_short_for_a_score(fetched, tmp_path):
    """Where the minimum length is less than psd_length + fduration + kernel_length, 10.5 s."""
    rows = "1000 1010.4\n1100 1110.5\n5000 6000\n7000 8000\n"
    experiment = fetched(
        {"s.txt": rows}, segments="s.txt", minimum_length=dict.fromkeys(ROLES, 1.0)
    )
    query_segments(experiment, tmp_path / "out")
    assert Product.read(tmp_path / "out" / "segments.hdf5").start.tolist() == [1100, 5000, 7000]


def test_nothing_left_says_why(fetched, tmp_path):
    experiment = fetched(
        {"s.csv": "start,stop\n900,4000\n5000,5015\n6000,6600\n6700,8000", "g.txt": "6300 300 0"},
        segments="s.csv",
        vetoes={"gates": {"L1": "g.txt"}},
        minimum_length={"training": 20.0, "validation": 400.0, "search": 20.0},
    )
    with pytest.raises(ValueError, match="nothing is left for validation") as failed:
        query_segments(experiment, tmp_path / "out")
    for part in (
        "H1 915 s, L1 915 s",
        "all at once 915 s",
        "vetoes leave 315 s (L1 gate 600 s)",
        "shorter than 400 s took 315 s",
    ):
        assert part in str(failed.value)
    assert not (tmp_path / "out").exists()


def test_same_bytes_and_old_result_is_replaced(fetched, tmp_path):
    experiment = fetched(
        {"s.csv": TABLE, "e.csv": "name,gps\na,2000\n"}, segments="s.csv", events="e.csv"
    )
    query_segments(experiment, tmp_path / "out")
    first = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert sorted(first) == ["livetime.png", "segments.hdf5", "segments.txt"]
    # no maker, version or date in the picture
    assert all(word not in first["livetime.png"] for word in (b"tEXt", b"tIME", b"iTXt"))
    query_segments(experiment, tmp_path / "out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == first


def test_other_folders_are_not_replaced(fetched, tmp_path):
    experiment = fetched({"s.csv": TABLE}, segments="s.csv")
    with pytest.raises(ValueError, match="holds no segments"):
        query_segments(experiment, experiment)
    assert (experiment / "s.csv").exists()


def test_experiment_of_another_kind(smoke, tmp_path):
    with pytest.raises(ValueError, match=r"strain\.source: simulate, expected fetch"):
        query_segments(smoke.source, tmp_path / "out")


def test_events_are_recorded_and_not_subtracted(fetched, tmp_path):
    catalogue = "id,commonName,GPS\n1,early,996.9\n2,edge,997.1\n3,inner,4000.25\n4,late,12003.5\n"
    settings = {"segments": "s.csv", "known_event_window": [-3.0, 3.0]}
    files = {"s.csv": TABLE, "e.csv": catalogue}
    query_segments(fetched(files, **settings), tmp_path / "without")
    query_segments(fetched(files, events="e.csv", **settings), tmp_path / "with")
    product = Product.read(tmp_path / "with" / "segments.hdf5")
    assert product.event_label == ["edge", "inner"]
    assert product.event_time.tolist() == [997.1, 4000.25]
    plain = Product.read(tmp_path / "without" / "segments.hdf5")
    assert (plain.start == product.start).all()
    assert (plain.stop == product.stop).all()
    assert plain.event_label == []


def test_real_catalogues(observing):
    events = read_events(observing / "GWTC-events.csv")
    with (observing / "GWTC-events.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert events == sorted(((r["commonName"], float(r["GPS"])) for r in rows), key=lambda e: e[1])
    assert len(events) == len(rows) == 90
    ogc = read_events(observing / "4-OGC-events.txt")
    names, times = np.genfromtxt(observing / "4-OGC-events.txt", dtype=str, usecols=(1, 2)).T
    assert [name for name, _ in ogc] == names[np.argsort(times.astype(float))].tolist()
    assert ("GW150914_095045", 1126259462.4257812) in ogc


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,when\na,5\n", "no column of GPS times: found name, when"),
        ("# number gps\n1 5\n", "no column of names: found number, gps"),
        ("name gps\na 5\nb five\n", "line 3 has no GPS time in column gps: found b, five"),
        ("name,gps\na\n", "line 2 has no GPS time"),
        ("", "is empty"),
    ],
)
def test_broken_catalogues(tmp_path, text, sentence):
    (tmp_path / "c.txt").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_events(tmp_path / "c.txt")


@pytest.mark.parametrize(
    "text",
    [
        "start,stop\n1,4\n6,9\n",
        ",start,end\n0,1,4\n1,6,9\n",
        "# seg\tstart\tstop\tduration\n0\t1\t4\t3\n1\t6\t9\t3\n",
        "6 9\n; comment\n\n1 3.5\n3.5 4.0\n",
        "1.0 4.0 3.0\n6 9 3\n",
        "gps_start duration gps_stop\n1 3 4\n6 3 9\n",
    ],
)
def test_tables_of_segments(tmp_path, text):
    (tmp_path / "s").write_text(text)
    assert read_segments(tmp_path / "s") == [(1, 4), (6, 9)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1 2\n5 4\n", r"line 2 is no segment: found start and stop \[5.0, 4.0\]"),
        ("start,stop\n1\n", "line 2 is no segment"),
        ("begin,stop\n1,2\n", "columns begin, stop, expected one of start"),
        ("1 2 3 4 5\n", "line 1 has 5 columns without a header"),
        ("# nothing\n", "holds no segment"),
        (b"\xff\xfe\x00", "no text file"),
    ],
)
def test_broken_tables_of_segments(tmp_path, text, sentence):
    (tmp_path / "s").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=sentence):
        read_segments(tmp_path / "s")


@pytest.mark.parametrize("name", ["f.xml", "f.hdf5"])
def test_broken_flag_files(tmp_path, name, observing):
    (tmp_path / name).write_bytes(b"<this is neither")
    with pytest.raises(ValueError, match="holds no data-quality flags that can be read"):
        read_flags(tmp_path / name)
    with pytest.raises(ValueError, match="holds no data-quality flags that can be read"):
        read_flags(observing / "H1L1-O3-CBC-veto-definer.xml")
    with pytest.raises(ValueError, match="is no veto definer that can be read"):
        read_definer(tmp_path / name)


@pytest.mark.parametrize(
    ("strain", "sentence"),
    [
        ({"segments": "none.csv"}, "no file .*none.csv: expected a file of segments"),
        ({"segments": "s.csv", "flags": {"H1": "H1:X:1"}}, "without the names of flags"),
        ({"segments": "s.csv", "events": "none.txt"}, "no file .*none.txt: expected a catalogue"),
        ({"segments": "s.csv", "vetoes": {"gates": {"V1": "s.csv"}}}, "vetoes.gates names V1"),
        ({"segments": "s.csv", "vetoes": {"gates": {"H1": "s.csv"}}}, "line 1 is no gate"),
        (
            {"segments": "s.csv", "vetoes": {"categories": ["CAT1"], "definer": "none.xml"}},
            "no file .*none.xml: expected the veto definer",
        ),
    ],
)
def test_what_an_experiment_can_get_wrong(fetched, tmp_path, strain, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        query_segments(fetched({"s.csv": TABLE}, **strain), tmp_path / "out")


def write_definer(path, *rows):
    columns = [
        "ifo",
        "name",
        "version",
        "category",
        "start_time",
        "end_time",
        "start_pad",
        "end_pad",
    ]
    types = ["lstring", "lstring", *["int_4s"] * 6]
    described = "".join(
        f'<Column Name="veto_definer:{c}" Type="{t}"/>'
        for c, t in zip(columns, types, strict=True)
    )
    stream = ",\n".join(
        ",".join(f'"{cell}"' if isinstance(cell, str) else str(cell) for cell in row)
        for row in rows
    )
    path.write_text(
        "<?xml version='1.0' encoding='utf-8'?><!DOCTYPE LIGO_LW SYSTEM "
        '"http://ldas-sw.ligo.caltech.edu/doc/ligolwAPI/html/ligolw_dtd.txt"><LIGO_LW>'
        f'<Table Name="veto_definer:table">{described}<Stream Delimiter="," '
        f'Name="veto_definer:table" Type="Local">{stream}</Stream></Table></LIGO_LW>'
    )


@pytest.fixture
def small(tmp_path, caplog):
    """Vetoes of a small definer and file of flags."""

    def run(rows, flags, ifos=("H1",), **settings):
        write_definer(tmp_path / "d.xml", *rows)
        found = DataQualityDict()
        for name, (known, active) in flags.items():
            found[name] = DataQualityFlag(name, known=known, active=active)
        found.write(tmp_path / "f.hdf5", format="hdf5", overwrite=True)
        vetoes = Vetoes(definer="d.xml", segments="f.hdf5", **settings)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "datagen"):
            vetoed = category_vetoes(vetoes, ifos, intervals([(1000, 2000)]), tmp_path)
        return [(v.name, v.ifo, list(v.segments)) for v in vetoed], caplog.text

    return run


def test_version_zero_is_all_versions(small):
    flags = {
        "H1:A:1": ([(0, 3000)], [(1100, 1110)]),
        "H1:A:2": ([(0, 3000)], [(1105, 1120)]),
        "H1:AB:1": ([(0, 3000)], [(1500, 1600)]),
    }
    found, _ = small([("H1", "A", -1, 1, 0, 0, 0, 0)], flags, categories=("CAT1",))
    assert found == [("CAT1 H1:A", 0, [(1100, 1120)])]


def test_padding_reaches_in_from_outside(small):
    flags = {"H1:A:1": ([(0, 3000)], [(900, 995), (2010, 2500)])}
    rows = [("H1", "A", 1, 2, 900, 990, -20, 20), ("H1", "A", 1, 2, 2010, 0, -15, 0)]
    found, _ = small(rows, flags, categories=("CAT2",))
    assert found == [("CAT2 H1:A:1", 0, [(1000, 1010), (1995, 2000)])]


def test_unknown_times_are_told(small):
    flags = {"H1:A:1": ([(1000, 1900)], [(1100, 1200)])}
    row = ("H1", "A", 1, 1, 0, 0, 0, 0)
    _, text = small([row], flags, categories=("CAT1",))
    assert "H1:A:1 is not known for 100 s" in text


def test_missing_flag_is_named(small):
    rows = [("H1", "A", 1, 1, 0, 0, 0, 0), ("L1", "B", 1, 1, 0, 0, 0, 0)]
    flags = {"H1:A:1": ([(0, 3000)], [])}
    # not asked for: the detector, the category, the time
    small(rows, flags, categories=("CAT1",))
    small(rows, flags, ifos=("H1", "L1"), categories=("CAT2",))
    small([*rows, ("H1", "C", 1, 1, 2000, 0, 0, 0)], flags, categories=("CAT1",))
    with pytest.raises(ValueError, match="lacks the flag L1:B:1"):
        small(rows, flags, ifos=("H1", "L1"), categories=("CAT1",))


def test_gates_are_cut_to_the_spans(tmp_path):
    (tmp_path / "g.txt").write_text("999 1 1\n1500 0.5 0.5\n")
    (veto,) = gate_vetoes(
        SimpleNamespace(gates={"L1": "g.txt"}), ("H1", "L1"), intervals([(1000, 2000)]), tmp_path
    )
    assert (veto.name, veto.ifo) == ("gate", 1)
    assert list(veto.segments) == [(1000, 1001), (1499, 1501)]
