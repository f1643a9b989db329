"""Responses of detectors to signals, the same to the last bit whenever they are made."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from waveforms.model import SignalModel, Sources, num_sources, rows_of
from waveforms.projection import antenna_response, project
from waveforms.threads import single_threaded

BLOCK_SIZE = 64
# Blocks that a ResponseSet remembers: slices taken in order cross one boundary at a time.
CACHED_BLOCKS = 4


class ResponseSet:
    """Responses of detectors, made when they are asked for.

    Bits of a signal may depend on which others are made with it, by how processors take several
    numbers at once. So responses are made in blocks of consecutive rows, always whole: the same
    rows are the same bytes however they are asked for, with any number of threads or processes,
    by the same libraries on a machine of the same kind.

    Args:
        model: Makes the polarizations.
        sources: Parameters by name, of length n.
        gps: GPS time of each signal's coalescence at the geocentre [s], of shape (n,).
        ifos: Detectors.
        block_size: Rows of a block; part of what decides the bits.
    """

    def __init__(
        self,
        model: SignalModel,
        sources: Sources,
        gps: np.ndarray,
        ifos: tuple[str, ...],
        block_size: int = BLOCK_SIZE,
    ) -> None:
        self.model, self.sources, self.gps, self.ifos = model, sources, np.asarray(gps), ifos
        self.block_size = block_size
        self._blocks: OrderedDict[int, np.ndarray] = OrderedDict()

    def __len__(self) -> int:
        return num_sources(self.sources)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, detectors, samples."""
        return len(self), len(self.ifos), self.model.size

    def __getitem__(self, rows: slice | np.ndarray | list[int]) -> np.ndarray:
        """Responses of some rows.

        Args:
            rows: Which, as numpy takes them: a slice, indices in any order, or a mask.

        Returns:
            Strain, float32, of shape (rows, ifo, size).

        Raises:
            IndexError: There is no such row.
            ValueError: The signal of a row cannot be made.
        """
        wanted = np.arange(len(self))[rows]
        out = np.empty((len(wanted), *self.shape[1:]), dtype=np.float32)
        blocks = wanted // self.block_size
        for number in np.unique(blocks):
            here = np.flatnonzero(blocks == number)
            out[here] = self._block(int(number))[wanted[here] - number * self.block_size]
        return out

    def _block(self, number: int) -> np.ndarray:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        block = self._make(number)
        self._blocks[number] = block
        if len(self._blocks) > CACHED_BLOCKS:
            self._blocks.popitem(last=False)
        return block

    def _make(self, number: int) -> np.ndarray:
        first = number * self.block_size
        rows = slice(first, min(first + self.block_size, len(self)))
        sources = rows_of(self.sources, rows)
        block = np.zeros((rows.stop - first, *self.shape[1:]), dtype=np.float32)
        with single_threaded():
            factors, delay = antenna_response(sources, self.gps[rows], self.ifos)
            for batch in self.model.batches(sources):
                strain = project(
                    batch.plus,
                    batch.cross,
                    factors[batch.index],
                    delay[batch.index],
                    self.model.sample_rate,
                )
                block[batch.index] = strain.float().cpu().numpy()
        require_all(self.model, first)
        return block


def detector_responses(
    model: SignalModel,
    sources: Sources,
    gps: np.ndarray,
    ifos: tuple[str, ...],
    rows: np.ndarray | None = None,
    block_size: int = BLOCK_SIZE,
) -> np.ndarray:
    """Responses of detectors to some rows of sources, or to all; see `ResponseSet`.

    Args:
        model: Makes the polarizations.
        sources: Parameters by name, of length n.
        gps: GPS time of each signal's coalescence at the geocentre [s], of shape (n,).
        ifos: Detectors.
        rows: Which rows; all where absent.
        block_size: Rows of a block; part of what decides the bits.

    Returns:
        Strain, float32, of shape (rows, ifo, size).

    Raises:
        ValueError: The signal of a row cannot be made.
    """
    responses = ResponseSet(model, sources, gps, ifos, block_size)
    return responses[slice(None) if rows is None else rows]


def require_all(model: SignalModel, first: int = 0, rows: np.ndarray | None = None) -> None:
    """Stop if a signal of the latest call could not be made.

    Args:
        model: The model.
        first: Row of its first source.
        rows: Row of each source, if they are not consecutive.

    Raises:
        ValueError: A signal could not be made.
    """
    if not model.failures:
        return
    failed = model.failures[0]
    row = first + failed.index if rows is None else int(rows[failed.index])
    raise ValueError(
        f"the signal of row {row} cannot be made ({len(model.failures)} such in its block): "
        f"{failed.reason}; its source is {failed.parameters}"
    )
