"""The page of the report, opened in a browser."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
import yaml
from conftest import SIMULATION, START
from deepclean.verbs import clean, report, simulate

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SECONDS = 40
# Tells what was drawn, and what the page says.
PROBE = """
<script>
const faults = [];
window.addEventListener("error", e => faults.push(String(e.message)));
window.addEventListener("unhandledrejection", e => faults.push(String(e.reason)));
const canvases = place => [...(place.shadowRoot ?? place).querySelectorAll("*")].flatMap(
  el => el.tagName === "CANVAS" ? [el] : el.shadowRoot ? canvases(el) : []);
const colors = view => new Set(canvases(view.el).flatMap(canvas => {
  const { width, height } = canvas;
  if (!width || !height) { return []; }
  const pixels = canvas.getContext("2d").getImageData(0, 0, width, height);
  return [...new Set(new Uint32Array(pixels.data.buffer))];
})).size;
const lines = figure => figure.renderers.map(renderer => {
  const { data } = renderer.data_source;
  return { x: [...data.x ?? []], y: [...data.y ?? []] };
});
setTimeout(() => {
  const figures = Bokeh.index.roots.filter(view => view.model.type === "Figure");
  const views = figures.map(view => ({
    id: view.model.id, title: view.model.title.text, colors: colors(view),
    width: view.el.clientWidth, height: view.el.clientHeight, lines: lines(view.model),
    labels: view.model.center.find(part => part.type === "Legend")?.items.map(
      item => item.label.value) ?? [],
  }));
  const told = {
    faults, views,
    fetched: performance.getEntriesByType("resource").map(r => r.name),
    cards: [...document.querySelectorAll(".card")].map(card => card.textContent),
    table: [...document.querySelectorAll("#coherence tr")].slice(1).map(
      row => [...row.cells].map(cell => cell.textContent)),
  };
  const place = document.createElement("script");
  place.id = "told";
  place.type = "application/json";
  place.textContent = JSON.stringify(told).replaceAll("<", "\\\\u003c");
  document.body.appendChild(place);
}, 3000);
</script>
"""


@pytest.fixture
def page(deployment):
    """A report on frames that were simulated and cleaned."""
    folder = deployment.folder
    (folder / "simulation.yaml").write_text(yaml.safe_dump(SIMULATION))
    content = {
        "name": "small",
        "simulation": "simulation.yaml",
        "training": {"start": START - 1000, "duration": 20},
        "evaluation": {"start": START, "duration": SECONDS},
    }
    (folder / "experiment.yaml").write_text(yaml.safe_dump(content))
    frames, cleaned = folder / "evaluation", folder / "cleaned"
    simulate(folder, frames, frame_length=16)
    deployment.publish()
    clean(folder, frames, deployment.store, cleaned, frame_length=16)
    report(folder, frames, cleaned, folder / "report", frames / "truth")
    return folder / "report" / "index.html"


def open_in_browser(page, profile):
    """What the probe has told, and what the browser has complained of."""
    page.write_text(page.read_text().replace("<head>", "<head>" + PROBE, 1))
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=30000",
        "--window-size=1400,2000",
        "--enable-logging=stderr",
        f"--user-data-dir={profile}",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    told = re.search(r'<script id="told"[^>]*>(.*?)</script>', done.stdout, re.S)
    # all but what the library says of itself
    said = r"(?:setting log level|document idle)"
    complaints = re.findall(rf"CONSOLE(?!.*\[bokeh [\d.]+\] {said}).*", done.stderr)
    assert told, complaints
    return json.loads(told[1]), complaints


def numbers(text):
    """All numbers in a text."""
    return [float(found) for found in re.findall(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?", text)]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to open the page with")
def test_report_in_a_browser(page, tmp_path):
    places = set(re.findall(r'data-root-id="([^"]+)"', page.read_text()))
    summary = json.loads(page.with_name("summary.json").read_text())
    told, complaints = open_in_browser(page, tmp_path / "profile")
    assert complaints == told["faults"] == []
    assert [name for name in told["fetched"] if not name.startswith(("data:", "file:"))] == []

    assert {view["id"] for view in told["views"]} == places
    assert len(places) == 8
    for view in told["views"]:
        assert view["width"] > 300
        assert view["height"] > 150
        # axes, letters, and what is drawn
        assert view["colors"] > 20, view["title"]

    # what is drawn is what is told
    (ratio,) = (v for v in told["views"] if v["title"].startswith("Density over that of raw"))
    keys = {"cleaned (OUT_DQ)": "out_dq", "best possible": "optimum"}
    keys["production, without the gate"] = "production"
    assert set(ratio["labels"]) == set(keys)
    for label, line in zip(ratio["labels"], ratio["lines"], strict=True):
        x, y = np.array(line["x"]), np.array(line["y"])
        mean = y[(x >= 55) & (x < 65)].mean()
        assert mean == pytest.approx(summary["asd_ratio"][keys[label]], rel=1e-6)
    (ranges,) = (v for v in told["views"] if v["title"].startswith("Range"))
    for line, name in zip(ranges["lines"][::2], ("before", "after"), strict=True):
        assert np.mean(line["y"]) == pytest.approx(summary["range_mpc"][name], rel=1e-6)

    # and what the page says is what the file says
    out_dq, without_gate, outside, ranges, gate, signals = told["cards"]
    ratios = summary["asd_ratio"]
    assert numbers(out_dq)[0] == pytest.approx(ratios["out_dq"], rel=5e-3)
    expected = [ratios["production"], ratios["optimum"]]
    assert numbers(without_gate) == pytest.approx(expected, rel=5e-3)
    expected = [100 * summary["outside"]["largest_change"], summary["outside"]["frequency_hz"]]
    assert numbers(outside) == pytest.approx(expected, rel=5e-2)
    expected = [summary["range_mpc"]["before"], summary["range_mpc"]["after"]]
    assert numbers(ranges) == pytest.approx(expected, rel=5e-4)
    assert numbers(gate) == [summary["gate"]["good"], SECONDS, summary["gate"]["dropped"]]
    found = summary["signals"]
    expected = [found["mean_pull_after"], found["number"], found["mean_pull_before"]]
    assert numbers(signals) == pytest.approx(expected, rel=5e-2)
    rows = sorted(summary["coherence"], key=lambda row: -row["before"])
    assert [row[0] for row in told["table"]] == [row["channel"] for row in rows]
    for shown, row in zip(told["table"], rows, strict=True):
        expected = [row[k] for k in ("before", "after", "highest_before", "highest_after")]
        assert [float(cell) for cell in shown[1:]] == pytest.approx(expected, rel=5e-3)
