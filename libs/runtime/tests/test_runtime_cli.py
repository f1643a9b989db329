"""A stage's command line, seen from outside: exit codes and sentences."""

import subprocess
import sys

import pytest

STAGE = '''
"""A stage that fails as it is told to."""
import sys
from pathlib import Path
from runtime import command_line


def fail(how: str, number: int = 1) -> None:
    """Fail in some way.

    Args:
        how: Which way.
        number: A number.
    """
    errors = {"value": ValueError("the rate is 3, expected 4"), "fault": KeyError("ours"),
              "missing": FileNotFoundError("no file /x"), "interrupt": KeyboardInterrupt()}
    if how in errors:
        raise errors[how]
    print(how, number)


sys.modules["stage"] = sys.modules["__main__"]
command_line("stage", {"fail": fail})
'''


@pytest.fixture
def stage(tmp_path):
    (tmp_path / "stage.py").write_text(STAGE)

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, str(tmp_path / "stage.py"), *arguments],
            capture_output=True,
            text=True,
            env={"PATH": "/usr/bin", **environment},
            check=False,
        )

    return run


def test_success(stage):
    result = stage("fail", "--how", "well", "--number", "3")
    assert (result.returncode, result.stdout) == (0, "well 3\n")


def test_options_from_a_file(stage, tmp_path):
    (tmp_path / "options.yaml").write_text("how: well\nnumber: 5\n")
    assert stage("fail", "--config", str(tmp_path / "options.yaml")).stdout == "well 5\n"


@pytest.mark.parametrize(
    ("how", "sentence"),
    [("value", "the rate is 3, expected 4"), ("missing", "no file /x")],
)
def test_what_the_user_can_mend_is_one_sentence(how, sentence, stage):
    result = stage("fail", "--how", how)
    assert result.returncode == 1
    assert result.stderr == f"stage fail: {sentence}\n"


def test_a_fault_of_ours_keeps_its_traceback(stage):
    result = stage("fail", "--how", "fault")
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_the_traceback_of_a_user_error_on_request(stage):
    assert "Traceback" in stage("fail", "--how", "value", AFRAME_TRACEBACK="1").stderr


def test_an_interrupt_says_how_to_go_on(stage):
    result = stage("fail", "--how", "interrupt")
    assert result.returncode == 130
    assert "run it again to go on" in result.stderr


def test_a_wrong_option_is_refused(stage):
    assert stage("fail", "--hew", "value").returncode == 2
    assert stage("succeed").returncode == 2
    assert stage("fail", "--how", "well", "--number", "many").returncode == 2


def test_help_shows_the_docstring(stage):
    result = stage("fail", "--help")
    assert result.returncode == 0
    assert "Which way." in result.stdout
