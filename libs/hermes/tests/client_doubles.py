"""Transports whose other side the tests play."""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import SimpleQueue

import numpy as np
from hermes import dtypes
from hermes.errors import InvalidRequest, ServerUnavailable
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInput, ModelOutput


def make_config(size=2, dtype="float64", max_batch_size=0, memory=None, stateful=False, inputs=1):
    """A model `scripted` with inputs x, x1, ... and one output y of one size."""
    config = ModelConfig(name="scripted", max_batch_size=max_batch_size)
    type_ = dtypes.to_config(np.dtype(dtype))
    for number in range(inputs):
        name = f"x{number}" if number else "x"
        config.input.append(ModelInput(name=name, data_type=type_, dims=[size]))
    config.output.append(ModelOutput(name="y", data_type=type_, dims=[size]))
    if memory is not None:
        config.parameters["hermes.memory"].string_value = str(memory)
    if stateful:
        config.sequence_batching.SetInParent()
    return config


class Scripted:
    """Keeps what is sent; the test answers with `sent[n][1](answer)`."""

    version = 1

    def __init__(self, stateful=False, **settings):
        self.config = make_config(stateful=stateful, **settings)
        self.stateful = stateful
        self.sent = []
        self.reconnected = 0
        self.closed = False
        self.changed = threading.Condition()

    def send(self, request, done):
        with self.changed:
            self.sent.append((request, done))
            self.changed.notify_all()

    def reconnect(self):
        self.reconnected += 1

    def close(self):
        self.closed = True

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.sent) >= count, 5), len(self.sent)

    def answer(self, number, value=None):
        request, done = self.sent[number]
        done({"y": request.inputs["x"] if value is None else value})


class Immediate(Scripted):
    """Answers within `send` with what was sent."""

    def send(self, request, done):
        done({"y": request.inputs["x"]})


def expected_outputs(updates, memory):
    """What `Simulated` gives for a whole sequence: a sum that knows the order of its terms."""
    updates = np.asarray(updates)
    reach = len(updates) if memory is None else memory + 1
    return np.stack(
        [
            sum(updates[number - back] * (back + 1) for back in range(min(reach, number + 1)))
            for number in range(len(updates))
        ]
    )


class Simulated(Scripted):
    """A server with states, in a thread, that misbehaves at given requests.

    Faults by number of the request, counted over the server's life: "die" (all states gone, no
    answers for a while), "forget" (the sequence idled out), "mute" (executed, never answered),
    "late" (executed, answered after `delay`), "twice" (answered two times). With `slots`, that
    many sequences are served at a time, others wait until one ends.
    """

    def __init__(self, memory, faults=None, away=2, delay=0.0, slots=None):
        super().__init__(stateful=True, memory=memory)
        self.memory = memory
        self.faults = dict(faults or {})
        self.away = away
        self.delay = delay
        self.slots = slots
        self.held_back = []
        self.states = {}
        self.ended = []
        self.count = 0
        self.refusals = 0
        self.queue = SimpleQueue()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def send(self, request, done):
        self.queue.put((request, done))

    def close(self):
        super().close()
        self.queue.put(None)
        self.thread.join()

    def run(self):
        late = []
        while (item := self.queue.get()) is not None:
            self.execute(*item, late)
        for done, answer in late:
            done(answer)

    def execute(self, request, done, late):
        if self.refusals:
            self.refusals -= 1
            done(ServerUnavailable("still away"))
            return
        known = request.sequence_id in self.states
        if self.slots and not known and len(self.states) >= self.slots:
            self.held_back.append((request, done))
            return
        fault = self.faults.get(self.count)
        self.count += 1
        if fault == "die":
            self.states.clear()
            self.refusals = self.away
            done(ServerUnavailable("died"))
            return
        if fault == "forget":
            self.states.pop(request.sequence_id, None)
        if request.sequence_start:
            self.states[request.sequence_id] = deque(
                maxlen=None if self.memory is None else self.memory + 1
            )
        state = self.states.get(request.sequence_id)
        if state is None:
            done(InvalidRequest("must specify the START flag"))
            return
        state.appendleft(request.inputs["x"])
        answer = {"y": sum(x * (back + 1) for back, x in enumerate(state))}
        if request.sequence_end:
            del self.states[request.sequence_id]
            self.ended.append(request.sequence_id)
        if fault == "mute":
            late.append((done, answer))
        elif fault == "late":
            timer = threading.Timer(self.delay, done, [answer])
            timer.daemon = True
            timer.start()
        else:
            done(answer)
            if fault == "twice":
                done(answer)
        if request.sequence_end:
            held_back, self.held_back = self.held_back, []
            for item in held_back:
                self.execute(*item, late)


def wait_until(condition, timeout=5.0):
    """Wait for something that another thread brings about."""
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.002)
