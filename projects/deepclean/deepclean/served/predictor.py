"""A layer's network, asked as a stream."""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from hermes.aeriel.client import InferenceClient
from hermes.errors import InferenceError

from deepclean.served.connection import Connection
from deepclean.served.errors import ServerAway
from deepclean.served.naming import DELAY_SIZE, INPUT

log = logging.getLogger("deepclean")

IN_FLIGHT = 8
"""Updates under way; fewer than a client takes before it makes its caller wait."""
SAME = (4 * np.finfo(np.float32).eps, 1e-12)
"""By how much samples that were sent may differ from those that are asked about: rounding of what
is resampled anew, relative to the sample and to the largest of its channel."""


@dataclass(frozen=True)
class Told:
    """What was asked last, and the answer.

    Attributes:
        witnesses: Of shape (channel, time).
        first: Index of the first sample.
        noise: Of shape (time,).
    """

    witnesses: np.ndarray
    first: int
    noise: np.ndarray

    @property
    def stop(self) -> int:
        """Index after the last sample."""
        return self.first + self.witnesses.shape[-1]

    def is_continued(self, witnesses: np.ndarray, first: int) -> bool:
        """Whether a stretch begins within this one, and is the same where both are."""
        if not self.first <= first <= self.stop:
            return False
        size = min(self.stop, first + witnesses.shape[-1]) - first
        begin = first - self.first
        mine, theirs = self.witnesses[:, begin : begin + size], witnesses[:, :size]
        if size == 0 or np.array_equal(mine, theirs):
            return True
        relative, absolute = SAME
        largest = np.abs(mine).max(axis=-1, keepdims=True)
        # what is not a number is no continuation
        return bool(np.all(np.abs(mine - theirs) <= relative * np.abs(mine) + absolute * largest))


class Sequence:
    """A stream of updates on the server, from its first one on.

    Args:
        client: The model's client.
    """

    def __init__(self, client: InferenceClient) -> None:
        self.client = client
        self.update_size = int(client.inputs[INPUT][1][-1])
        self.delay_size = int(client.parameters[DELAY_SIZE])
        self._id = client.new_sequence()
        self._begun = False

    def send(self, witnesses: np.ndarray, patience: float) -> np.ndarray:
        """Send whole updates, and wait for the noise.

        Args:
            witnesses: Of shape (channel, time).
            patience: Time to wait for an answer [s].

        Returns:
            As many samples, which stand `delay_size` before those sent.

        Raises:
            InferenceError: There is no answer.
            TimeoutError: None in time.
        """
        waiting: deque[Future[np.ndarray]] = deque()
        found: list[np.ndarray] = []
        for begin in range(0, witnesses.shape[-1], self.update_size):
            if len(waiting) == IN_FLIGHT:
                found.append(waiting.popleft().result(patience)[0])
            waiting.append(self._send(witnesses[:, begin : begin + self.update_size]))
        found += [future.result(patience)[0] for future in waiting]
        return np.concatenate(found)

    def end(self) -> None:
        """Free the place on the server, which takes an end only with an update."""
        shape = [n or 1 for n in self.client.inputs[INPUT][1]]
        self.client.infer(np.zeros(shape, np.float32), sequence_id=self._id, sequence_end=True)

    def _send(self, update: np.ndarray) -> Future[np.ndarray]:
        start, self._begun = not self._begun, True
        return self.client.infer(
            np.ascontiguousarray(update[None]), sequence_id=self._id, sequence_start=start
        )


class ServedPredictor:
    """A layer's network on a server, as a `cleaning.Predictor`.

    What is asked second by second is sent as one stream, each sample once. All samples are known
    by their index: what goes on where the last stretch ended, with the same samples before, goes
    on in the stream; for all else (a restart, seconds that were dropped, a step back, a gap, a
    server that lost its states) a new stream begins with what the network sees of the past. What
    was asked before is answered from memory.

    Args:
        connection: The way to the model.
        hop_size: That of the network.
        past_size: That of the network.
        future_size: That of the network.
    """

    def __init__(
        self, connection: Connection, hop_size: int, past_size: int, future_size: int
    ) -> None:
        self.connection = connection
        self.hop_size = hop_size
        self.past_size = past_size
        self.future_size = future_size
        self._told: Told | None = None
        self._sequence: Sequence | None = None

    def predict(self, witnesses: np.ndarray, first: int) -> np.ndarray:
        """See `cleaning.Predictor`.

        Raises:
            ServerAway: The server gives no answer.
        """
        # what goes to the server
        witnesses = witnesses.astype(np.float32)
        told = self._told
        if told is not None and told.is_continued(witnesses, first):
            if first + witnesses.shape[-1] <= told.stop:
                begin = first - told.first
                return told.noise[begin : begin + witnesses.shape[-1]]
            noise = self._go_on(told, witnesses, first)
            if noise is None:
                noise = self._begin(witnesses)
        else:
            noise = self._begin(witnesses)
        self._told = Told(witnesses, first, noise)
        return noise

    def require(self) -> None:
        """See that the model can be asked.

        Raises:
            ServerAway: It cannot.
        """
        self.connection.open()

    def _go_on(self, told: Told, witnesses: np.ndarray, first: int) -> np.ndarray | None:
        """Noise by what is new alone; None where the stream cannot go on."""
        sequence, more = self._sequence, witnesses[:, told.stop - first :]
        if sequence is None or more.shape[-1] % sequence.update_size:
            return None
        if sequence.client is not self.connection.open():
            return None
        try:
            new = sequence.send(more, self.connection.place.patience)
        except InferenceError as error:
            log.info("%s: a new stream begins, since %s", self.connection.model, error)
            self._forget()
            return None
        except TimeoutError:
            raise self._silent() from None
        # from the first sample that was asked about the last time on
        both = np.concatenate((told.noise[: len(told.noise) - self.future_size], new))
        return self._placed(both[first - told.first :])

    def _begin(self, witnesses: np.ndarray) -> np.ndarray:
        """Noise by a new stream."""
        try:
            client = self.connection.open()
            if self._sequence is not None and self._sequence.client is client:
                self._sequence.end()
            self._sequence = None
            sequence = Sequence(client)
            noise = self._send_all(sequence, witnesses)
        except InferenceError as error:
            self._forget()
            raise ServerAway(str(error)) from error
        except TimeoutError:
            raise self._silent() from None
        return noise

    def _send_all(self, sequence: Sequence, witnesses: np.ndarray) -> np.ndarray:
        """Send a stretch as whole updates that end where it ends; before it are zeros."""
        channels, size = witnesses.shape
        # beyond what the network sees: windows that are averaged come late
        tail = sequence.delay_size - self.future_size
        lead = -(size + tail) % sequence.update_size
        updates = np.zeros((channels, lead + size + tail), dtype=np.float32)
        updates[:, lead : lead + size] = witnesses
        found = sequence.send(updates, self.connection.place.patience)
        if tail:
            # what was sent for the sake of the last windows is no part of any stream
            sequence.end()
        else:
            self._sequence = sequence
        return self._placed(found[lead + sequence.delay_size :])

    def _placed(self, noise: np.ndarray) -> np.ndarray:
        """Noise with zeros for the last samples, whose future has not been seen."""
        return np.concatenate((noise, np.zeros(self.future_size, dtype=noise.dtype)))

    def _forget(self) -> None:
        self._told = self._sequence = None
        self.connection.drop()

    def _silent(self) -> ServerAway:
        """Give up a server that does not answer."""
        place = self.connection.place
        place.note_silence()
        self._forget()
        return ServerAway(f"{place.address} did not answer within {place.patience:g} s")
