"""What is said where the server cannot run, and the folder of its backends."""

import os
import platform
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from triton_server import installation
from triton_server.__main__ import server_environment
from triton_server.installation import InstallationError, find_installation
from triton_server.layout import lay_out_backends


def test_all_parts_are_here():
    found = find_installation()
    for path in (found.binary, found.stub):
        assert path.stat().st_mode & stat.S_IXUSR
    assert (found.python_backend / "libtriton_python.so").exists()
    assert any(found.libraries.glob("libcudart*"))


def test_an_old_system_is_refused(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.31"))
    with pytest.raises(InstallationError, match=r"glibc 2.35 or newer, here is .* glibc 2.31"):
        find_installation()
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with pytest.raises(InstallationError, match="no glibc"):
        find_installation()


def test_a_python_without_a_stub_is_refused(monkeypatch):
    monkeypatch.setattr(installation, "PYTHON_VERSION", "3.99")
    with pytest.raises(InstallationError, match=r"no stub for Python 3.99, .* for 3.10, 3.11"):
        find_installation()


def test_a_python_without_its_library_is_told_which_package_to_install(monkeypatch):
    monkeypatch.setattr(installation, "PYTHON_VERSION", "3.99")
    with pytest.raises(InstallationError, match=r"no libpython3.99.so.1.0 in .*: libpython3.99;"):
        installation.find_python_library()


def test_a_missing_wheel_is_said_so(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InstallationError, match=r"no nvidia-pytriton in .*image of the server"):
        find_installation()
    spec = ModuleSpec("pytriton", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    with pytest.raises(InstallationError, match="holds no tritonserver/bin/tritonserver"):
        find_installation()


def test_the_command_says_it_in_a_sentence(tmp_path):
    code = (
        "import platform, runpy, sys; platform.libc_ver = lambda: ('glibc', '2.2');"
        "runpy.run_module('triton_server', run_name='__main__')"
    )
    answer = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert answer.returncode == 1
    assert answer.stderr.startswith("triton_server: the server needs Linux with glibc 2.35")
    assert "Traceback" not in answer.stderr


def test_servers_that_start_together_share_one_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    found = find_installation()
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: lay_out_backends(found), range(8)))
    (folder,) = folders
    assert folder.parent == tmp_path / "share" / "triton-backends"
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert os.access(folder / "python" / "triton_python_backend_stub", os.X_OK)
    assert {path.name for path in folder.iterdir()} == {"python", "onnxruntime", "pytorch"}


def test_an_environment_that_cannot_be_written_to_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = find_installation()
    assert lay_out_backends(found).is_relative_to(tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InstallationError, match="set XDG_CACHE_HOME"):
        lay_out_backends(found)


def test_the_stub_finds_this_interpreter_and_its_libraries(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/own")
    found = find_installation()
    environment = server_environment(found)
    assert environment["PATH"].split(":")[0] == str(Path(sys.prefix, "bin"))
    folders = environment["LD_LIBRARY_PATH"].split(":")
    assert folders[-2:] == [str(found.libraries), "/own"]
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
