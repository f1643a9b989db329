"""Watching a training: what is shown is what the network did, and nothing of it stops a run."""

import base64
import json
import logging
import re
import shutil
import struct
import subprocess
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import wandb
from architectures import TwoTower
from architectures.base import WindowedNetwork
from jsonargparse import ArgumentParser
from torch import Tensor
from torchmetrics.functional.classification import binary_roc
from train import watching
from train.figures_of_merit import RATES, recall
from train.watching import (
    TrainingProgress,
    WandbOptions,
    WatchValidation,
    add_wandb_arguments,
    make_logger,
    wandb_options,
)
from train.watching.examples import MAX_SAMPLES, explain, telling_part
from train.watching.scores import Scores, recall_by_snr, roc, score_histogram
from train.watching.validation import empty_drawings
from wandb.proto import wandb_internal_pb2

RATE = 512
IFOS = ("H1", "L1", "V1")


class Loudness(WindowedNetwork):
    """Scores the energy of a kernel: its gradient is known; 0.5 more with filters."""

    def __init__(self, num_ifos: int, needs_taps: bool = False) -> None:
        super().__init__(num_ifos, RATE, 1.5)
        self.needs_taps = needs_taps
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, kernel: Tensor, taps: Tensor | None = None) -> Tensor:
        assert (taps is not None) == self.needs_taps
        energy = self.scale * kernel.square().mean(dim=(1, 2))
        return energy if taps is None else energy + taps[:, 0, 0]


def make_outcome(network: WindowedNetwork, seed: int = 0, livetime: float = 8000.0) -> Any:
    """A validation set of injections in white noise, scored by the network as validation does."""
    torch.manual_seed(seed)
    count, num_ifos = 40, network.num_ifos
    size = 2 * (network.kernel_size + round(0.1 * RATE))
    snr = np.linspace(5, 60, count + 3)
    rows = np.arange(count) + 3  # the first three lie too close to an edge
    time = torch.arange(size) / RATE
    middle = size / 2 / RATE
    wave = torch.exp(-(((time - middle) / 0.03) ** 2)) * torch.sin(600 * time)
    wave = wave / wave.norm() / num_ifos**0.5
    stretches = torch.randn(count, num_ifos, size)
    stretches += torch.from_numpy(snr[rows]).float()[:, None, None] * wave
    taps = torch.full((count, num_ifos, 8), 0.5)
    windows = stretches.unfold(-1, network.kernel_size, RATE // 8).movedim(1, 2)
    kernels = torch.randn(8, num_ifos, network.kernel_size)
    with torch.no_grad():
        given = [windows.flatten(0, 1)]
        if network.needs_taps:
            given.append(taps.repeat_interleave(windows.shape[1], 0))
        foreground = network(*given).reshape(windows.shape[:2]).amax(-1)
    background = foreground.median() + 0.1 * torch.randn(1000)
    return SimpleNamespace(
        background=background,
        foreground=foreground,
        rows=rows,
        loudest=SimpleNamespace(kernels=kernels, taps=taps[:8]),
        measures={
            "valid_auroc": 0.6 + 0.01 * seed,
            "valid_recall": float((foreground > background.max()).float().mean()),
            "valid_livetime_s": livetime,
            "valid_delay_s": float("nan"),
        },
        validation=SimpleNamespace(
            stretches=stretches,
            taps=taps,
            times=np.full(count, middle),
            injections=SimpleNamespace(ifos=IFOS[:num_ifos], snr=snr),
        ),
    )


def make_trainer(step: int, *loggers: Any, **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "global_step": step,
        "current_epoch": step // 10 - 1,
        "is_global_zero": True,
        "loggers": list(loggers),
        "sanity_checking": False,
        "state": SimpleNamespace(fn="fit"),
    }
    return SimpleNamespace(**settings | changes)


def validate(watch: WatchValidation, network: Any, step: int, seed: int = 0, *loggers: Any) -> Any:
    outcome = make_outcome(network, seed)
    module = SimpleNamespace(network=network)
    with torch.inference_mode():  # as Lightning validates
        watch.on_validation_score(make_trainer(step, *loggers), module, outcome)
    return outcome


def embedded(page: str, kind: str) -> dict[str, Any]:
    found = re.findall(rf'<script type="application/json" id="{kind}-(\d+)">(.*?)</script>', page)
    return {number: json.loads(text) for number, text in found}


def numbers(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4")


def make_scores(livetime: float = 8000.0) -> Scores:
    rng = np.random.default_rng(1)
    snr = rng.uniform(4, 40, 300)
    return Scores(
        background=-np.sort(-rng.normal(0, 1, 1000)),
        foreground=rng.normal(0, 1, 300) + snr / 10,
        snr=snr,
        livetime=livetime,
    )


def test_curve_is_the_roc_and_its_marks_are_the_measures() -> None:
    scores = make_scores(livetime=100000.0)
    rate, found = roc(scores)
    labels = torch.cat((torch.zeros(1000), torch.ones(300))).int()
    values = torch.from_numpy(np.concatenate([scores.background, scores.foreground]))
    # torchmetrics takes what is no probability through a sigmoid, which changes no order here
    all_rates, all_recalls, _ = binary_roc(values, labels)
    for x, y in zip(rate, found, strict=True):
        # at one rate the ROC is a vertical step, of which we draw the upper end
        assert y == pytest.approx(float(all_recalls[(all_rates - x).abs() < 1e-6].max()))
    assert scores.area() == pytest.approx(float(torch.trapezoid(all_recalls, all_rates)), abs=1e-6)
    background, foreground = map(torch.from_numpy, (scores.background, scores.foreground))
    levels = scores.thresholds()
    for name, frequency in RATES.items():
        assert scores.recall(levels[name]) == recall(background, foreground, 100000.0, frequency)
    assert scores.recall(levels["loudest"]) == float(
        (foreground > background.max()).double().mean()
    )


def test_rates_beyond_the_livetime_are_not_drawn() -> None:
    assert set(make_scores(8000.0).thresholds()) == {"hour", "loudest"}
    assert set(make_scores(3599.0).thresholds()) == {"loudest"}
    # an hour holds one event per hour
    scores = make_scores(3600.0)
    assert scores.thresholds()["hour"] == scores.background[1]


def test_histogram_and_recall_count_everything_once() -> None:
    scores = make_scores()
    edges, background, injections = score_histogram(scores)
    assert background.sum() == pytest.approx(1)
    assert injections.sum() == pytest.approx(1)
    beyond = (scores.foreground >= edges[-2]).mean()
    assert injections[-1] == pytest.approx(beyond)
    binned = recall_by_snr(scores, 2.0)
    assert (np.diff(binned.snr) > 0).all()
    # bins of equally many injections: their mean is the recall of all
    assert binned.recall.mean() == pytest.approx(scores.recall(2.0))
    assert (binned.low <= binned.recall).all()
    assert (binned.recall <= binned.high).all()
    assert (binned.low > -1e-12).all()
    assert (binned.high < 1 + 1e-12).all()
    # Wilson's interval holds the fractions that lie within one standard deviation of the found
    for end in (binned.low, binned.high):
        spread = np.sqrt(end * (1 - end) / 30)
        np.testing.assert_allclose(abs(end - binned.recall), spread, atol=1e-9)


def test_gradient_is_that_of_the_score_and_touches_no_weight() -> None:
    network = Loudness(2).eval()
    with torch.inference_mode():
        kernels = torch.randn(3, 2, 768)
        scores, gradients = explain(network, kernels)
    torch.testing.assert_close(scores, kernels.square().mean(dim=(1, 2)))
    torch.testing.assert_close(gradients, 2 * kernels / (2 * 768))
    assert network.scale.grad is None
    streaming = TwoTower(1, RATE, 1.5).double().eval()
    before = {name: value.clone() for name, value in streaming.state_dict().items()}
    kernel = torch.randn(1, 1, 768, dtype=torch.float64)
    _, gradient = explain(streaming, kernel)
    step = 1e-3 * gradient / gradient.norm()
    with torch.no_grad():
        rise = streaming(kernel + step) - streaming(kernel - step)
    assert float(rise) == pytest.approx(2e-3 * float(gradient.norm()), rel=1e-3)
    for name, value in streaming.state_dict().items():
        assert torch.equal(value, before[name])


def test_shown_is_where_the_score_comes_from() -> None:
    contribution = np.full((2, 4 * MAX_SAMPLES), 0.01)
    contribution[1, 2500:2600] = -5
    shown = telling_part(contribution)
    assert shown.stop - shown.start == MAX_SAMPLES
    assert shown.start <= 2500
    assert shown.stop >= 2600
    assert telling_part(contribution[:, :700]) == slice(0, 700)


@pytest.mark.parametrize(
    "network",
    [TwoTower(1, RATE, 1.5), TwoTower(2, RATE, 1.5), TwoTower(3, RATE, 1.5), Loudness(2, True)],
    ids=["1 detector", "2 detectors", "3 detectors", "windowed with filters"],
)
def test_page_holds_what_the_network_did(network: WindowedNetwork, tmp_path: Path) -> None:
    network.eval()
    watch = WatchValidation(tmp_path, num_examples=2)
    outcome = validate(watch, network, 10)
    page = (tmp_path / "validation.html").read_text()
    assert not re.search(r"<(script|img)[^>]* src=|<link[^>]* href=\"(?!data:)", page)
    (record,) = embedded(page, "record").values()
    assert record["measures"]["valid_auroc"] == 0.6
    assert record["measures"]["valid_delay_s"] is None
    data = record["data"]
    order = np.argsort(-outcome.foreground.numpy())
    ifos = IFOS[: network.num_ifos]
    hop = RATE // 8
    snr = outcome.validation.injections.snr
    for number in range(2):
        best = order[number]
        title = record["titles"][f"loudest injections {number} strain"]
        score, row = re.fullmatch(r"score (\S+), SNR \S+, injection (\d+)", title).groups()
        # the very kernel that the validation scored
        assert float(score) == pytest.approx(float(outcome.foreground[best]), rel=1e-3)
        assert int(row) == outcome.rows[best]
        shown = data[f"loudest injections {number}"]
        strain = np.stack([numbers(shown[f"strain {ifo}"]) for ifo in ifos])
        stretch = outcome.validation.stretches[best].numpy()
        starts = [
            k * hop for k in range(20)
            if np.array_equal(stretch[:, k * hop : k * hop + 768], strain)
        ]  # fmt: skip
        assert len(starts) == 1
        (merger,) = numbers(data[f"loudest injections {number} coalescence"]["time"])
        assert starts[0] / RATE + merger == pytest.approx(outcome.validation.times[best], abs=1e-5)
        noise = data[f"loudest background {number}"]
        for i, ifo in enumerate(ifos):
            found = outcome.loudest.kernels[number, i].numpy()
            np.testing.assert_array_equal(numbers(noise[f"strain {ifo}"]), found)
        if isinstance(network, Loudness):
            gradient = np.stack([numbers(shown[f"gradient {ifo}"]) for ifo in ifos])
            np.testing.assert_allclose(gradient, strain / 768, rtol=1e-4)
    # missed: not above the rate of one per hour, of which 8000 s allow two
    threshold = outcome.background.topk(3).values[-1]
    missed = (outcome.foreground <= threshold).numpy()
    wanted = outcome.rows[missed][np.argsort(-snr[outcome.rows][missed])][:2]
    titles = [record["titles"].get(f"missed injections {k} strain", "") for k in range(2)]
    assert [int(t.split()[-1]) for t in titles if t] == list(wanted)
    rate = numbers(data["roc"]["rate"])
    assert rate[0] == pytest.approx(1e-3)
    assert rate[-1] == 1
    # every figure finds its data by the names and columns of the record
    drawn = 0
    for item in embedded(page, "item").values():
        for source in re.finditer(r'"name": "ColumnDataSource"', json.dumps(item)):
            drawn += bool(source)
        for model in walk(item):
            if model.get("name") == "ColumnDataSource":
                attributes = model["attributes"]
                columns = {name for name, _ in attributes["data"]["entries"]}
                assert columns == set(data.get(attributes["name"], columns)), attributes["name"]
    assert drawn == 8 + 3 * 2 * 2


def walk(item: Any) -> Iterator[dict[str, Any]]:
    if isinstance(item, dict):
        yield item
        for value in item.values():
            yield from walk(value)
    elif isinstance(item, list):
        for value in item:
            yield from walk(value)


def test_page_is_the_same_for_the_same_validations(tmp_path: Path) -> None:
    pages = []
    for name in ("first", "second"):
        empty_drawings.cache_clear()
        watch = WatchValidation(tmp_path / name, num_examples=2)
        for step in (10, 20):
            validate(watch, Loudness(2).eval(), step, step)
        pages.append((tmp_path / name / "validation.html").read_bytes())
    assert pages[0] == pages[1]


def test_page_goes_on_after_a_kill_and_stays_small(tmp_path: Path) -> None:
    network = Loudness(1).eval()
    watch = WatchValidation(tmp_path, num_examples=2, num_kept=3)
    for step, seed in ((10, 1), (20, 9), (30, 2), (40, 3), (50, 4), (60, 5)):
        validate(watch, network, step, seed)
    page = (tmp_path / "validation.html").read_text()
    # the last three, and the best
    assert list(embedded(page, "record")) == ["20", "40", "50", "60"]
    assert re.findall(r'data-step="(\d+)"(?:(?!</tr>).)*<td>best</td>', page, re.S) == ["20"]
    assert len(list((tmp_path / "validation").iterdir())) == 4
    # killed after step 60 was drawn, but before it was saved
    again = WatchValidation(tmp_path, num_examples=2, num_kept=3)
    again.on_train_start(make_trainer(50), None)
    validate(again, network, 60, 7)
    page = (tmp_path / "validation.html").read_text()
    assert list(embedded(page, "record")) == ["20", "40", "50", "60"]
    assert embedded(page, "record")["60"]["measures"]["valid_auroc"] == pytest.approx(0.67)
    # a training that begins anew in the folder forgets all
    WatchValidation(tmp_path).on_train_start(make_trainer(0), None)
    assert not list((tmp_path / "validation").iterdir())


def test_nothing_is_drawn_outside_of_a_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = Loudness(1).eval()
    watch = WatchValidation(tmp_path)
    module, outcome = SimpleNamespace(network=network), make_outcome(network)
    watch.on_validation_score(make_trainer(0, sanity_checking=True), module, outcome)
    verb = SimpleNamespace(fn="validate")
    watch.on_validation_score(make_trainer(10, state=verb), module, outcome)
    outcome.foreground[3] = torch.nan
    with caplog.at_level(logging.WARNING, "train"):
        watch.on_validation_score(make_trainer(10), module, outcome)
    assert "after step 10 is not drawn: some of its scores are not finite" in caplog.text
    assert not list(tmp_path.iterdir())


def test_outcome_without_loudest_background_is_drawn(tmp_path: Path) -> None:
    network = Loudness(1).eval()
    outcome = make_outcome(network)
    del outcome.loudest
    module = SimpleNamespace(network=network)
    watch = WatchValidation(tmp_path, num_examples=2)
    watch.on_validation_score(make_trainer(10), module, outcome)
    (record,) = embedded((tmp_path / "validation.html").read_text(), "record").values()
    assert "loudest injections" in record["says"]
    assert "loudest background" not in record["says"]


def test_drawing_costs_little(tmp_path: Path) -> None:
    """At the size of the quickstart: 5000 blocks, 491 injections, a kernel of 1536 samples."""
    network = TwoTower(2, 1024, 1.5).eval()
    torch.manual_seed(0)
    outcome = make_outcome(Loudness(2).eval())
    validation = outcome.validation
    validation.stretches = torch.randn(491, 2, 3276)
    validation.times, outcome.rows = np.full(491, 1.6), np.arange(491)
    validation.injections.snr = np.linspace(5, 60, 491)
    outcome.background, outcome.foreground = torch.randn(5000), torch.randn(491) + 2
    outcome.loudest.kernels = torch.randn(8, 2, 1536)
    watch, module = WatchValidation(tmp_path), SimpleNamespace(network=network)
    seconds = []
    for step in (10, 20, 30):
        begun = time.process_time()
        watch.on_validation_score(make_trainer(step), module, outcome)
        seconds.append(time.process_time() - begun)
    # an epoch of the quickstart takes more than ten seconds
    assert min(seconds[1:]) < 0.5
    assert (tmp_path / "validation.html").stat().st_size < 4e6


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PROBE = """<head><script>
const faults = [];
window.addEventListener("error", e => faults.push(String(e.message)));
window.addEventListener("unhandledrejection", e => faults.push(String(e.reason)));
console.error = (...a) => faults.push(a.join(" "));
function state() {
  const models = Bokeh.documents.flatMap(d => d.all_models ? [...d.all_models] : []);
  const rates = models.find(m => m.type === "ColumnDataSource" && m.name === "roc").data;
  const title = models.find(m => m.type === "Figure" && m.name === "roc").title.text;
  const shown = models.filter(m => m.type === "Figure" && m.visible).length;
  const items = models.filter(m => m.type === "LegendItem" && m.name && m.visible);
  return {recall: [...rates.recall], title, shown, items: items.map(m => m.name).sort()};
}
setTimeout(() => {
  const last = state();
  document.querySelector('tr[data-step="10"] button').click();
  const told = document.createElement("pre");
  told.id = "told";
  const fetched = performance.getEntriesByType("resource").map(r => r.name);
  told.textContent = JSON.stringify({faults, fetched, last, first: state()});
  document.body.appendChild(told);
}, 5000);
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to open the page with")
def test_page_draws_in_a_browser(tmp_path: Path) -> None:
    watch = WatchValidation(tmp_path, num_examples=2)
    for step, seed in ((10, 1), (20, 2)):
        validate(watch, Loudness(2).eval(), step, seed)
    page = (tmp_path / "validation.html").read_text()
    probed = tmp_path / "probed.html"
    probed.write_text(page.replace("<head>", PROBE, 1))
    command = [
        str(CHROMIUM),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=8000",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        probed.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    told = json.loads(re.search(r'<pre id="told">(.*?)</pre>', dom, re.S)[1])
    assert told["faults"] == []
    assert [name for name in told["fetched"] if not name.startswith("data:")] == []
    for step, when in (("10", "first"), ("20", "last")):
        record = embedded(page, "record")[step]
        np.testing.assert_allclose(told[when]["recall"], numbers(record["data"]["roc"]["recall"]))
        assert told[when]["title"] == record["titles"]["roc"]
        assert told[when]["shown"] == len(record["titles"])
        # the livetime says nothing of one per day
        assert told[when]["items"] == ["recall hour", "recall loudest", "roc hour"]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "elsewhere"))
    wandb.teardown()
    yield
    wandb.teardown()


def records_of(folder: Path) -> list[Any]:
    """Records of offline runs: W&B's own messages, in the blocks of LevelDB's log format."""
    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        raw = path.read_bytes()
        assert raw.startswith(b":W&B")
        place, pieces = 7, b""
        while place + 7 < len(raw):
            left = 32768 - place % 32768
            if left < 7:  # no header fits into the rest of the block
                place += left
                continue
            _, size, kind = struct.unpack_from("<IHB", raw, place)
            pieces += raw[place + 7 : place + 7 + size]
            place += 7 + size
            if kind in (1, 4):  # the whole, or its last piece
                found.append(wandb_internal_pb2.Record.FromString(pieces))
                pieces = b""
    return found


@pytest.mark.usefixtures("offline")
def test_run_in_wandb_grows_by_rows_and_keeps_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_DATA_DIR")
    options = WandbOptions(True, "first try", "tests", group="seeds", tags=("a", "b"))
    network = Loudness(2).eval()
    ids = []
    for start in (0, 20):
        logger = make_logger(options, tmp_path)
        assert logger is not None
        ids.append(logger.experiment.id)
        logger.log_metrics({"train_loss": 0.5}, start + 1)
        watch = WatchValidation(tmp_path, num_examples=2)
        watch.on_train_start(make_trainer(start), None)
        for step in (start + 10, start + 20):
            validate(watch, network, step, step, logger)
        wandb.teardown()
        time.sleep(1.1)  # offline runs are told apart by the second
    assert ids[0] == ids[1] == (tmp_path / "wandb-id.txt").read_text().strip()
    records = records_of(tmp_path)
    runs = [r.run for r in records if r.WhichOneof("record_type") == "run"]
    assert {(r.run_id, r.display_name, r.project, r.run_group) for r in runs} == {
        (ids[0], "first try", "tests", "seeds")
    }
    assert set(runs[0].tags) == {"a", "b"}
    history = []
    for record in records:
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            history.append({i.key or ".".join(i.nested_key): i.value_json for i in items})
    logged = [row for row in history if "validation.nrows" in row]
    assert {row["validation._type"] for row in logged} == {'"incremental-table-file"'}
    steps = ["10", "20", "30", "40"]
    assert [row["trainer/global_step"] for row in logged] == steps
    # four rows for each validation, whichever run of the process logged it
    assert [row["validation.nrows"] for row in logged] == ["4", "8", "12", "16"]
    assert [r["train_loss"] for r in history if "train_loss" in r] == ["0.5", "0.5"]
    tables = [
        json.loads(path.read_text())
        for path in sorted(tmp_path.glob("wandb/offline*/files/media/table/validation_*.json"))
    ]
    groups = ["scores", "missed injections", "loudest injections", "loudest background"]
    # what each validation adds; the first after an interruption brings back what was before
    for table, added in zip(tables, ([10], [20], [10, 20, 30], [40]), strict=True):
        rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
        assert [(r["step"], r["drawing"]) for r in rows] == [(s, g) for s in added for g in groups]
        assert [row["valid_auroc"] for row in rows] == [0.6 + 0.01 * r["step"] for r in rows]
    # what waits to be sent lies with the run: one page per row
    staged = [p.read_text(errors="replace") for p in tmp_path.glob("wandb/artifacts/staging/*")]
    pages = [text for text in staged if text.startswith("<!DOCTYPE html>")]
    assert len(pages) == 24
    assert all(len(embedded(page, "record")) == 1 for page in pages)


@pytest.mark.parametrize("case", ["no service", "no key"])
@pytest.mark.usefixtures("offline")
def test_training_goes_on_where_wandb_cannot_be_reached(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    if case == "no service":
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("train.watching.wandb.INIT_TIMEOUT", 2.0)
    with caplog.at_level(logging.WARNING, "train"):
        logger = make_logger(WandbOptions(True, "name"), tmp_path)
    assert logger is not None
    logger.log_metrics({"loss": 1.0}, 1)
    wandb.teardown()
    (message,) = [r.getMessage() for r in caplog.records if r.name == "train"]
    assert re.fullmatch(r"W&B cannot be used \(.+\): the run is logged to .*wandb, .*", message)
    assert any(r.WhichOneof("record_type") == "history" for r in records_of(tmp_path))


def test_wandb_is_asked_for_on_the_command_line(tmp_path: Path) -> None:
    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    add_wandb_arguments(parser)
    assert wandb_options(parser.parse_args([])) == WandbOptions()
    assert make_logger(WandbOptions(), tmp_path) is None
    assert not list(tmp_path.iterdir())
    wanted = WandbOptions(True, "one", "two", "three", "four", ("five", "six"))
    words = {"name": "one", "project": "two", "entity": "three", "group": "four"}
    for mark in "-_":
        arguments = [f"--use{mark}wandb", f"--wandb{mark}tags=[five, six]"]
        arguments += [f"--wandb{mark}{name}={value}" for name, value in words.items()]
        parsed = parser.parse_args(arguments)
        assert wandb_options(parsed) == wanted
        saved = tmp_path / "config.yaml"
        parser.save(parsed, saved, overwrite=True)
        assert wandb_options(parser.parse_args([f"--config={saved}"])) == wanted


class Tiny(L.LightningModule):
    """A module whose every step takes a known time."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.validated: list[int] = []

    def training_step(self, batch: Any, _: int) -> Tensor:
        time.sleep(0.02)
        return self.layer(batch[0]).mean()

    def validation_step(self, batch: Any, _: int) -> None:
        time.sleep(0.3)
        outcome = SimpleNamespace(measures={"valid_auroc": 0.75})
        for callback in self.trainer.callbacks:
            if hasattr(callback, "on_validation_score"):
                callback.on_validation_score(self.trainer, self, outcome)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(folder: Path, epochs: int, *callbacks: L.Callback, resume: Path | None = None) -> None:
    items = [(torch.zeros(16, 1), torch.zeros(16))] * 5
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
    )
    loader = torch.utils.data.DataLoader(items, batch_size=None)
    trainer.fit(Tiny(), loader, [0], ckpt_path=resume)
    trainer.save_checkpoint(folder / "end.ckpt")


def test_progress_counts_kernels_and_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "train"):
        fit(tmp_path, 2, TrainingProgress(every=0.0))
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("step ")]
    assert [line.split(":")[0] for line in lines] == [f"step {i}/10" for i in range(1, 11)]
    rates = [float(re.search(r"([\d.e+]+) kernels/s", line)[1]) for line in lines]
    # 16 kernels in 20 ms and a bit; the validation between the epochs does not count
    assert 300 < rates[-1] <= 800
    assert lines[-1].endswith(", 0 s left")
    caplog.clear()
    with caplog.at_level(logging.INFO, "train"):
        fit(tmp_path, 3, TrainingProgress(every=0.0), resume=tmp_path / "end.ckpt")
    lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith("step ")]
    assert [line.split(":")[0] for line in lines] == [f"step {i}/15" for i in range(11, 16)]


def test_progress_is_a_bar_on_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    fit(tmp_path, 2, TrainingProgress())
    shown = capsys.readouterr().err.split("\r")
    assert re.search(r"train: 100%\|.*\| 10/10 steps, \S+ kernels/s, 0 s left", shown[-1])


def test_callback_of_the_documentation_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = textwrap.dedent(watching.__doc__.split("\n\n")[2]).split("# train.yaml")[0]
    scope: dict[str, Any] = {"L": L}
    exec(example, scope)
    network = Loudness(1).eval()
    outcome = make_outcome(network)
    outcome.validation.injections.snr[3:5] = 7.0
    scope["QuietEvents"]().on_validation_score(make_trainer(10), None, outcome)
    found = (outcome.foreground[:2] > outcome.background.max()).double().mean()
    assert capsys.readouterr().out == f"0 {found} 0.6\n"
    received: list[Any] = []

    class Receiver(L.Callback):
        def on_validation_score(self, trainer: Any, module: Any, outcome: Any) -> None:
            received.append((trainer.current_epoch, type(module), outcome.measures))

    fit(tmp_path, 2, Receiver())
    assert received == [(epoch, Tiny, {"valid_auroc": 0.75}) for epoch in (0, 1)]
