"""Infer from four Python threads at once, on each threading layer of Numba that is present, and compare every result.

    python tools/hammer_threads.py [--seconds 30] [--threads 4]

Numba's "workqueue" layer ends the process when two threads start kernels at once unless they are guarded (see
`minigrad/kernels/threads.py`): a layer that aborts, or gives other bits than one thread alone, fails here.
"""

import argparse
import os
import subprocess
import sys
import time
from threading import Thread

LAYERS = ("omp", "tbb", "workqueue")


def hammer(seconds: float, count: int) -> None:
    """Run in a process of its own: print how many batches were right."""
    import numba
    import numpy as np

    from minigrad import no_grad
    from minigrad.compression.models import trained_lenet
    from minigrad.datasets import mnist
    from minigrad.functional import fusion

    model, images = trained_lenet().eval(), mnist("test").images[: 64 * count]
    batches = images.reshape(count, 64, 1, 28, 28)
    with no_grad(), fusion():
        expected = [model(x).data.copy() for x in batches]
    right, wrong = [0] * count, [0] * count
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        with no_grad(), fusion():
            while time.monotonic() < end:
                same = np.array_equal(model(batches[number]).data, expected[number])
                right[number] += same
                wrong[number] += not same

    threads = [Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    layer = numba.threading_layer()  # pyright: ignore[reportPrivateImportUsage]
    print(f"{layer}: {count} Python threads, {seconds:g} s: {sum(right):,} batches right, {sum(wrong)} wrong")
    sys.exit(sum(wrong) > 0 or min(right) == 0)


def main() -> None:
    """Run every layer in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        hammer(options.seconds, options.threads)
    failed = []
    for layer in LAYERS:
        command = [sys.executable, __file__, "--child", f"--seconds={options.seconds}", f"--threads={options.threads}"]
        run = subprocess.run(
            command, env=os.environ | {"NUMBA_THREADING_LAYER": layer}, stderr=subprocess.PIPE, text=True
        )
        if "No threading layer could be loaded" in run.stderr:
            print(f"{layer}: not present")
        elif run.returncode:
            failed.append(layer)
            print(f"{layer}: FAILED (exit status {run.returncode})\n{run.stderr}")
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
