import json
import re
import shutil
import subprocess
import threading
import urllib.error
import urllib.request

import pytest
from conftest import START
from deepclean.models import set_state
from deepclean.online.drops import Drops
from deepclean.online.telemetry import Telemetry
from deepclean.status.server import open_server
from deepclean.status.summary import SHOWN, summarise
from test_deepclean_verdict import record

NAN = float("nan")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def installation(deployment):
    """A folder in which all that can be shown has happened."""
    first = deployment.publish()
    set_state(deployment.store, first, "production", "<b>mean</b> ratio 0.5 & nothing before")
    second = deployment.publish(promote=False)
    telemetry = Telemetry(deployment.folder / "telemetry")
    for i in range(60):
        if i in (30, 31):
            continue
        changes = {"dropped": i == 20, "good": i not in (8, 9)}
        changes["ratios"] = () if i < 7 else (NAN,) if i == 40 else (0.5 + i / 1000,)
        telemetry.add(record(START + i, production=first, canary=second, **changes))
    drops = Drops(deployment.folder / "drops.jsonl")
    drops.add("witnesses", START + 20, "missing")
    for second_lost in (30, 31):
        drops.add("strain", START + second_lost, "cut")
    services = {"player": {"group": 12, "restarts": 3, "done": False}}
    (deployment.folder / "services.json").write_text(json.dumps(services))
    return deployment


@pytest.fixture
def served(installation):
    root = installation.folder
    with open_server(root, installation.store, root / "status.url") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield (root / "status.url").read_text().strip()
        server.shutdown()
        thread.join()


def test_what_is_shown(installation):
    found = summarise(installation.folder, installation.store)
    # no NaN, which a browser does not read
    json.dumps(found, allow_nan=False)
    assert len(found["seconds"]) == 58
    at = {second - START: i for i, second in enumerate(found["seconds"])}
    (ratios,) = found["ratios"]
    assert ratios[at[3]] is None
    assert ratios[at[40]] is None
    assert ratios[at[50]] == pytest.approx(0.55)
    assert [found["gate"][at[i]] for i in (8, 20, 50)] == ["closed", "dropped", "open"]
    assert (found["production"][0], found["canary"][0]) == (1, 2)
    assert [v["state"] for v in found["versions"]] == ["production", "canary"]
    assert found["num_drops"] == 3
    assert found["drops"][0] == {"second": START + 31, "kind": "strain", "reason": "cut"}


def test_nothing_has_happened_yet(tmp_path):
    found = summarise(tmp_path, tmp_path / "models")
    assert found["seconds"] == found["versions"] == found["drops"] == []


def test_only_the_newest_seconds_are_shown(tmp_path):
    telemetry = Telemetry(tmp_path / "telemetry")
    for i in range(SHOWN + 50):
        telemetry.add(record(START + i))
    assert len(summarise(tmp_path, tmp_path)["seconds"]) == SHOWN


def test_answers(served):
    with urllib.request.urlopen(served) as answer:
        assert answer.headers["Content-Type"].startswith("text/html")
    with urllib.request.urlopen(f"{served}status.json?x=1") as answer:
        assert len(json.load(answer)["seconds"]) == 58
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{served}../../etc/passwd")


def test_begun_again_it_listens_where_it_did(tmp_path):
    address = tmp_path / "status.url"
    for _ in range(2):
        with open_server(tmp_path, tmp_path, address) as server:
            port = server.server_port
        assert address.read_text() == f"http://127.0.0.1:{port}/\n"
    with open_server(tmp_path, tmp_path, address) as first:
        assert first.server_port == port
        # taken, then any other
        with open_server(tmp_path, tmp_path, address) as second:
            assert second.server_port != port


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here to open the page with")
def test_page_in_a_browser(served, tmp_path):
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=4000",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        served,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    page = done.stdout
    assert not re.findall(r".*CONSOLE.*", done.stderr)
    assert f"cleaned to GPS {START + 60}; production: version 1, on trial: 2" in page
    plots = dict(re.findall(r'<svg id="(\w+)".*?>(.*?)</svg>', page, re.S))
    assert set(plots) == {"ratio", "outside", "latency", "compute", "used", "gate"}
    # lines are broken where nothing was measured and where seconds are missing
    lines = re.findall(r'<path d="([^"]*)"', plots["ratio"])
    assert [line.count("M") for line in lines] == [3, 2]
    assert [len(re.findall("[ML]", line)) for line in lines] == [50, 58]
    production, canary = re.findall(r'<path d="M[^,]*,([\d.]+)', plots["used"])
    # higher up for a higher number
    assert float(canary) < float(production)
    for name, number in (("closed", 2), ("dropped", 1), ("open", 55)):
        assert plots["gate"].count(f'class="{name}"') == number
    # what others wrote stays text
    assert "&lt;b&gt;mean&lt;/b&gt; ratio 0.5 &amp; nothing before" in page
    assert re.search(r'<td class="canary">canary</td>', page)
    assert re.search(r'<span id="num-drops">3</span>', page)
    assert re.search(r"<td>player</td><td>12</td><td>3</td>", page)
