"""Time training LeNet by two processes of one thread each against one process of two threads: the same batches of 64.

Both run in the same two processes, started by mpiexec. While one process works alone the other sleeps: waiting inside MPI it
would keep its core busy.
"""

import json
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path
from tempfile import TemporaryDirectory

from common import main, make_parser

STEPS = 200
ASLEEP = 0.01


def measure(options: Namespace) -> dict:
    """Run this script once more, in two processes, and return what they measured."""
    from minigrad.parallel import find_mpiexec

    with TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        command = [find_mpiexec(), "-n", "2", sys.executable, __file__, "--ranks", str(found)]
        subprocess.run([*command, "--rounds", str(options.rounds)], check=True)
        return {"data_parallel": json.loads(found.read_text())}


def work(path: Path, rounds: int) -> None:
    """In one of the processes: train in both ways, in turn; the first one writes the seconds."""
    import minigrad
    from minigrad import kernels, nn
    from minigrad.compression.models import LeNet
    from minigrad.datasets import mnist
    from minigrad.parallel import ShardedLoader, Team, world

    comm = world()
    data = mnist("train").subset(slice(64 * STEPS))
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    losses: dict[str, float] = {}
    for number in range(rounds + 1):
        for side in seconds:
            minigrad.manual_seed(0)
            model, together = LeNet(), side == "ours"
            kernels.set_num_threads(1 if together else 2)
            optimizer = minigrad.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
            plain = minigrad.DataLoader(data.images, data.labels, 64)
            part = ShardedLoader(comm.rank, comm.size, data.images, data.labels, 64)
            team = Team(comm, show_bars=False) if together else None
            comm.Barrier()
            if comm.rank and not together:
                while not comm.iprobe():
                    time.sleep(ASLEEP)
                comm.recv()
                continue
            start = time.perf_counter()
            losses[side] = minigrad.train(
                model, part if together else plain, nn.CrossEntropyLoss(), optimizer, team=team
            )
            if number:
                seconds[side].append(time.perf_counter() - start)
            if not together:
                comm.send(None, 1)
    if comm.rank == 0:
        if abs(losses["ours"] - losses["theirs"]) > 1e-4:
            raise SystemExit(f"the two ways do not compute the same: mean losses {losses}")
        path.write_text(json.dumps(seconds))


if __name__ == "__main__":
    if "--ranks" in sys.argv:
        work(Path(sys.argv[2]), int(sys.argv[4]))
    else:
        main(measure, make_parser(__doc__))
