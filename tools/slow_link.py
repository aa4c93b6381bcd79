"""Train over a slow network, and compare the time of a step with what `gradients/scaling.py` predicts: `make slow-link`.

Network namespaces on this machine stand for machines. Each has a link of its own into a bridge, slowed by `tc`; processes in
different ones reach each other by TCP only. Needs root, `ip` and `tc` (iproute2), and the extra `distributed`. A step's time
without network is measured with as many processes, which share this machine's cores in the same way but talk through memory;
the link is measured by messages of its own; their sum is the prediction.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from minigrad.compression.gradients import compressor
from minigrad.compression.gradients.exchange import CompressedExchange
from minigrad.compression.gradients.scaling import Costs, fit_link, step_seconds, wire_bytes
from minigrad.compression.models import LeNet
from minigrad.compression.report import align, write_report
from minigrad.compression.sparse.timing import describe_machine
from minigrad.datasets import mnist
from minigrad.nn import CrossEntropyLoss
from minigrad.optim import SGD
from minigrad.parallel import ShardedLoader, Team, all_reduce, find_mpiexec, world
from minigrad.training import train

METHODS = ("none", "int8", "sign", "topk")
BATCH, STEPS, EPOCHS = 64, 50, 9
SIZES = (1_000, 10_000, 50_000, 200_000, 600_000)
NETWORK = "10.77.0"
LAUNCHER = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
host=$1; shift
exec ip netns exec "$host" unshare --uts sh -c "hostname $host; $*"
"""
"""What mpiexec takes for ssh: it enters a namespace, and gives it a name, so that MPI takes it for another machine."""


def run(*command: object) -> None:
    """Run a command; its output is shown if it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"slow-link: `{' '.join(map(str, command))}` failed: {done.stderr.strip()}")


@contextmanager
def machines(count: int, rate: str) -> Iterator[list[str]]:
    """Make namespaces that are joined by a bridge, each with a link of this rate; take them down in the end."""
    names = [f"minigrad{i}" for i in range(count)]
    try:
        run("ip", "link", "add", "minigrad", "type", "bridge")
        run("ip", "address", "add", f"{NETWORK}.254/24", "dev", "minigrad")
        run("ip", "link", "set", "minigrad", "up")
        for i, name in enumerate(names):
            run("ip", "netns", "add", name)
            run("ip", "link", "add", f"minigrad{i}", "type", "veth", "peer", "name", "eth0", "netns", name)
            run("ip", "link", "set", f"minigrad{i}", "master", "minigrad", "up")
            inside = ("ip", "netns", "exec", name)
            run(*inside, "ip", "address", "add", f"{NETWORK}.{i + 1}/24", "dev", "eth0")
            run(*inside, "ip", "link", "set", "eth0", "up")
            run(*inside, "ip", "link", "set", "lo", "up")
            # A small bucket: with a large one, what was saved up while computing would be sent at full speed.
            shape = ("rate", rate, "burst", "6kb", "latency", "500ms")
            run(*inside, "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", *shape)
        yield names
    finally:
        for i, name in enumerate(names):
            subprocess.run(["ip", "link", "delete", f"minigrad{i}"], capture_output=True, check=False)
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "delete", "minigrad"], capture_output=True, check=False)


def start(count: int, names: list[str] | None) -> dict[str, Any]:
    """Run `measure` in so many processes: one on each machine, or, without names, all on this one; return what it found."""
    settings = {"NUMBA_NUM_THREADS": 1, "MPIR_CVAR_POLLS_BEFORE_YIELD": 1}
    hosts: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        if names:
            settings |= {"MPIR_CVAR_NOLOCAL": 1, "MPIR_CVAR_CH4_NETMOD": "ofi", "FI_PROVIDER": "tcp"}
            launcher = Path(folder) / "launch"
            launcher.write_text(LAUNCHER)
            launcher.chmod(0o755)
            hosts = ["-launcher", "ssh", "-launcher-exec", str(launcher), "-localhost", f"{NETWORK}.254"]
            hosts += ["-hosts", ",".join(names), "-ppn", "1"]
        variables = [word for name, value in settings.items() for word in ("-genv", name, str(value))]
        found = Path(folder) / "found.json"
        program = [sys.executable, str(Path(__file__).resolve()), "--measure", str(found)]
        command = [find_mpiexec(), *hosts, *variables, "-n", str(count), *program]
        done = subprocess.run(command, check=False, timeout=300)
        if done.returncode:
            raise SystemExit(f"slow-link: mpiexec ended with {done.returncode}")
        return json.loads(found.read_text())


def measure(path: Path) -> None:
    """In one of the processes: measure the link, and steps of each method; the first one writes what it found."""
    comm = world()
    messages, steps = time_messages(comm), {}
    training = mnist("train")
    some = training.subset(slice(BATCH * STEPS * comm.size))
    for method in METHODS:
        exchange = None if method == "none" else CompressedExchange(comm, compressor(method, rank=comm.rank))
        loader = ShardedLoader(comm.rank, comm.size, some.images, some.labels, BATCH * comm.size, shuffle=True, seed=0)
        model, team = LeNet(), Team(comm, exchange, show_bars=False)
        optimizer, seconds = SGD(model.parameters(), lr=0.01), []
        for _ in range(EPOCHS + 1):
            comm.Barrier()
            start = perf_counter()
            train(model, loader, CrossEntropyLoss(), optimizer, team=team)
            comm.Barrier()
            seconds.append((perf_counter() - start) / len(loader))
        sent = team.exchange.bytes_sent / (len(seconds) * len(loader))
        steps[method] = {"seconds": float(np.median(seconds[1:])), "sent": sent}
    if comm.rank == 0:
        path.write_text(json.dumps({"messages": messages, "steps": steps}))


def time_messages(comm: Any, repeats: int = 9) -> list[tuple[int, float, float]]:
    """Time operations of many sizes, both kinds that training has; return what `fit_link` takes: medians."""
    rounds, points = int(np.ceil(np.log2(comm.size))), []
    for size in SIZES:
        flat, message = np.zeros(size // 4, np.float32), bytes(size)
        for added in (True, False):
            seconds = []
            for _ in range(repeats):
                comm.Barrier()
                start = perf_counter()
                if added:
                    all_reduce(comm, flat)
                else:
                    comm.allgather(message)
                seconds.append(perf_counter() - start)
            slowest = max(comm.allgather(float(np.median(seconds))))
            # Each is two operations of MPI's: parts, then sums; lengths, then messages.
            points.append((2 * rounds, wire_bytes(size, comm.size, added), slowest))
    return points


def main() -> None:
    """Measure with 2 and with 4 machines; print and write what was predicted and what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="100mbit", help="of each link, as tc takes it (default: 100mbit)")
    parser.add_argument("--machines", type=int, nargs="+", default=[2, 4], help="how many (default: 2 4)")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for slow_link.json")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
        return
    rows, report = [["machines", "method", "without network (ms)", "wire", "predicted", "measured", "ratio"]], []
    for count in arguments.machines:
        near = start(count, None)["steps"]
        with machines(count, arguments.rate) as names:
            far = start(count, names)
        link = fit_link(far["messages"])
        for method, found in far["steps"].items():
            costs = Costs(near[method]["seconds"], 0.0, 0.0, found["sent"], added=method == "none")
            predicted = sum(step_seconds(costs, link, count).values())
            times = (costs.compute, predicted - costs.compute, predicted, found["seconds"])
            ratio = predicted / found["seconds"]
            rows.append([str(count), method, *(f"{1e3 * t:.2f}" for t in times), f"{ratio:.2f}"])
            names_of_times = ("without network", "wire", "predicted", "measured")
            report.append({"machines": count, "method": method, "bytes": found["sent"], "link": asdict(link), "ratio": ratio}
                          | {f"{name} (s)": t for name, t in zip(names_of_times, times, strict=True)})  # fmt: skip
        print(f"{count} machines: {8e-6 * link.rate:.1f} Mbit/s, {1e6 * link.latency:.0f} µs a round", flush=True)
    print(align(rows))
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = {"rate": arguments.rate, "images a machine": BATCH, "machine": describe_machine()}
    write_report(arguments.out / "slow_link.json", settings | {"steps": report})
    worst = max(abs(row["ratio"] - 1) for row in report)
    print(f"Written to {arguments.out}: slow_link.json. Farthest of predicted from measured: {100 * worst:.0f} %.")


if __name__ == "__main__":
    main()
