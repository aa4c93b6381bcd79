"""`minigrad train --data-parallel`: one process, threads in place of several, and several over MPI."""

import os
import re
import signal
import subprocess
import sys
import time
from threading import Barrier

import pytest

from minigrad import evaluate, kernels
from minigrad.compression import cli_parallel
from minigrad.compression.cli import main
from minigrad.compression.cli_base import load_lenet
from minigrad.compression.cli_parallel import make_exchange, run_file, train_together
from minigrad.compression.demo import Recipe, evaluation_loader
from minigrad.compression.gradients import METHODS
from minigrad.parallel import Team, find_mpiexec
from tests.compression.command_line import call, output
from tests.parallel.threads import ThreadComm, together


@pytest.fixture
def alone(monkeypatch):
    """One process that mpiexec did not start."""
    monkeypatch.setattr(cli_parallel, "world", lambda: ThreadComm(0, [None], Barrier(1)))
    for name in ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("alone")
def test_one_process_writes_what_train_writes(small_data, tmp_path):
    settings = ("--data", small_data, "--epochs", 1, "--hold-out", "--seed", 3)
    lines = output("train", *settings, "--out", tmp_path / "plain").splitlines()
    parallel = output("train", *settings, "--out", tmp_path / "one", "--data-parallel").splitlines()
    assert (tmp_path / "one").read_bytes() == (tmp_path / "plain").read_bytes()
    assert parallel[0] == f"1 process, ids {os.getpid()}"
    assert parallel[1] == lines[0]
    assert parallel[2] == "Each process sent 177,704 bytes of gradients a step, 1.0000 of what they take."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "plain"]


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_end_with_the_same_bytes_however_often_they_are_stopped(
    method, small_training, small_test, tmp_path, capsys
):
    recipe, training, test = Recipe(epochs=2), small_training.subset(slice(330)), small_test.subset(slice(99))

    def train(comm, out, stop_at=None):
        team, steps = Team(comm, make_exchange(comm, method, recipe, steps=6)), []
        total = team.exchange.total

        def count(shares, step):
            steps.append(step)
            if len(steps) == stop_at:
                raise KeyboardInterrupt
            return total(shares, step)

        team.exchange.total = count
        train_together(team, training, test, recipe, out, every=2, metadata={})

    together(2, lambda comm: train(comm, tmp_path / "straight"))
    said, accuracy = capsys.readouterr().out, evaluate(load_lenet(tmp_path / "straight")[0], evaluation_loader(test))
    assert re.findall(r"epoch 2/2 .* accuracy (.*) %", said) == [f"{accuracy:.2f}"]
    with pytest.raises(KeyboardInterrupt):
        together(2, lambda comm: train(comm, tmp_path / "stopped", stop_at=10))
    assert run_file(tmp_path / "stopped").exists()
    together(2, lambda comm: train(comm, tmp_path / "stopped", stop_at=6))
    assert (tmp_path / "stopped").read_bytes() == (tmp_path / "straight").read_bytes()
    assert not run_file(tmp_path / "stopped").exists()


@pytest.mark.parametrize(("method", "momentum"), [("none", 0.25), ("sign", 0.25), ("topk", 0)])
def test_momentum_is_taken_once(method, momentum, small_training, small_test, tmp_path, monkeypatch):
    recipe, kept, optimizers = Recipe(epochs=1, momentum=0.25), [], []

    class Spy(cli_parallel.SGD):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            optimizers.append(self.momentum)

    monkeypatch.setattr(cli_parallel, "SGD", Spy)

    def train(comm):
        exchange = make_exchange(comm, method, recipe, steps=1)
        kept.append(exchange.compressor.momentum if exchange else 0)
        part = small_training.subset(slice(64))
        train_together(Team(comm, exchange), part, small_test.subset(slice(9)), recipe, tmp_path / "a", 9, {})

    together(1, train)
    assert optimizers == [momentum]
    assert kept == [0.25 - momentum if method == "topk" else 0]


@pytest.mark.usefixtures("alone")
def test_options_that_do_not_go_together_are_refused(tmp_path, monkeypatch):
    for words in (("--workers", 2), ("--compress", "sign")):
        result = call("train", "--out", tmp_path / "a", *words)
        assert result.exit_code == 2
        assert "--workers and --compress are for --data-parallel" in result.stderr
    monkeypatch.setenv("PMI_RANK", "1")
    result = call("train", "--data-parallel", "--workers", 2, "--out", tmp_path / "a")
    assert "--workers starts mpiexec, which has started this process already" in result.stderr


@pytest.fixture
def launches(monkeypatch, alone):
    """What was launched; `launches.end` is what launch returns or raises."""

    class Launches(list):
        end = (0, None)

    found = Launches()

    def launch(command, workers, environment, say):
        found.append((command, workers, environment))
        if isinstance(found.end, BaseException):
            raise found.end
        return found.end

    monkeypatch.setattr(cli_parallel, "launch", launch)
    monkeypatch.setattr(cli_parallel, "MOST_THREADS", 8)
    return found


def test_workers_run_the_same_command(launches, tmp_path, monkeypatch):
    words = [
        "--data-parallel",
        "--momentum",
        "0",
        "--lr",
        "0.05",
        "--hold-out",
        "--compress",
        "topk",
        "--out",
        str(tmp_path),
    ]
    output("train", "--workers", 3, *words)
    monkeypatch.setattr(kernels, "set_num_threads", lambda count: None)
    output("--threads", 3, "train", "--workers", 3, *words)
    (command, workers, environment), (_, _, limited) = launches
    assert (workers, environment["NUMBA_NUM_THREADS"], limited["NUMBA_NUM_THREADS"]) == (3, "2", "1")
    assert command[:4] == [sys.executable, "-m", "minigrad.compression.cli", "train"]
    train = main.commands["train"]
    expected, found = (train.make_context("train", list(args)).params for args in (words, command[4:]))
    assert found == expected
    assert found["momentum"] == 0
    assert found["workers"] is None


@pytest.mark.parametrize(
    ("end", "code", "sentence"),
    [
        (
            (9, 9),
            1,
            "one of the 2 processes was killed (signal 9, SIGKILL), and the others, which cannot train without it, ",
        ),
        ((-15, 15), 1, "mpiexec was killed (signal 15, SIGTERM), and the others"),
        (KeyboardInterrupt(), 130, "interrupted; "),
        ((143, None), 1, "exit code 143, which is none of theirs: one was killed, or MPI failed; "),
        ((2, None), 2, ""),  # the process that failed has said why
    ],
)
def test_the_end_of_a_job_is_explained(launches, end, code, sentence, tmp_path):
    launches.end, out = end, tmp_path / "a.safetensors"
    for advice in ("no checkpoint was written yet", f"the same command goes on from {tmp_path / 'a.run.safetensors'}"):
        result = call("train", "--data-parallel", "--workers", 2, "--out", out)
        assert result.exit_code == code
        assert sentence in result.stderr
        assert (advice in result.stderr) == bool(sentence)
        run_file(out).touch()


def test_a_process_that_fails_says_so_in_a_sentence(small_data, tmp_path, monkeypatch, capsys):
    """Process 1 fails; both ends are looked at from a thread of its own, which has no command line."""
    codes = []

    class Failing(ThreadComm):
        def __init__(self, rank, size):
            super().__init__(rank, [None] * size, Barrier(1))

        def Abort(self, code):
            codes.append(code)

    monkeypatch.setattr("os.dup2", lambda *descriptors: None)
    monkeypatch.setattr(cli_parallel, "world", lambda: Failing(1, 2))
    call("train", "--data-parallel", "--data", tmp_path / "nowhere", "--out", tmp_path / "a")
    monkeypatch.setattr(cli_parallel, "load_images", lambda *arguments: 1 / 0)
    result = call("train", "--data-parallel", "--data", small_data, "--out", tmp_path / "a")
    assert codes == [2, 1]
    assert isinstance(result.exception, ZeroDivisionError)


WHY = "mpi4py is not installed; `make test-distributed` installs it"


def command(out, data, *words):
    train = [sys.executable, "-m", "minigrad.compression.cli", "train", "--data-parallel"]
    return [*train, "--out", str(out), "--data", str(data), *words]


@pytest.mark.distributed
def test_a_killed_process_ends_the_job_which_goes_on_to_the_same_bytes(
    small_data, small_training, small_test, tmp_path
):
    """The bytes are those of threads in place of processes, which nobody killed."""
    pytest.importorskip("mpi4py", reason=WHY)
    straight, killed = tmp_path / "straight.safetensors", tmp_path / "killed.safetensors"
    words = ("--workers", "2", "--epochs", "4", "--batch-size", "256", "--every", "2", "--compress", "sign")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command(killed, small_data, *words), **pipes) as job:
        ids = [int(word) for word in job.stdout.readline().partition("ids")[2].split(",")]
        while not run_file(killed).exists() and job.poll() is None:
            time.sleep(0.005)
        os.kill(ids[1], signal.SIGKILL)
        _, errors = job.communicate(timeout=60)
    assert job.returncode == 1
    assert errors == (
        "Error: one of the 2 processes was killed (signal 9, SIGKILL), and the others, which cannot train without it, were "
        f"ended; the same command goes on from {run_file(killed)}\n"
    )
    subprocess.run(command(killed, small_data, *words), check=True, capture_output=True)
    recipe = Recipe(epochs=4, batch_size=256)

    def train(comm):
        team = Team(comm, make_exchange(comm, "sign", recipe, steps=10))
        train_together(team, small_training, small_test, recipe, straight, every=100, metadata={})

    together(2, train)
    assert killed.read_bytes() == straight.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [killed.name, straight.name]


@pytest.mark.distributed
def test_processes_with_different_data_end_with_one_sentence(small_data, tmp_path):
    pytest.importorskip("mpi4py", reason=WHY)
    other = tmp_path / "other"
    other.mkdir()
    for path in small_data.iterdir():
        name = path.name.replace("train", "swap").replace("t10k", "train").replace("swap", "t10k")
        (other / name).write_bytes(path.read_bytes())
    out = tmp_path / "a"
    words = [find_mpiexec(), "-n", "1", *command(out, small_data), ":", "-n", "1", *command(out, other)]
    result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    (sentence,) = result.stderr.splitlines()
    assert sentence.startswith("Error: processes 0 and 1 have different data (2400 images, checksum ")
    assert "; 600 images, checksum " in sentence
    assert not out.exists()
