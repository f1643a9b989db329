"""Small inputs for training: white noise, bursts, injections of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ledger import InjectionSet, StrainIndex, StrainSegment, WaveformSet
from preprocessing import WhiteningRecipe, optimal_snr, running_psd
from runtime import load_experiment, make_provenance
from train.data import Data

REPOSITORY = Path(__file__).parents[3]
RATE = 512
ASD = 1e-23


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """White noise, chirp-like bursts, and injections of them, written through the ledger."""
    folder = tmp_path_factory.mktemp("inputs")
    settings = yaml.safe_load((REPOSITORY / "configs/smoke/experiment.yaml").read_text())
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump(settings))
    experiment = load_experiment(path)
    provenance = make_provenance("test", experiment)
    rng = np.random.default_rng(0)
    files = {"training": (1000.0, 300), "validation": (2000.0, 200), "search": (3000.0, 100)}
    for role, (start, seconds) in files.items():
        strain = {
            ifo: rng.standard_normal(seconds * RATE) * ASD * np.sqrt(RATE / 2)
            for ifo in experiment.ifos
        }
        StrainSegment(strain=strain, gps_start=start, sample_rate=RATE).write(
            folder / f"{role}.hdf5", provenance
        )
    StrainIndex(
        ifos=experiment.ifos,
        sample_rate=RATE,
        path=[f"{role}.hdf5" for role in files],
        label=list(files),
        gps_start=np.array([s for s, _ in files.values()]),
        gps_stop=np.array([s + n for s, n in files.values()]),
        role=np.array([[0], [1], [2]]),
        known_label=["burst"],
        known_time=np.array([1100.0]),
        known_window=np.array([[1099.0, 1101.0]]),
    ).write(folder / "index.hdf5", provenance)
    time = np.arange(4 * RATE) / RATE - 3
    waves = []
    for frequency in rng.uniform(60, 150, 64):
        phase = 2 * np.pi * frequency * time + rng.uniform(0, 2 * np.pi)
        waves.append(1e-21 * np.exp(-((time / 0.04) ** 2)) * np.exp(1j * phase))
    waves = np.array(waves)
    WaveformSet(
        sample_rate=RATE,
        coalescence=3.0,
        parameters={"redshift": np.zeros(64)},
        num_failed=0,
        plus=waves.real,
        cross=waves.imag,
    ).write(folder / "waveforms.hdf5", provenance)
    count = 40
    times = 2015.0 + 4.0 * np.arange(count)
    response = np.stack([waves[:count].real, waves[:count].imag], axis=1)
    recipe = WhiteningRecipe.from_settings(experiment.settings())
    validation = StrainSegment.read(folder / "validation.hdf5")
    strain = torch.stack([torch.from_numpy(validation.strain[i]) for i in experiment.ifos])
    psd = running_psd(strain, recipe)[[recipe.block(t - 2000) for t in times]]
    snr = optimal_snr(torch.from_numpy(response), psd, RATE, 32)
    response *= (15 / snr.square().sum(-1).sqrt().numpy())[:, None, None]
    InjectionSet(
        ifos=experiment.ifos,
        sample_rate=RATE,
        coalescence=3.0,
        snr_threshold=4.0,
        volume=10.0,
        time=times,
        snr=np.full(count, 15.0),
        ifo_snr=np.full((count, 2), 15 / np.sqrt(2)),
        parameters={"redshift": np.zeros(count)},
        response=response,
        rejected={"redshift": np.zeros(60)},
        rejected_snr=np.zeros(60),
        shift=np.zeros((count, 2)),
        file=np.zeros(count),
        draw=np.arange(count),
        rejected_by=np.zeros(60),
        rejected_file=np.zeros(60),
        rejected_draw=np.arange(40, 100),
        failed_file=np.zeros(0),
        failed_draw=np.zeros(0),
        failed_reason=[],
        stream="injections/0",
    ).write(folder / "validation-0.hdf5", provenance)
    return {
        "experiment": path,
        "strain": folder / "index.hdf5",
        "waveforms": folder / "waveforms.hdf5",
        "validation": folder / "validation-0.hdf5",
    }


def data_of(inputs: dict[str, Path], **options: object) -> Data:
    data = Data(**inputs, **options)
    data.trainer = None
    data.setup("fit")
    return data
