"""A page for each injection of which the search kept strain and scores."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluate.embedding import LIBRARY, embed, templates
from evaluate.figures.detail import Detail, detail_figures
from evaluate.figures.injections import injection_table
from evaluate.findings import Findings

FOUND_AT = "found at [1/yr]"


@dataclass(frozen=True)
class ShownInjection:
    """An injection with a page.

    Attributes:
        fold: Its fold.
        row: Its place among the details of the fold.
        position: Its place among the accepted injections of all folds.
        page: Name of its page.
        numbers: What is told of it, by name and unit.
        found: The least false-alarm rate at which it is found [1/yr], or that it is missed.
        snr: Its network SNR.
    """

    fold: int
    row: int
    position: int
    page: str
    numbers: dict[str, float]
    found: str
    snr: float


def shown_injections(findings: Findings) -> list[ShownInjection]:
    """Injections that have a page, the loudest first.

    Args:
        findings: What was found.
    """
    table = injection_table(findings)
    if table is None:
        return []
    shown = []
    begin = 0
    for result in findings.folds:
        kept = findings.details.get(result.fold)
        for row, injection in enumerate(kept.injection if kept else ()):
            position = begin + int(injection)
            numbers = {
                name: float(values[position])
                for name, values in table.items()
                if name not in ("color", FOUND_AT)
            }
            shown.append(
                ShownInjection(
                    fold=result.fold,
                    row=row,
                    position=position,
                    page=f"{result.fold}-{int(injection)}.html",
                    numbers=numbers,
                    found=str(table[FOUND_AT][position]),
                    snr=float(result.injections.snr[injection]),
                )
            )
        begin += len(result.injections.snr)
    return sorted(shown, key=lambda one: (-one.snr, one.position))


def write_injection_pages(findings: Findings, folder: Path) -> None:
    """Write the pages; no folder if there are none.

    Args:
        findings: What was found.
        folder: Folder to write `<fold>-<injection>.html` into; it is made.
    """
    shown = shown_injections(findings)
    if not shown:
        return
    folder.mkdir()
    template = templates().get_template("injection.html.jinja")
    for i, one in enumerate(shown):
        result, kept = findings.folds[one.fold], findings.details[one.fold]
        injections, row = result.injections, int(kept.injection[one.row])
        score = np.asarray(kept.score[one.row])
        detail = Detail(
            gps=float(kept.time[one.row]),
            ifos=kept.ifos,
            rate=kept.sample_rate,
            whitened=np.asarray(kept.whitened[one.row]),
            signal=np.asarray(kept.signal[one.row]),
            score=score,
            score_time=kept.score_start + np.arange(len(score)) / kept.score_rate,
        )
        script, places = embed(detail_figures(detail, findings.experiment))
        page = template.render(
            experiment=findings.experiment,
            version=findings.version,
            one=one,
            gps=detail.gps,
            statistic=float(injections.statistic[row]),
            late=float(injections.time[row] - injections.injection_time[row]),
            ifo_snr=dict(zip(injections.ifos, map(float, injections.ifo_snr[row]), strict=True)),
            parameters={name: float(v[row]) for name, v in injections.parameters.items()},
            before=shown[i - 1].page if i else None,
            after=shown[i + 1].page if i + 1 < len(shown) else None,
            number=len(shown),
            place=i + 1,
            plots=places,
            plot_script=script,
            library=f"../{LIBRARY}",
        )
        (folder / one.page).write_text(page, encoding="utf-8")
