"""Where runs happen: every executor finds the same, also when a worker is killed."""

import importlib.util
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from minigrad.compression import distill_scan, executors
from minigrad.compression.distill_scan import FEW, Scan, plans_of
from minigrad.compression.executors import Processes, check_executor, open_executor, threads_each
from minigrad.compression.models import LENET_CHECKPOINT
from minigrad.compression.sweep import Job, run_all, run_jobs, stored

SCAN = Scan(seeds=2, alphas=(0.5, 1.0), student=replace(FEW, widths=(2, 3, 8, 8), epochs=1, images=100))
"""Six temperatures, two weights, two seeds."""


def temperatures(folder, data):
    """Return the 24 jobs of a temperature sweep."""
    plans = {name: plan for name, plan in plans_of(SCAN, LENET_CHECKPOINT).items() if name.startswith("T=")}
    return [Job(name, seed, plan, folder, data) for name, plan in plans.items() for seed in range(2)]


@pytest.mark.parametrize("how", ["serial", "mpi", "processes:2", "dask:3", "dask:tcp://10.0.0.1:8786"])
def test_the_forms_of_an_executors_name(how):
    assert check_executor(how) == how


@pytest.mark.parametrize("how", ["", "threads", "processes", "processes:0", "processes:x", "dask", "dask:", "mpi:2"])
def test_other_names_are_refused(how):
    with pytest.raises(ValueError, match=r"^executor '.*' is not one of serial, processes:2, mpi, dask:2"):
        check_executor(how)


def test_serial_is_no_executor():
    with open_executor("serial") as executor:
        assert executor is None


def test_processes_are_spawned_share_the_cores_and_are_replaced(monkeypatch):
    monkeypatch.setattr(executors, "MOST_THREADS", 8)
    with open_executor("processes:2") as pool:
        assert isinstance(pool, Processes)
        assert (pool.at_once, pool.threads) == (2, 4)
        assert pool._pool._mp_context.get_start_method() == "spawn"
        first = pool.submit(os.getpid).result()
        assert first != os.getpid()
        with pytest.raises(executors.BrokenExecutor):
            pool.submit(os.abort).result()
        assert pool.submit(os.getpid).result() not in (first, os.getpid())
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(os.getpid)
    assert threads_each(20) == 1
    with pytest.raises(ValueError, match="count is 0, expected 1 or more"):
        Processes(0)


@pytest.mark.parametrize(("how", "package"), [("mpi", "mpi4py"), ("dask:2", "distributed")])
def test_a_missing_package_is_named(how, package, monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    words = (
        rf"executor '{how}' needs {package}, which is not installed: pip install minigrad-compression\[distributed\]"
    )
    with pytest.raises(ModuleNotFoundError, match=words), open_executor(how):
        pass


@pytest.mark.distributed
def test_a_temperature_sweep_on_dask_survives_a_killed_worker(small_data, tmp_path):
    """No run is lost, none is there twice, and the results are those of a sweep without executor."""
    pytest.importorskip("distributed", reason="needs the extra `distributed`: dask is not installed")
    here, far = (temperatures(tmp_path / name, small_data) for name in ("here", "far"))
    assert len(here) == 24
    expected, _ = run_jobs(distill_scan.work, here)
    victims, environment = [], os.environ.copy()

    def kill():
        while len(list((tmp_path / "far").glob("*.json"))) < 5:
            time.sleep(0.01)
        victims.append(executor._client.cluster.workers[0].pid)
        os.kill(victims[0], signal.SIGKILL)

    with open_executor("dask:2") as executor:
        killer = threading.Thread(target=kill)
        killer.start()
        said = []
        runs, failures = run_jobs(distill_scan.work, far, executor, said.append)
        killer.join()
    assert failures == []
    assert [run["results"] for run in runs] == [run["results"] for run in expected]
    assert len(victims) == 1
    assert os.environ == environment
    assert sum("done in" in line for line in said) == 24
    assert len(list((tmp_path / "far").glob("*.json"))) == 24


@pytest.mark.distributed
def test_a_sweep_on_mpi_finds_the_same(small_data, tmp_path):
    launcher = shutil.which("mpiexec") or Path(sys.executable).with_name("mpiexec")
    if importlib.util.find_spec("mpi4py") is None or not Path(launcher).exists():
        pytest.skip("needs the extra `distributed`: mpi4py or mpiexec is not installed")
    here, far = (temperatures(tmp_path / name, small_data)[:6] for name in ("here", "far"))
    (tmp_path / "jobs").write_bytes(pickle.dumps(far))
    script = tmp_path / "sweep.py"
    script.write_text(
        "import pickle, sys\n"
        "from pathlib import Path\n"
        "from minigrad.compression.distill_scan import work\n"
        "from minigrad.compression.executors import open_executor\n"
        "from minigrad.compression.sweep import run_all\n"
        "if __name__ == '__main__':\n"
        "    with open_executor('mpi') as ranks:\n"
        "        print(ranks.num_workers)\n"
        "        run_all(work, pickle.loads(Path(sys.argv[1]).read_bytes()), executor=ranks)\n"
    )
    command = [launcher, "-n", "3", sys.executable, "-m", "mpi4py.futures", script, tmp_path / "jobs"]
    environment = os.environ | {"NUMBA_NUM_THREADS": "1"}
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=environment, timeout=120)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    expected = run_all(distill_scan.work, here)
    assert [stored(job)["results"] for job in far] == [run["results"] for run in expected]


@pytest.mark.distributed
def test_mpi_with_one_rank_is_refused():
    pytest.importorskip("mpi4py", reason="needs the extra `distributed`: mpi4py is not installed")
    code = "from minigrad.compression.executors import open_executor\nwith open_executor('mpi'): pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "executor 'mpi': there is only one rank; start the command as mpiexec -n 3" in done.stderr
