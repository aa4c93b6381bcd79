"""Time one epoch of LeNet (60,000 images, batch 64) here and in PyTorch eager, side by side in one process.

Both sides use the same number of threads and train the same network on the same batches from images already in memory.
Epochs alternate, with a pause between them, since idle threads of one side slow the other down. PyTorch's speed differs
from process to process, so the comparison is repeated in several, and our median is held against its best.

    python benchmarks/train.py [--processes 5] [--rounds 3] [--threads 2] [--json FILE]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

BATCH = 64
PAUSE = 0.3
"""Seconds between contestants: long enough for spinning threads to fall asleep."""


def measure(rounds: int, threads: int) -> dict:
    """Alternate epochs of both sides in this process and return their seconds."""
    import numpy as np
    import torch

    import minigrad
    from minigrad import nn
    from minigrad.compression.models import LeNet
    from minigrad.datasets import mnist

    minigrad.kernels.set_num_threads(threads)
    torch.set_num_threads(threads)
    data = mnist("train")
    images, labels = data.images, data.labels

    class TorchLeNet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.conv2 = torch.nn.Conv2d(1, 6, 5), torch.nn.Conv2d(6, 16, 5)
            self.pool = torch.nn.MaxPool2d(2, 2)
            self.fc1, self.fc2, self.fc3 = torch.nn.Linear(256, 120), torch.nn.Linear(120, 84), torch.nn.Linear(84, 10)

        def forward(self, x):
            x = self.pool(torch.relu(self.conv1(x)))
            x = self.pool(torch.relu(self.conv2(x)))
            return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1))))))

    model, theirs = LeNet(), TorchLeNet()
    theirs.load_state_dict({name: torch.tensor(array) for name, array in model.state_dict().items()})
    optimizer = minigrad.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
    torch_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.5)
    loader = minigrad.DataLoader(images, labels, BATCH, shuffle=True)
    torch_images, torch_labels = torch.from_numpy(images), torch.from_numpy(labels)

    def ours_epoch() -> float:
        return minigrad.train(model, loader, nn.CrossEntropyLoss(), optimizer)

    def torch_epoch(epoch: int) -> float:
        total = 0.0
        for chosen in torch.from_numpy(loader.order(epoch)).split(BATCH):
            x, targets = torch_images[chosen], torch_labels[chosen]
            torch_optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(theirs(x), targets)
            loss.backward()
            torch_optimizer.step()
            total += loss.item() * len(chosen)
        return total / len(images)

    seconds: dict[str, list[float]] = {"minigrad": [], "torch": []}
    for round_ in range(rounds + 1):
        losses = []
        for side, epoch in (("minigrad", ours_epoch), ("torch", lambda: torch_epoch(loader.epoch - 1))):
            time.sleep(PAUSE)
            start = time.perf_counter()
            losses.append(epoch())
            if round_:  # the first round warms up (and compiles)
                seconds[side].append(time.perf_counter() - start)
        if not np.isclose(losses[0], losses[1], rtol=0.1):
            raise SystemExit(f"the two sides do not train alike: mean losses {losses[0]:.4f} and {losses[1]:.4f}")
    versions = {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}
    return {"seconds": seconds, **versions, "minigrad_threads": minigrad.kernels.get_num_threads()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3, help="measured epochs a side, in each process")
    parser.add_argument("--threads", type=int, default=2, help="for each side")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.rounds, arguments.threads)))
        return

    # OPENBLAS_CORETYPE, where somebody set it, forces kernels of an older CPU on NumPy and SciPy.
    environment = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}
    command = [sys.executable, __file__, "--child", f"--rounds={arguments.rounds}", f"--threads={arguments.threads}"]
    runs = []
    for number in range(arguments.processes):
        output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        runs.append(json.loads(output.splitlines()[-1]))
        ours, theirs = (statistics.median(runs[-1]["seconds"][side]) for side in ("minigrad", "torch"))
        print(
            f"process {number + 1}: minigrad {ours:.2f} s, PyTorch {theirs:.2f} s an epoch, ratio {ours / theirs:.2f}"
        )

    ours = statistics.median([s for run in runs for s in run["seconds"]["minigrad"]])
    theirs = min(statistics.median(run["seconds"]["torch"]) for run in runs)
    print(
        f"Python {platform.python_version()}, PyTorch {runs[0]['torch']}, threads: minigrad {runs[0]['minigrad_threads']}, "
        f"PyTorch {runs[0]['torch_threads']}"
    )
    print(
        f"LeNet epoch, batch {BATCH}: ratio to PyTorch's fast mode (best of {len(runs)} processes) {ours / theirs:.2f}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps({"ratio": ours / theirs, "runs": runs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
