"""The model card: what a network was trained on, how good it was found, where it must not go."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from runtime import Experiment

MEANINGS = {
    "valid_auroc": "area under the ROC up to a false-positive rate of 1e-3 per 8 s (chance 0.5)",
    "valid_recall": "fraction of the injections above the loudest background",
    "valid_recall_hour": "fraction at one false alarm per hour",
    "valid_recall_day": "fraction at one false alarm per day",
    "valid_recall_lowest": "fraction at the lowest rate that the livetime supports",
    "valid_lowest_far": "that rate [1/yr]",
    "valid_volume": "sensitive volume at that rate [Gpc^3]",
    "valid_livetime_s": "livetime of the background [s]",
    "valid_num_injections": "injections",
    "valid_delay_s": "median delay of the score behind the coalescence [s]",
}

INTRODUCTION = (
    "A network that tells signals of compact binaries from noise, its weights in half precision. "
    "All numbers of the experiment are in `model.yaml`."
)

LIMITS = """\
- Chosen by the figures above, so these are a little too good; `python -m train test` measures on
  strain by which nothing was chosen.
- No figure holds below the rate that the livetime supports.
- For the detectors, the sample rate and the whitening above and no others: scores of data that
  were whitened in another way mean nothing.
- For signals as above; what it makes of other sources was not measured."""


def write_text(
    name: str,
    description: Mapping[str, Any],
    config: Mapping[str, Any],
    resources: Mapping[str, Any],
) -> str:
    """Text of the card, in Markdown.

    Args:
        name: Name of the model.
        description: Content of `model.yaml`, with `weights`.
        config: Content of the run's `config.yaml`.
        resources: Content of the run's `resources.yaml`; empty where there is none.
    """
    settings, training = description["settings"], description["training"]
    white, waves = settings["whitening"], settings["waveforms"]
    weights = description["weights"]
    kernels = training["steps"] * training["batch_size"]
    network = {
        "architecture": f"{description['architecture']} ({description['family']}), "
        f"options {description.get('options') or 'as they are by default'}",
        "parameters": description["num_parameters"],
        "input": f"whitened strain of {', '.join(description['ifos'])} at "
        f"{description['sample_rate']:g} Hz, kernels of {settings['kernel_length']:g} s",
        "whitening": f"from {settings['highpass']:g} Hz, PSD of {white['psd_length']:g} s before "
        f"the data, filter of {white['fduration']:g} s",
        "weights": f"`{weights['file']}`, {weights['precision']}; scores differ by at most "
        f"{weights['largest_difference']:.2g} from those of the trained network",
    }
    data = {
        "experiment": f"{settings['name']}, digest {digest_of(settings)}",
        "seed": f"{settings['seed']}, and {training['seed_offset']} for this training",
        "noise": _noise(settings["strain"]),
        "signals": f"{waves['num_training']} of {waves['approximant']} ({waves['generator']}), "
        f"prior {waves['prior']}, up to redshift {waves['redshift_max']:g}",
        "products": ", ".join(
            f"{role} {id_[:12]}" for role, id_ in description["parents"].items()
        ),
        "code": description["code_version"],
    }
    took = {
        "steps": f"{training['steps']} of {training['batch_size']} kernels: {kernels:,} in all",
        "precision": training["precision"] + (", compiled" if training["compile"] else ""),
        "processes": training["num_processes"],
        "chosen by": f"{training['monitor']}, epoch {training['epoch']}",
        "device": resources.get("device", "not recorded"),
        "duration": _duration(resources.get("duration_s")),
    }
    if "busy_share" in resources:
        took["GPU busy"] = f"{resources['busy_share']:.0%} of the time"
    measures = {
        MEANINGS.get(measure, measure): f"{value:.4g}"
        for measure, value in description["measures"].items()
    }
    glitches = config["data"].get("glitches")
    chosen = {
        "model": config["model"],
        # where a file lay on the machine is nobody's business
        "data": config["data"] | ({"glitches": Path(glitches).name} if glitches else {}),
        "trainer": {
            key: config["trainer"].get(key)
            for key in ("max_epochs", "max_time", "precision", "gradient_clip_val")
        },
    }
    return (
        "\n\n".join(
            (
                f"# {name}",
                INTRODUCTION,
                "## The network",
                _table(network),
                "## What it was trained on",
                _table(data),
                "## How it was trained",
                _table(took),
                "## How good it was found",
                "On time slides of validation strain and injections into it, in single precision:",
                _table(measures),
                "## Limits",
                LIMITS,
                "## Use",
                f"    python -m train restore --model models/{name} --run_dir RUN",
                "makes of it what a training leaves, `model.pt` and `model.yaml`, for `export` "
                "and `infer`. `train.card.load(folder)` is the network itself.",
                "## Settings of the training",
                f"```yaml\n{yaml.safe_dump(chosen, sort_keys=False)}```",
            )
        )
        + "\n"
    )


def digest_of(settings: Mapping[str, Any]) -> str:
    """Eight characters that change when any number of an experiment changes."""
    return Experiment.model_validate(dict(settings)).digest()


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {rows[key]} |" for key in rows)])


def _noise(strain: Mapping[str, Any]) -> str:
    """Where the strain came from, and how long it is."""
    if strain["source"] == "import":
        return "imported strain"
    start, stop = strain["training"]
    source = {"simulate": "simulated", "fetch": "fetched"}[strain["source"]]
    text = f"{source}, {(stop - start) / 3600:.3g} h from GPS {start:.0f}"
    curves = strain.get("noise_curves")
    if curves:
        text += "; " + ", ".join(
            f"{ifo} of {curve if isinstance(curve, str) else f'{len(curve)} noise curves'}"
            for ifo, curve in curves.items()
        )
    return text + ("; with glitches" if strain.get("glitches") else "")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "not recorded"
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min {rest % 60} s, validations included"
