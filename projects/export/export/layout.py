"""Which models a repository holds, and how they are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from hermes.quiver import EnsembleModel, Model, ModelRepository, Platform
from preprocessing import StreamingWhitening, WhitenBlock, WhiteningRecipe
from runtime.provenance import NETWORK_PARAMETER

from export.modules import Evidence, FilteredScore, Head, Score, Towers
from export.streams import SnapshotKernels, StreamedNetwork

# Strain is of this order; random numbers of order one would overflow its PSD.
STRAIN = 1e-21
# Kernels that a server is given at once, at least.
LARGEST_BATCH = 128
# Streams that a server holds at once in one instance of a model with states.
NUM_STREAMS = 16


class Layout:
    """Adds the models of one network to a repository.

    Args:
        repository: Where to.
        network: The network, as training published it.
        description: Its description, from `model.yaml`.
        recipe: Whitening settings.
        platform: What runs the networks.
        score_hop: Samples between two scores.
    """

    def __init__(
        self,
        repository: ModelRepository,
        network: torch.jit.ScriptModule,
        description: Mapping[str, Any],
        recipe: WhiteningRecipe,
        platform: Platform,
        score_hop: int,
    ) -> None:
        self.repository = repository
        self.network = network
        self.description = description
        self.recipe = recipe
        self.score_hop = score_hop
        self.ifos = len(description["ifos"])
        self.kernel_size: int = description["kernel_size"]
        self.platform = Platform.TORCHSCRIPT if needs_torch(network) else platform
        whitens_in_torch = platform is Platform.TORCHSCRIPT
        self.whitening_platform = Platform.TORCHSCRIPT if whitens_in_torch else Platform.ONNX

    def add_windows(self) -> None:
        """Add `network`, of whitened kernels, and, where it takes them alone, `aframe`.

        The latter is an ensemble that whitens the kernel at the end of a window of raw strain by
        the PSD of the window's beginning, and scores it.
        """
        shapes = {"kernel": (None, self.ifos, self.kernel_size)}
        module = Score(self.network)
        if self.description["needs_taps"]:
            shapes["taps"] = (None, self.ifos, self.recipe.filter_size)
            module = FilteredScore(self.network)
        # an update of snapshots comes as one batch
        largest = max(LARGEST_BATCH, self.recipe.update_size // self.score_hop)
        network = self._add("network", self.platform, module, shapes, ["score"], max_batch=largest)
        if self.description["needs_taps"]:
            return
        window = self.recipe.psd_size + self.recipe.filter_size + self.kernel_size
        whiten = self._add(
            "whiten",
            self.whitening_platform,
            WhitenBlock(self.recipe),
            {"strain": (None, self.ifos, window)},
            ["whitened"],
            examples={"strain": self._strain(2, window)},
        )
        whole = self._ensemble("aframe")
        whole.add_input(whiten.inputs["strain"])
        whole.pipe(whiten.outputs["whitened"], network.inputs["kernel"])
        whole.add_output(network.outputs["score"])
        whole.export_version(None)

    def add_frames(self) -> None:
        """Add `towers` and `head` of a streaming network, for stretches of any length."""
        stretch = self._whitened()
        self._add(
            "towers",
            self.platform,
            Towers(self.network),
            {"whitened": (None, self.ifos, None)},
            ["features"],
            examples={"whitened": stretch},
        )
        with torch.no_grad():
            features = self.network.towers(torch.from_numpy(stretch))
        self._add(
            "head",
            self.platform,
            Head(self.network),
            {"features": (None, *features.shape[1:3], None)},
            ["evidence"],
            examples={"features": features.numpy()},
        )

    def add_evidence(self) -> None:
        """Add `evidence` of a network without towers, for stretches of any length."""
        self._add(
            "evidence",
            self.platform,
            Evidence(self.network),
            {"whitened": (None, self.ifos, None)},
            ["evidence"],
            examples={"whitened": self._whitened()},
        )

    def add_streams(self) -> dict[str, dict[str, int]]:
        """Add the ensembles that take strain as it comes.

        Returns:
            For each what its client needs to know, in samples: `update_size`; `lead_in`, zeros to
            send before a stretch for the same blocks as in a search of the stretch; the
            start of the first score's kernel, counted from the first sample sent, `first_kernel`;
            `score_hop`, from one kernel's start to the next.
        """
        streams = {}
        if not self.description["needs_taps"]:
            streams["aframe-snapshots"] = self._add_snapshots()
        if self.description["streaming"]:
            streams["aframe-stream"] = self._add_stream()
        return streams

    def _add_stream(self) -> dict[str, int]:
        """Add `aframe-stream`: each sample is whitened and seen by the network once."""
        hop = self.description["hop_size"]
        whitening = StreamingWhitening(self.recipe)
        size = whitening.update_size
        streamed = StreamedNetwork(self.network, self.description, self.score_hop // hop, size)
        whiten = self._add(
            "whiten-stream",
            self.whitening_platform,
            whitening,
            {"strain": (1, self.ifos, size), "history": (1, self.ifos, whitening.history_size)},
            ["whitened", "next_history"],
            states={"history": "next_history"},
            examples={
                "strain": self._strain(1, size),
                "history": self._strain(1, whitening.history_size),
            },
            memory=-(-whitening.history_size // size),
            warm_up=whitening.warm_up,
        )
        network = self._add(
            "network-stream",
            self.platform,
            streamed,
            {"whitened": (1, self.ifos, size), **streamed.states},
            ["score", *(f"next_{name}" for name in streamed.states)],
            states={name: f"next_{name}" for name in streamed.states},
            memory=-(-streamed.reach * hop // size),
            warm_up=-(-streamed.reach * hop // size),
        )
        whole = self._ensemble("aframe-stream")
        whole.add_input(whiten.inputs["strain"])
        whole.pipe(whiten.outputs["whitened"], network.inputs["whitened"])
        whole.add_output(network.outputs["score"])
        whole.export_version(None)
        return {
            "update_size": size,
            "lead_in": whitening.lead_in,
            "first_kernel": (streamed.phase - streamed.reach) * hop - self.recipe.filter_size // 2,
            "score_hop": self.score_hop,
        }

    def _add_snapshots(self) -> dict[str, int]:
        """Add `aframe-snapshots`: overlapping windows of strain, each whitened as a whole."""
        size = self.recipe.update_size
        num_kernels = size // self.score_hop
        reach = self.kernel_size + (num_kernels - 1) * self.score_hop
        window = self.recipe.psd_size + self.recipe.filter_size + reach
        kernels = self._add(
            "whiten-snapshots",
            self.whitening_platform,
            SnapshotKernels(
                WhitenBlock(self.recipe), self.kernel_size, self.score_hop, num_kernels
            ),
            {"strain": (1, self.ifos, window)},
            ["kernels"],
            examples={"strain": self._strain(1, window)},
        )
        network = self.repository.models["network"]
        whole = self._ensemble("aframe-snapshots")
        whole.add_streaming_inputs(
            kernels.inputs["strain"],
            stream_size=size,
            streams_per_gpu=NUM_STREAMS,
            strategy="oldest",
            key="strain",
        )
        whole.pipe(kernels.outputs["kernels"], network.inputs["kernel"])
        whole.add_output(network.outputs["score"])
        whole.export_version(None)
        return {
            "update_size": size,
            "lead_in": 0,
            "first_kernel": size - reach - self.recipe.filter_size // 2,
            "score_hop": self.score_hop,
        }

    def _add(
        self,
        name: str,
        platform: Platform,
        module: torch.nn.Module,
        input_shapes: Mapping[str, Sequence[int | None]],
        output_names: Sequence[str],
        **more: Any,
    ) -> Model:
        """Add a model and export its first version, with the name of the network in it."""
        model = self.repository.add(name, platform=platform)
        self._sign(model)
        if "states" in more:
            model.use_sequences("oldest", candidates=NUM_STREAMS)
        model.export_version(module, None, input_shapes, output_names, **more)
        return model

    def _ensemble(self, name: str) -> EnsembleModel:
        model = self.repository.add(name, platform=Platform.ENSEMBLE)
        self._sign(model)
        return model

    def _sign(self, model: Model) -> None:
        model.config.parameters[NETWORK_PARAMETER].string_value = self.description["sha256"]

    def _whitened(self) -> np.ndarray:
        """Noise of the order of whitened strain, of shape (batch, ifo, time)."""
        size = (2, self.ifos, 2 * self.kernel_size)
        return np.random.default_rng(0).standard_normal(size, dtype=np.float32)

    def _strain(self, batch: int, size: int) -> np.ndarray:
        """Noise of the order of strain, of shape (batch, ifo, size), louder towards its end."""
        rng = np.random.default_rng(0)
        noise = rng.standard_normal((batch, self.ifos, size), dtype=np.float32)
        return noise * np.linspace(1, 4, size, dtype=np.float32) * np.float32(STRAIN)


def needs_torch(network: torch.jit.ScriptModule) -> bool:
    """Whether a network takes Fourier transforms, for which a trace has no ONNX operators."""
    return any("fft" in node.kind() for node in network.inlined_graph.nodes())
