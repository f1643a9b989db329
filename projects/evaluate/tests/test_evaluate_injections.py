"""Pages of injections."""

import re
from dataclasses import replace

import numpy as np
import pytest
from evaluate.injection_details import read_injection_details
from evaluate.injection_pages import shown_injections, write_injection_pages
from evaluate.lines import draw_lines
from evaluate.page import render
from evaluate.summary import summarise
from ledger import ProductError
from ledger.injections import InjectionDetails
from runtime import make_provenance


def test_pages_tell_of_the_injections_that_were_kept(made, findings):
    output, _ = made
    page = (output / "index.html").read_text()
    links = re.findall(r'class="injection" href="injections/([^"]+)">([^<]+)<', page)
    assert len(links) == 4  # two in each of two folds
    for name, gps in links:
        fold, injection = map(int, name.removesuffix(".html").split("-"))
        injections = findings.folds[fold].injections
        # the loudest of each fold
        assert injection in np.argsort(-injections.snr)[:2]
        assert f"{injections.injection_time[injection]:.2f}" == gps
        text = (output / "injections" / name).read_text()
        for what in (
            f"Injection at GPS {injections.injection_time[injection]:.3f}",
            f"<b>{injections.snr[injection]:.4g}</b>",
            f"<b>{injections.statistic[injection]:.4g}</b>",
            f"{injections.parameters['mass_1_source'][injection]:.4g}</td>",
            "signal in H1",
            "L1: energy",
            "Integrated score",
        ):
            assert what in text
    snr = [one.snr for one in shown_injections(findings)]
    assert snr == sorted(snr, reverse=True)
    texts = [(output / "injections" / name).read_text() for name, _ in links]
    # from the loudest to the quietest and back
    assert f'href="{links[1][0]}">A quieter one' in texts[0]
    assert f'href="{links[2][0]}">A louder one' in texts[3]


def test_least_rate_at_which_it_is_found(findings):
    for one in shown_injections(findings):
        injection = int(one.page.removesuffix(".html").split("-")[1])
        supported = {far: some for far, some in findings.recovered.items() if some is not None}
        found = [far for far, some in supported.items() if some[one.fold][injection]]
        assert one.found == (f"{min(found):g}" if found else "missed")


def test_without_details_there_are_no_pages(findings, tmp_path):
    nothing = replace(findings, details={})
    write_injection_pages(nothing, tmp_path / "injections")
    assert not (tmp_path / "injections").exists()
    page = render(nothing, summarise(nothing), draw_lines(nothing))
    assert "Injections with a page" not in page
    assert read_injection_details([tmp_path], findings.experiment, findings.folds) == {}


def test_details_of_other_injections_are_refused(finished_search, findings, tmp_path):
    kept = InjectionDetails.read(finished_search.results[1] / "injection-details.hdf5")
    provenance = make_provenance("test", findings.experiment)
    read = read_injection_details(
        finished_search.results[::-1], findings.experiment, findings.folds
    )
    np.testing.assert_array_equal(read[1].injection, kept.injection)
    for wrong in (
        replace(kept, time=kept.time + 1),
        replace(kept, fold=0),
        replace(kept, injection=kept.injection + 10**6),
    ):
        wrong.write(tmp_path / "injection-details.hdf5", provenance)
        with pytest.raises(ProductError, match="of other injections than"):
            read_injection_details([tmp_path], findings.experiment, findings.folds)
