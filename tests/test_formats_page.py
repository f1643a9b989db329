"""docs/formats.md says what the code says."""

from ledger.formats import describe_all


def test_formats_page_is_current(repository):
    page = (repository / "docs" / "formats.md").read_text()
    _, tables = page.split("\n---\n\n", maxsplit=1)
    assert tables == describe_all() + "\n"


def test_the_commands_of_the_architecture_page_are_those_of_the_tasks(repository):
    """Every verb that a task runs stands in the table of commands."""
    import re

    page = (repository / "docs" / "architecture.md").read_text()
    documented = set(re.findall(r"^\| `(\w+) ([\w-]+) ", page, re.MULTILINE))
    run = {
        ("datagen", verb)
        for verb in (
            "query",
            "fetch",
            "simulate",
            "index",
            "import",
            "training-waveforms",
            "merge-training-waveforms",
            "validation-waveforms",
            "injections",
            "merge-injections",
        )
    } | {
        ("train", "fit"),
        ("train", "tune"),
        ("train", "restore"),
        ("export", "build"),
        *(("infer", verb) for verb in ("search", "frames", "slides", "injections", "zero-lag")),
        *(("infer", verb) for verb in ("merge", "mdc")),
        ("evaluate", "report"),
        ("evaluate", "compare"),
        *(("deepclean", verb) for verb in ("simulate", "collect", "publish", "clean", "report")),
        *(("deepclean", verb) for verb in ("play", "online", "monitor", "trainer", "status")),
        ("deepclean", "live"),
    }
    assert documented == run
