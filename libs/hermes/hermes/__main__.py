"""`python -m hermes`: serve a model repository, watch servers, look into a repository."""

import argparse
import contextlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

from hermes.errors import RepositoryError, ServerError

USER_ERRORS = (RepositoryError, ServerError, ValueError, OSError)
_LIVENESS_INTERVAL = 0.2


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = argparse.ArgumentParser(prog="hermes", description="Inference as a service.")
    verbs = parser.add_subparsers(dest="verb", required=True)

    add = verbs.add_parser("serve", help="run a Triton server until it is interrupted")
    add.add_argument("repository", help="folder or URL of the model repository")
    add.add_argument("--model", action="append", dest="models", help="wait for it; repeatable")
    add.add_argument("--gpus", type=_list, help="GPUs to use, such as 0,1")
    add.add_argument("--runner", default="auto", help="local, apptainer, docker or auto")
    add.add_argument("--image", help="image with a tritonserver")
    add.add_argument("--control", default="poll", help="poll, explicit or none")
    add.add_argument(
        "--ports", type=_ports, help="for HTTP, gRPC, metrics, such as 8000,8001,8002; else free"
    )
    add.add_argument("--timeout", type=float, default=120.0, help="to be ready [s]")
    add.add_argument("--log", help="file that the server's log is added to")
    add.set_defaults(run=run_server)

    add = verbs.add_parser("monitor", help="show what servers do")
    add.add_argument(
        "servers", nargs="+", help="address of the metrics: URL, HOST:PORT, or HOST alone"
    )
    add.add_argument("--model", action="append", dest="models", help="watch it; repeatable")
    add.add_argument("--interval", type=float, default=1.0, help="between readings [s]")
    add.add_argument("--duration", type=float, help="how long to watch [s]; else until Ctrl-C")
    add.add_argument("--file", help="CSV file to add the readings to")
    add.add_argument("--plot", help="HTML page to write at the end; needs --file")
    add.set_defaults(run=run_monitor)

    add = verbs.add_parser("ls", help="list the models of a repository")
    add.add_argument("repository", help="folder or URL of the model repository")
    add.set_defaults(run=list_repository)
    return parser


def run_server(options: argparse.Namespace) -> None:
    """Serve until interrupted, or until the server ends by itself.

    Raises:
        ServerError: The server, or a model that was asked for, is not ready.
    """
    from hermes.aeriel.serve import serve

    with serve(
        options.repository,
        gpus=options.gpus,
        runner=options.runner,
        image=options.image,
        models=options.models,
        control=options.control,
        ports=options.ports,
        timeout=options.timeout,
        log=options.log,
    ) as instance:
        instance.wait()
        say(f"grpc {instance.address}")
        say(f"http {instance.http_address}")
        say(f"metrics {instance.metrics_url}")
        while instance.alive:
            time.sleep(_LIVENESS_INTERVAL)
        raise ServerError(f"the server ended; the end of its log:\n{instance.log_tail()}")


def run_monitor(options: argparse.Namespace) -> None:
    """Show readings until interrupted.

    Raises:
        ValueError: A plot is asked for without a file.
    """
    if options.plot and not options.file:
        raise ValueError("--plot needs --file, the table that is plotted")
    from hermes.aeriel.monitor import ServerMonitor
    from hermes.aeriel.monitor.display import open_display
    from hermes.aeriel.monitor.plot import write_plot

    with (
        contextlib.suppress(KeyboardInterrupt),
        open_display() as display,
        ServerMonitor(
            options.servers,
            options.models,
            interval=options.interval,
            file=options.file,
            listener=display.show,
        ),
    ):
        threading.Event().wait(options.duration)
    if options.plot:
        say(str(write_plot(options.file, options.plot)))


def list_repository(options: argparse.Namespace) -> None:
    """Print models, versions, inputs and outputs.

    Raises:
        RepositoryError: A model is broken; the others are printed before.
    """
    from hermes.quiver import ModelRepository
    from hermes.quiver.tensor import show

    repository = ModelRepository(options.repository)
    for name, model in sorted(repository.models.items()):
        versions = ", ".join(
            str(version)
            + (" served" if version in model.served_versions else "")
            + (" pinned" if version in model.pinned_versions else "")
            for version in model.versions
        )
        say(f"{name}: {model.platform.name.lower()}, versions {versions or 'none'}")
        for what, tensors in (("input", model.inputs), ("output", model.outputs)):
            for tensor in tensors.values():
                say(f"  {what} {tensor.name} {show(tensor.shape)} {tensor.dtype}")
        for taken, given in model.states.items():
            say(f"  state {taken} from {given}")
    for error in repository.broken.values():
        raise error


def say(line: str) -> None:
    """Write a line to stdout at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `python -m hermes`.

    Args:
        arguments: Those of the command line if None.

    Returns:
        0, or 1 after a sentence about what the user can mend.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    options = build_parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        return 0
    except USER_ERRORS as error:
        sys.stderr.write(f"hermes {options.verb}: {error}\n")
        return 1
    return 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _list(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _ports(text: str) -> tuple[int, int, int]:
    http, grpc, metrics = map(int, text.split(","))
    return http, grpc, metrics


if __name__ == "__main__":
    # The server is ended the same way whoever asks for it.
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
