"""Products of a search that did not happen: Poisson noise, injections, known mergers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from ledger import EventSet, RecoveredInjections, StrainIndex
from ledger.injections import InjectionDetails
from priors import population
from runtime import Experiment, generator_for, load_experiment, make_provenance

CONFIGS = Path(__file__).parents[3] / "configs"
EVENT_RATE = 0.05  # noise events per second, in every fold
FILE_LENGTH = 256.0
EDGE = 16.0  # of each file, not analysed
# Scale and offset of the statistics of each fold: no two networks have the same.
SCALES = ((1.0, 0.0), (3.0, 20.0))


class FakeSearch:
    """A folder with the results of a search, one folder for each fold.

    Args:
        folder: Where to write.
        experiment: Name of a shipped experiment.
        evaluation: Settings of the evaluation to replace.
        background_livetime: Livetime of each fold's background [s].
        num_injections: Number of draws in each fold.
        prior: Population of the injections, that of the experiment if None.
    """

    def __init__(
        self,
        folder: Path,
        experiment: str = "open-events",
        evaluation: dict | None = None,
        background_livetime: float = 1.2e6,
        num_injections: int = 4000,
        prior: str | None = None,
    ) -> None:
        self.folder = folder
        self.background_livetime = background_livetime
        self.num_injections = num_injections
        settings = yaml.safe_load((CONFIGS / experiment / "experiment.yaml").read_text())
        settings["evaluation"].update(evaluation or {})
        settings["waveforms"]["prior"] = prior or settings["waveforms"]["prior"]
        self.experiment_file = folder / "experiment.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        self.experiment_file.write_text(yaml.safe_dump(settings))
        self.experiment: Experiment = load_experiment(self.experiment_file)
        self.folds = self.experiment.folds
        self.strain = folder / "strain" / "index.hdf5"
        self.index = self._index()
        self.index.write(self.strain, make_provenance("fake index", self.experiment))
        self.results = [folder / f"events-{k}" for k in range(self.folds)]
        self.runs = [folder / f"train-{k}" for k in range(self.folds)]
        self.stages = folder / "stages.json"
        self.stages.write_text(json.dumps({"import": 8.2, "train": 311.0, "infer": 95.5}))
        for fold in range(self.folds):
            self._fold(fold)
            self._metrics(fold)

    def options(self, output: Path) -> list[str]:
        """Arguments of the command line."""
        listed = {"--results": self.results, "--runs": self.runs}
        lists = [
            text
            for option, paths in listed.items()
            for text in (option, "[" + ",".join(map(str, paths)) + "]")
        ]
        return [
            "report",
            *("--experiment", str(self.experiment_file)),
            *("--version", "v1-0123abcd"),
            *lists,
            *("--strain", str(self.strain)),
            *("--stages", str(self.stages)),
            *("--output", str(output)),
        ]

    def keywords(self, output: Path) -> dict:
        """The same for the function."""
        return {**self.inputs(), "output": output}

    def inputs(self) -> dict:
        """What is read of it."""
        return {
            "experiment": self.experiment_file,
            "version": "v1-0123abcd",
            "results": self.results,
            "runs": self.runs,
            "strain": self.strain,
            "stages": self.stages,
        }

    def rewrite(
        self, which: int, name: str, parents: dict | None = None, **changes: object
    ) -> None:
        """Write one product of a fold again with other contents."""
        product = RecoveredInjections if name == "foreground" else EventSet
        path = self.results[which] / f"{name}.hdf5"
        contents = replace(product.read(path), **changes)
        contents.write(path, make_provenance("fake search", self.experiment, 1, parents))

    def _index(self) -> StrainIndex:
        num = 12
        start = 1126000000.0 + 1000.0 * np.arange(num)
        roles = np.full((num, self.folds), 0)
        roles[np.arange(num), np.arange(num) % self.folds] = 2
        known = start[:4] + 128.25
        labels = ["GW-loud", "GW-quiet", "GW-missed", "GW-loud-too", "GW-elsewhere"]
        known = np.append(known, 1125000000.0)
        return StrainIndex(
            ifos=self.experiment.ifos,
            sample_rate=self.experiment.sample_rate,
            path=[f"{i}.hdf5" for i in range(num)],
            label=[f"file {i}" for i in range(num)],
            gps_start=start,
            gps_stop=start + FILE_LENGTH,
            role=roles,
            known_label=labels,
            known_time=known,
            known_window=known[:, None] + np.array([-2.0, 2.0]),
        )

    def _fold(self, fold: int) -> None:
        rng = generator_for(self.experiment.seed, "fake", fold)
        scale, offset = SCALES[fold]
        mine = np.flatnonzero(self.index.role[:, fold] == 2)
        analysed = np.stack([self.index.gps_start[mine] + EDGE, self.index.gps_stop[mine] - EDGE])
        analysed = analysed.T
        searched = float(np.diff(analysed).sum())
        num_slides = max(1, round(self.background_livetime / searched))
        livetime = np.full(num_slides, self.background_livetime / num_slides)
        common = {"ifos": self.experiment.ifos, "threshold": -1e30}
        common |= {"mark": np.zeros(0), "mark_reason": [], "mark_ifo": np.zeros(0)}

        def noise(num: int) -> np.ndarray:
            return offset + scale * rng.exponential(size=num)

        def times(num: int) -> np.ndarray:
            span = analysed[rng.integers(len(analysed), size=num)]
            return rng.uniform(span[:, 0], span[:, 1])

        def details(num: int, loud: np.ndarray) -> dict:
            rate, score_rate = self.experiment.sample_rate, 64.0
            whitened = rng.normal(size=(len(loud), 2, int(4 * rate)))
            at = np.arange(-0.4, 0, 1 / rate)
            chirp = 6 * np.sin(2 * np.pi * 30 * (-at) ** 0.7) * np.exp(at / 0.15)
            middle = whitened.shape[2] // 2
            whitened[:2, :, middle - len(chirp) : middle] += chirp
            score = np.cumsum(rng.normal(size=(len(loud), 512)), axis=1) / 10
            score += 10 * np.exp(-0.5 * (np.arange(-256, 256) / 20) ** 2)
            return {
                "detail": loud,
                "detail_rate": rate,
                "detail_score_rate": score_rate,
                "detail_whitened": whitened,
                "detail_score": score,
            }

        size = rng.poisson(EVENT_RATE * self.background_livetime)
        shift = np.zeros((num_slides, 2))
        shift[:, 1] = 6.0 * np.arange(1, num_slides + 1)
        slide = rng.integers(num_slides, size=size)
        # the other detector's time lies further by the shift, in the analysed time as a circle
        place = rng.uniform(0, searched, size)
        lengths = np.diff(analysed, axis=1)[:, 0]
        begins = np.cumsum(lengths) - lengths
        both = []
        for at in (place, (place + shift[slide, 1]) % searched):
            file = np.searchsorted(begins, at, side="right") - 1
            both.append(analysed[file, 0] + at - begins[file])
        when = np.stack(both, axis=1)
        # away from the windows of known events, as the search leaves them out
        windows = self.index.known_window[:, :, None, None]
        away = ~((windows[:, 0] <= when) & (when < windows[:, 1])).any(axis=(0, 2))
        when, slide = when[away], slide[away]
        size = len(slide)
        background = EventSet(
            kind="background",
            statistic=noise(size),
            time=when,
            slide=slide + 1,
            fold=np.full(size, fold),
            slide_shift=shift,
            slide_fold=np.full(num_slides, fold),
            slide_livetime=livetime,
            analysed=analysed,
            analysed_label=[self.index.label[i] for i in mine],
            **details(0, np.arange(0)),
            **common,
        )
        size = rng.poisson(EVENT_RATE * searched)
        statistic, when = noise(size), times(size)
        louder = background.statistic.max()
        for i, level in enumerate(
            (louder + 3 * scale, offset + 0.3 * scale, None, louder + scale)
        ):
            if level is not None and i in mine:
                near = np.abs(when - self.index.known_time[i]) < 4
                statistic = np.append(statistic[~near], level)
                when = np.append(when[~near], self.index.known_time[i] + 0.02)
        quiet = np.abs(when - self.index.known_time[2]) < 0.6
        statistic, when = statistic[~quiet], when[~quiet]
        loud = np.argsort(-statistic)[: self.experiment.evaluation.num_loudest]
        zero_lag = EventSet(
            kind="zero-lag",
            statistic=statistic,
            time=np.stack([when, when], axis=1),
            slide=np.zeros(len(when)),
            fold=np.full(len(when), fold),
            slide_shift=np.zeros((1, 2)),
            slide_fold=np.full(1, fold),
            slide_livetime=np.full(1, searched),
            analysed=analysed,
            analysed_label=[self.index.label[i] for i in mine],
            **details(len(loud), loud),
            **common,
        )
        waveforms = self.experiment.waveforms
        source = population(waveforms.prior, waveforms.redshift_max)
        draws = source.sample(self.num_injections, rng)
        total = draws["mass_1_detector"] + draws["mass_2_detector"]
        chirp = (draws["mass_1_detector"] * draws["mass_2_detector"]) ** 0.6 / total**0.2
        facing = rng.beta(2, 4, self.num_injections)
        snr = 300 * facing * (chirp / 25) ** (5 / 6) * 100 / draws["luminosity_distance"]
        snr *= 2.0
        accepted = snr >= self.experiment.injections.snr_threshold
        num = int(accepted.sum())
        num_rejected = int((~accepted).sum())
        when = times(num)
        foreground = RecoveredInjections(
            ifos=self.experiment.ifos,
            snr_threshold=self.experiment.injections.snr_threshold,
            volume=source.volume,
            statistic=offset + scale * (1.1 * snr[accepted] - 1 + rng.exponential(size=num)),
            time=when + rng.normal(0, 0.01, num),
            injection_time=when,
            snr=snr[accepted],
            ifo_snr=np.stack([snr[accepted], snr[accepted]], axis=1) / np.sqrt(2),
            fold=np.full(num, fold),
            parameters={name: values[accepted] for name, values in draws.items()},
            rejected={name: values[~accepted] for name, values in draws.items()},
            rejected_snr=snr[~accepted],
            rejected_file=np.zeros(num_rejected),
            rejected_draw=np.arange(num_rejected),
            stream="injections/0",
        )
        provenance = make_provenance(
            "fake search", self.experiment, 1, parents={"strain": self.strain}
        )
        for name, product in (
            ("background", background),
            ("zero-lag", zero_lag),
            ("foreground", foreground),
        ):
            product.write(self.results[fold] / f"{name}.hdf5", provenance)
        loudest = np.argsort(-foreground.snr)[:2]
        shown = details(len(loudest), loudest)
        InjectionDetails(
            ifos=self.experiment.ifos,
            fold=fold,
            sample_rate=shown["detail_rate"],
            score_rate=shown["detail_score_rate"],
            score_start=-2.0,
            injection=loudest,
            time=foreground.injection_time[loudest],
            whitened=shown["detail_whitened"],
            signal=0.5 * shown["detail_whitened"],
            score=shown["detail_score"],
        ).write(self.results[fold] / "injection-details.hdf5", provenance)

    def _metrics(self, fold: int) -> None:
        """Rows as Lightning's logger leaves them: training and validation on different rows."""
        rng = generator_for(self.experiment.seed, "metrics", fold)
        lines = ["epoch,step,train_loss,valid_auroc,valid_loss,valid_recall"]
        for epoch in range(12):
            loss = 0.6 * np.exp(-epoch / 4) + 0.1 + 0.02 * rng.random()
            lines.append(f"{epoch},{100 * epoch + 50},{loss:.5f},,,")
            auroc = 1 - 0.4 * np.exp(-epoch / 3)
            recall = 0.6 * (1 - np.exp(-epoch / 4))
            lines.append(f"{epoch},{100 * epoch + 99},,{auroc:.5f},{loss * 1.1:.5f},{recall:.4f}")
        self.runs[fold].mkdir(parents=True)
        (self.runs[fold] / "metrics.csv").write_text("\n".join(lines) + "\n")
