"""The folder that a reader opens: pages, tables and figures, by hand and in a browser."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from evaluate import papers
from evaluate.comparison import compare
from evaluate.embedding import embed
from evaluate.event_pages import write_event_pages
from evaluate.event_table import write_event_table
from evaluate.figures.style import new_figure
from evaluate.findings import find
from evaluate.lines import draw_lines
from evaluate.page import NUM_ROWS, render
from evaluate.papers import NAMES, write_papers
from evaluate.summary import summarise
from fake_search import FakeSearch
from ledger import EventSet


def without_events(findings):
    """The same without zero-lag events, trainings, and anything that follows from these."""
    return replace(
        findings,
        candidates=[],
        known=[replace(event, candidate=None, found=False) for event in findings.known],
        curves=[],
        stages={},
        origins=None,
        calibration=None,
    )


def test_files_of_a_report(made):
    output, summary = made
    files = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    page = (output / "index.html").read_text()
    detail = [
        rank
        for rank in range(1, len(summary["zero_lag"]) + 1)
        if f'class="event" href="events/{rank}.html"' in page
    ]
    assert len(detail) == 4  # two in each of two folds
    assert files == {
        "index.html",
        "summary.json",
        "lines.json",
        "events.csv",
        "bokeh.js",
        *(f"events/{rank}.html" for rank in detail),
        *re.findall(r'class="injection" href="(injections/[^"]+)"', page),
        *(f"figures/{name}" for name in NAMES),
    }
    assert sum((output / name).stat().st_size for name in files) < 5e6


def test_pages_load_nothing_from_elsewhere(made):
    output, _ = made
    pages = (output / "index.html", *(output / "events").iterdir())
    for path in (*pages, *(output / "injections").iterdir()):
        page = path.read_text()
        loaded = re.findall(
            r"""<(?:script|link|img|iframe|a)\b[^>]*\s(?:src|href)=["']?([^"'>]*)""", page
        )
        assert "@import" not in page
        for name in loaded:
            if not name.startswith(("data:,", "#")):
                assert (path.parent / name.split("#")[0]).resolve().is_relative_to(output)
                assert (path.parent / name.split("#")[0]).is_file()
        # the library stands beside the pages, once
        assert len(page) < 1e6


def test_page_says_what_it_shows(made):
    output, summary = made
    page = (output / "index.html").read_text()
    for text in (
        "GW-loud-too",
        "outside the analysed time",
        "not supported",
        "background livetime",
        summary["parents"]["strain"],
        "optimal network SNR",
        "luminosity distance [Mpc]",
        "chirp mass, source frame",
        "sensitive volume [Gpc",
        "[1/yr]",
        "epoch",
    ):
        assert text in page
    page = (output / "events" / "1.html").read_text()
    for text in ("whitened strain [", "frequency [Hz]", "H1: energy", "L1: energy", "GW-loud-too"):
        assert text in page
    assert "probability that noise gives any" in page
    calibration = summary["p_astro_calibration"]
    assert calibration["is_calibrated"]
    assert len(calibration["bins"]) > 3
    assert sum(row["num_signals"] for row in calibration["bins"]) > 100


def test_event_table_is_that_of_the_summary(made):
    output, summary = made
    with (output / "events.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(summary["zero_lag"])
    for rank, (row, event) in enumerate(zip(rows, summary["zero_lag"], strict=True), start=1):
        assert int(row["rank"]) == rank
        for name in ("gps", "statistic", "far_per_year", "noise_events"):
            assert float(row[name]) == event[name]
        assert float(row["far_high_per_year"]) == event["far_interval_per_year"][1]
        assert row["p_astro"] == ("" if event["p_astro"] is None else str(event["p_astro"]))
        if event["p_class"]:
            assert float(row["p_bbh"]) == event["p_class"]["BBH"]
        assert row["known_event"] == (event["known_event"] or "")


def test_same_bytes_again(made, finished_search, tmp_path):
    """In another process, with other hashes, by the command line."""
    output, _ = made
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    command = [sys.executable, "-m", "evaluate", *finished_search.options(tmp_path / "report")]
    subprocess.run(command, check=True, env=environment, capture_output=True)
    files = [path.relative_to(output) for path in output.rglob("*") if path.is_file()]
    assert len(files) > 15
    for name in files:
        assert (tmp_path / "report" / name).read_bytes() == (output / name).read_bytes(), name


def test_papers_are_pdf_without_a_date(made):
    for name in NAMES:
        content = (made[0] / "figures" / name).read_bytes()
        assert content.startswith(b"%PDF-")
        assert b"/CreationDate" not in content
        assert b"/Type /Page" in content


def test_page_stays_small_with_much_background(tmp_path):
    search = FakeSearch(
        tmp_path / "large", "quickstart", background_livetime=2e7, num_injections=500
    )
    assert len(EventSet.read(search.results[0] / "background.hdf5").statistic) > 900_000
    findings = find(**search.inputs())
    # ten times as many zero-lag events, each of them with detail
    many = replace(findings, candidates=list(findings.candidates) * 10)
    page = render(many, summarise(many), draw_lines(many))
    assert len(page) < 1.5e6
    assert page.count('class="event"') <= NUM_ROWS


def test_without_runs_details_or_zero_lag_events(findings, tmp_path, monkeypatch):
    nothing = without_events(findings)
    summary, lines = summarise(nothing), draw_lines(nothing)
    page = render(nothing, summary, lines)
    assert "There are none." in page
    assert 'id="training"' not in page
    write_event_pages(nothing, summary, tmp_path / "events")
    assert not list((tmp_path / "events").iterdir())
    write_event_table(summary["zero_lag"], tmp_path / "events.csv")
    assert (tmp_path / "events.csv").read_text().startswith("rank,gps,")
    monkeypatch.setattr(papers, "FIGURES", {"zero-lag.pdf": papers.FIGURES["zero-lag.pdf"]})
    write_papers(nothing, lines, tmp_path / "figures")
    assert (tmp_path / "figures" / "zero-lag.pdf").is_file()


def test_event_at_a_glitch_says_so(findings, tmp_path):
    event = findings.candidates[0]
    time = findings.folds[event.fold].zero_lag.time[event.position, 1]
    summary = summarise(findings)
    planted = {"ifo": "L1", "gps": float(time) + 0.4, "num_events": 9, "loudest": 9.0}
    summary["folds"][event.fold]["loudest_background"]["repeated_times"] = [
        {**planted, "by_chance": 1e-6},
        {**planted, "by_chance": 10.0, "num_events": 7},
        {**planted, "by_chance": 1e-6, "num_events": 8, "gps": float(time) + 2},
    ]
    write_event_pages(replace(findings, candidates=[event]), summary, tmp_path / "events")
    page = (tmp_path / "events" / "1.html").read_text()
    assert "9 of the loudest background events have this time in\nL1" in page
    assert "8 of the loudest" not in page
    assert "7 of the loudest" not in page


def test_sentences_name_no_absolute_place(made):
    for path in made[0].rglob("*"):
        if path.suffix in (".html", ".json", ".csv"):
            assert str(Path(__file__).parents[4]) not in path.read_text()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Tells of each page what it drew, does what a reader would, and goes on to the next page with
# all that was told in the address.
PROBE = """
<script>
const faults = [];
window.addEventListener("error", e => faults.push(String(e.message)));
window.addEventListener("unhandledrejection", e => faults.push(String(e.reason)));
const complain = console.error;
console.error = (...a) => { faults.push(a.join(" ")); complain(...a); };
const canvases = place => [...(place.shadowRoot ?? place).querySelectorAll("*")].flatMap(
  el => el.tagName === "CANVAS" ? [el] : el.shadowRoot ? canvases(el) : []);
const ink = view => new Set(canvases(view.el).flatMap(canvas => {
  const { width, height } = canvas;
  if (!width || !height) { return []; }
  const pixels = canvas.getContext("2d").getImageData(0, 0, width, height);
  return [...new Set(new Uint32Array(pixels.data.buffer))];
})).size;
setTimeout(async () => {
  const views = Bokeh.index.roots.map(v => ({
    kind: v.model.type, width: v.el.clientWidth, height: v.el.clientHeight,
    displayed: v.is_displayed, id: v.model.id, colors: ink(v),
  }));
  const fetched = performance.getEntriesByType("resource").map(r => r.name);
  const page = { at: location.pathname, faults, views, fetched };
  const told = JSON.parse(decodeURIComponent(location.hash.slice(1)) || "[]");
  const next = () => "#" + encodeURIComponent(JSON.stringify([...told, page]));
  HOP
}, 3000);
</script>
"""
ON_INDEX = """
  const head = [...document.querySelectorAll("#zero-lag th")].find(
    th => th.textContent.startsWith("statistic"));
  const column = () => [...document.querySelectorAll("#zero-lag tbody tr")].map(
    tr => Number(tr.cells[2].dataset.value));
  head.click();
  page.up = column();
  head.click();
  page.down = column();
  for (const model of Bokeh.documents[0]._all_models.values()) {
    if (model.type === "ColumnDataSource" && model.data["found at [1/yr]"]) {
      model.selected.indices = [3, 5];
    }
  }
  await new Promise(done => setTimeout(done, 300));
  page.chosen = document.querySelectorAll("#chosen tr").length;
  const link = document.querySelector("#zero-lag a.event");
  page.clicked = link.textContent;
  link.href += next();
  link.click();
"""
ON_EVENT = """
  page.title = document.querySelector("h1").textContent;
  location.href = "../injections/INJECTION" + next();
"""
ON_INJECTION = """
  page.title = document.querySelector("h1").textContent;
  location.href = "../../comparison/index.html" + next();
"""
AT_THE_END = """
  const place = document.createElement("pre");
  place.id = "told";
  place.textContent = decodeURIComponent(next().slice(1));
  document.body.appendChild(place);
"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to open the page with")
def test_pages_in_a_browser(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "report")
    compare((made[0], made[0]), tmp_path / "comparison")
    pages = {tmp_path / "report" / "index.html": ON_INDEX}
    kept = sorted((tmp_path / "report" / "injections").iterdir())[0]
    hop = ON_EVENT.replace("INJECTION", kept.name)
    pages |= dict.fromkeys((tmp_path / "report" / "events").iterdir(), hop)
    pages |= {kept: ON_INJECTION}
    pages |= {tmp_path / "comparison" / "index.html": AT_THE_END}
    for path, hop in pages.items():
        probe = PROBE.replace("HOP", hop)
        path.write_text(path.read_text().replace("<head>", "<head>" + probe, 1))
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=30000",
        "--window-size=1400,2000",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        (tmp_path / "report" / "index.html").as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    told = json.loads(re.search(r'<pre id="told">(.*?)</pre>', dom, re.S)[1])
    index, event, injection, comparison = told
    assert injection["title"].startswith("Injection at GPS")
    for page, path in (
        (index, tmp_path / "report" / "index.html"),
        (event, tmp_path / "report" / "events" / Path(event["at"]).name),
        (injection, kept),
        (comparison, tmp_path / "comparison" / "index.html"),
    ):
        assert page["at"] == str(path)
        assert page["faults"] == []
        assert [name for name in page["fetched"] if not name.startswith(("data:", "file:"))] == []
        places = set(re.findall(r'data-root-id="([^"]+)"', path.read_text()))
        drawn = [view for view in page["views"] if view["id"] in places]
        assert len(drawn) == len(places) >= 4
        for view in drawn:
            assert view["kind"] == "Figure"
            assert view["displayed"]
            assert view["width"] > 300
            assert view["height"] > 200
            assert view["colors"] > 20  # axes, letters, and what is drawn
    assert len(index["up"]) > 20
    assert index["up"] == sorted(index["up"])
    assert index["down"] == index["up"][::-1]
    assert index["chosen"] == 3  # names, and two injections
    # the first of the sorted table that has a page is opened
    assert index["clicked"] in event["title"]


def test_ids_are_numbered_and_data_stay_as_they_are():
    """Also data that look like an id of bokeh."""
    plot = new_figure("title", "x", "y")
    plot.text([0], [0], ["+p12345/"])
    script, places = embed({"plot": plot})
    assert "+p12345/" in script
    assert not re.search(r'"p\d{4,}"', script + places["plot"])
    root = re.search(r'data-root-id="(n\d+)"', places["plot"])[1]
    assert f'"{root}"' in script
