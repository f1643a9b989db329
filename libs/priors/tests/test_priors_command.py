import subprocess
import sys

import priors
import pytest
from priors.__main__ import main


def test_list_names_every_population(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(priors.NAMES)
    assert any(line.startswith("gaussian_masses(mass_1, mass_2, sigma=2)") for line in lines)
    assert next(line for line in lines if line.startswith("nonspin_bbh")).split()[1] == "detector"


@pytest.mark.parametrize("name", ["gaussian_masses(35,30)", "sine_gaussian"])
def test_plot_is_an_image(tmp_path, name):
    output = tmp_path / "corner.png"
    assert main(["plot", name, "--count", "300", "--output", str(output)]) == 0
    assert output.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("arguments", [["plot", "no"], ["plot", "bns", "--count", "3"]])
def test_errors_are_one_sentence(tmp_path, capsys, arguments):
    output = tmp_path / "corner.png"
    assert main([*arguments, "--output", str(output)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not output.exists()


def test_plotting_is_imported_only_when_asked_for():
    code = "import sys, priors; sys.exit('corner' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
