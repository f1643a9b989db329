"""From a repository to a server."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from hermes.aeriel.serve.log import Log
from hermes.aeriel.serve.ports import Ports
from hermes.aeriel.serve.repository import local_folder
from hermes.aeriel.serve.runners import Command, build_command
from hermes.aeriel.serve.server import Server

CONTROLS = ("poll", "explicit", "none")


@contextlib.contextmanager
def serve(
    repository: str | Path,
    *,
    gpus: Sequence[int | str] | None = None,
    runner: str = "auto",
    image: str | Path | None = None,
    models: Collection[str] | None = None,
    control: str = "poll",
    poll_seconds: int = 1,
    ports: tuple[int, int, int] | None = None,
    timeout: float = 120.0,
    exit_timeout: float = 3.0,
    log: str | Path | None = None,
    arguments: Sequence[str] = (),
) -> Iterator[Server]:
    """Run a Triton server for a model repository.

        with serve("repository") as instance:
            instance.wait()
            client = InferenceClient(instance.address, "aframe-stream")

    The server listens on the loopback interface alone. It is ended when the block is left,
    however that is, and when this process is gone.

    Args:
        repository: Folder, or URL that fsspec knows (`s3://`, `gs://`), which is copied first.
        gpus: GPUs to use, by number or id. None for all that the environment sees; with an image
            None is for none.
        runner: `local`, `apptainer` or `docker`; `auto` for the first of them that there is.
        image: Image with a `tritonserver`; by default our own if it is built, or NVIDIA's.
        models: Models that `wait` waits for, and, with control `explicit`, that are loaded; None
            for all that are in the repository.
        control: When models are loaded: `poll`, at the start and whenever the repository changes;
            `explicit`, when a client asks; `none`, at the start.
        poll_seconds: How often the repository is looked at with `poll` [s].
        ports: Those for HTTP, gRPC and metrics; None for free ones.
        timeout: Time that `wait` waits for the models [s].
        exit_timeout: Time that requests have to be finished when the server is ended [s].
        log: File that the server's log is added to; None for a temporary one.
        arguments: Further arguments of `tritonserver`.

    Raises:
        ServerError: The server cannot be started, or a port is taken.
        RepositoryError: There is no repository, or no model in it.
    """
    if control not in CONTROLS:
        raise ValueError(f"control {control} is not known, there are {', '.join(CONTROLS)}")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(local_folder(repository))

        def build(server_arguments: Sequence[str], name: str) -> Command:
            return build_command(
                runner, folder, server_arguments, name=name, gpus=gpus, image=image
            )

        written = Log(log)
        stack.callback(written.close)
        server = Server(
            build,
            [*_model_arguments(control, poll_seconds, models), *arguments],
            folder,
            models,
            Ports(*ports) if ports else None,
            timeout,
            exit_timeout,
            written,
        )
        stack.callback(server.close)
        try:
            yield server
        except Exception as error:
            if not server.alive:
                error.add_note(f"the server has ended; the end of its log:\n{server.log_tail()}")
            raise


def _model_arguments(control: str, poll_seconds: int, models: Collection[str] | None) -> list[str]:
    # What a configuration leaves out is not guessed: what is in the file is what is served.
    arguments = [f"--model-control-mode={control}", "--disable-auto-complete-config"]
    # One model that cannot be loaded does not keep the others from being served.
    arguments.append("--exit-on-error=false")
    if control == "poll":
        arguments.append(f"--repository-poll-secs={poll_seconds}")
    if control == "explicit":
        arguments += [f"--load-model={name}" for name in models or ["*"]]
    return arguments
