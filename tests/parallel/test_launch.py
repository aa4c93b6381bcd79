"""How processes are started and ended, with a stand-in for mpiexec; what MPI itself does is tested in test_mpi.py."""

import os
import sys

import pytest

from minigrad.errors import ParallelError
from minigrad.parallel import ending_together, find_mpiexec, launch, launched, world
from minigrad.parallel import launch as launch_function
from tests.parallel.threads import errors_of

module = sys.modules[launch_function.__module__]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in for mpiexec is a shell script")

BANNER = """
===================================================================================
=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES
===================================================================================
YOUR APPLICATION TERMINATED WITH THE EXIT STRING: Killed (signal 9)
"""


@pytest.fixture
def mpiexec(tmp_path, monkeypatch):
    """Return a function that makes a script the mpiexec that is found."""

    def make(script):
        path = tmp_path / "mpiexec"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(module, "find_mpiexec", lambda: str(path))
        monkeypatch.setattr(module, "find_spec", lambda name: name)

    return make


def test_lines_and_the_exit_code_are_passed_on(mpiexec):
    mpiexec('printf "%s\\n" "$*"; echo "$WHAT"; exit 3')
    said = []
    assert launch(["train", "--x"], 4, {"WHAT": "gone by signal 5"}, said.append) == (3, None)
    assert said == ["-n 4 train --x", "gone by signal 5"]


def test_a_killed_process_is_told_from_the_banner_which_is_left_out(mpiexec):
    mpiexec(f"echo one\ncat <<'END'{BANNER}END\nexit 9")
    said = []
    assert launch([], 2, {}, said.append) == (9, 9)
    assert said == ["one"]


def test_mpiexec_itself_may_be_killed(mpiexec):
    mpiexec("kill -TERM $$")
    assert launch([], 2, {}, print) == (-15, 15)


def test_an_interrupted_launch_ends_the_job(mpiexec, tmp_path):
    mpiexec(f"trap 'echo ended > {tmp_path}/note; exit 1' TERM; echo up; while :; do sleep 0.05; done")

    def interrupt(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch([], 2, {}, interrupt)
    assert (tmp_path / "note").read_text() == "ended\n"


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(
        ParallelError, match=r"needs mpi4py, which is not installed; `pip install .*distributed\]` installs"
    ):
        launch([], 2, {}, print)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ParallelError, match=r"needs mpi4py with an MPI library \(.*\); `pip install"):
        world()
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    monkeypatch.setattr(module.sys, "executable", "/nowhere/python")
    with pytest.raises(ParallelError, match="needs mpiexec, which is not on the PATH; on Linux `pip install"):
        find_mpiexec()


def test_the_mpiexec_beside_this_python_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(module.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/mpiexec")
    assert find_mpiexec() == "/usr/bin/mpiexec"
    (tmp_path / "mpiexec").touch()
    assert find_mpiexec() == str(tmp_path / "mpiexec")


def test_a_process_knows_who_started_it(monkeypatch):
    for name in ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert not launched()
    monkeypatch.setenv("PMI_RANK", "0")
    assert launched()


def test_one_failure_ends_all_and_the_first_process_speaks_first(monkeypatch):
    order = []
    monkeypatch.setattr(module.time, "sleep", lambda seconds: order.append(seconds))
    monkeypatch.setattr(module.os, "dup2", lambda *descriptors: None)

    def fail(comm):
        def tell(error):
            order.append(str(error))
            return 7

        with ending_together(comm, tell):
            if comm.rank == 1:
                raise ValueError("one is wrong")
            comm.allgather(None)

    class Aborts:
        rank, size = 1, 2

        def Abort(self, code):
            order.append(code)

    with pytest.raises(ValueError, match="one is wrong"):
        fail(Aborts())
    assert order == [module.LATER, "one is wrong", 7]
    order.clear()
    Aborts.size = 1  # nobody waits: the error goes its usual way
    with pytest.raises(ValueError, match="one is wrong"):
        fail(Aborts())
    assert order == []
    assert [error and error.split(":")[0] for error in errors_of(2, fail)] == ["BrokenBarrierError", "ValueError"]


def test_an_error_is_shown_with_its_traceback(monkeypatch, capsys):
    class Aborts:
        rank, size, code = 0, 2, None

        def Abort(self, code):
            Aborts.code = code

    monkeypatch.setattr(module.os, "dup2", lambda *descriptors: None)
    with pytest.raises(ZeroDivisionError), ending_together(Aborts()):
        1 / 0  # noqa: B018
    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err
    assert Aborts.code == 1
