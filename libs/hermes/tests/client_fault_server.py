"""A server that speaks Triton's protocol and misbehaves on command.

The first number of an input is the command: what a real server cannot be made to do at will.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
from client_doubles import make_config
from tritonclient.grpc import service_pb2, service_pb2_grpc

BREAK, LEAVE, TWICE, SHORT, UNNAMED, NAMED, MUTE, STRANGER, UNTYPED, FULL = range(101, 111)


def answer_to(request, output):
    answer = service_pb2.ModelInferResponse(id=request.id, model_name=request.model_name)
    answer.outputs.add(name="y", datatype="FP64", shape=[2])
    answer.raw_output_contents.append(output.tobytes())
    return answer


def failure(request_id, text):
    return service_pb2.ModelStreamInferResponse(
        error_message=text, infer_response=service_pb2.ModelInferResponse(id=request_id)
    )


class Faulty(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Models `sum`, which adds up a sequence, and `twice`, which keeps nothing."""

    def __init__(self):
        self.states = {}
        self.seen = []
        self.unary = []
        self.refuse = 0
        self.open_streams = 0
        self.lock = threading.Lock()

    def ModelConfig(self, request, context):  # noqa: N802
        if request.name not in ("sum", "twice"):
            context.abort(
                grpc.StatusCode.NOT_FOUND, f"unknown model: '{request.name}' is not found"
            )
        config = make_config(stateful=request.name == "sum")
        return service_pb2.ModelConfigResponse(config=config)

    def ModelMetadata(self, request, context):  # noqa: N802
        return service_pb2.ModelMetadataResponse(name=request.name, versions=["9", "10"])

    def ModelInfer(self, request, context):  # noqa: N802
        x = np.frombuffer(request.raw_input_contents[0])
        self.unary.append(request)
        if self.refuse:
            self.refuse -= 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        if x[0] == MUTE:
            context.add_callback((gone := threading.Event()).set)
            gone.wait(5)
        if x[0] == NAMED:
            context.abort(grpc.StatusCode.INTERNAL, "broken")
        return answer_to(request, 2 * x)

    def ModelStreamInfer(self, requests, context):  # noqa: N802
        with self.lock:
            self.open_streams += 1
        try:
            for request in requests:
                self.seen.append(request)
                yield from self.respond(request, context)
                if np.frombuffer(request.raw_input_contents[0])[0] == LEAVE:
                    return
        finally:
            with self.lock:
                self.open_streams -= 1

    def respond(self, request, context):
        x = np.frombuffer(request.raw_input_contents[0])
        sequence_id = request.parameters["sequence_id"].int64_param
        if request.parameters["sequence_start"].bool_param:
            self.states[sequence_id] = np.zeros(2)
        if sequence_id not in self.states:
            yield failure(request.id, "must specify the START flag")
            return
        self.states[sequence_id] = self.states[sequence_id] + x
        good = answer_to(request, self.states[sequence_id])
        command = x[0]
        if command == BREAK:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        if command in (LEAVE, MUTE):
            return
        if command == SHORT:
            good.raw_output_contents[0] = good.raw_output_contents[0][:-1]
        if command == UNTYPED:
            good.outputs[0].datatype = "BYTES"
        if command == STRANGER:
            stranger = service_pb2.ModelInferResponse()
            stranger.CopyFrom(good)
            stranger.id = "nobody"
            yield service_pb2.ModelStreamInferResponse(infer_response=stranger)
            yield failure("nobody", "broken")
        if command == UNNAMED:
            yield failure("", "broken")
        elif command == NAMED:
            yield failure(request.id, "broken")
        elif command == FULL:
            yield failure(request.id, "Exceeds maximum queue size")
        else:
            response = service_pb2.ModelStreamInferResponse(infer_response=good)
            yield response
            if command == TWICE:
                yield response


@contextmanager
def serving(servicer, port=0):
    """Serve on a loopback port; gives `HOST:PORT`."""
    threads = ThreadPoolExecutor(16)
    server = grpc.server(threads, options=[("grpc.so_reuseport", 0)], maximum_concurrent_rpcs=64)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
        threads.shutdown(wait=False)
