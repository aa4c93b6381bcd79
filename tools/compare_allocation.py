"""Compare sparsities chosen by `allocate_sparsity` with one sparsity for all layers, at equal size, without fine-tuning.

For each seed: train LeNet on 55,000 images, scan it on the 5,000 held out, prune both ways, measure on the test images.

Run from the checkout's root: python -m tools.compare_allocation --seeds 5 --json results/allocation.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.compression.demo import Recipe, evaluation_loader, train_lenet
from minigrad.compression.figures import plot_sensitivity
from minigrad.compression.models import trained_lenet
from minigrad.compression.pruning import (
    ARTICLE_SPARSITY,
    SensitivityScan,
    SparsePruner,
    allocate_sparsity,
    kth_value_mask,
    model_sparsity,
    sensitivity_scan,
)
from minigrad.compression.report import t_interval
from minigrad.compression.sparse.timing import describe_machine
from minigrad.datasets import ImageDataset, mnist, split_validation
from minigrad.nn import Module
from minigrad.training import count_correct


def article_budget(model: Module) -> float:
    """Return the share of LeNet's weights that the article removes: 32,816 of 44,190."""
    weights = {name: p for name, p in model.named_parameters() if p.ndim > 1}
    kept = sum(int(kth_value_mask(p, ARTICLE_SPARSITY[name], ties="exact").sum()) for name, p in weights.items())
    return 1 - kept / sum(p.size for p in weights.values())


def compare(model: Module, held_out: ImageDataset, test: ImageDataset) -> tuple[dict[str, Any], SensitivityScan]:
    """Scan on held-out images, prune in three ways, measure on test images; errors in percent, and the scan."""
    scan = sensitivity_scan(model, evaluation_loader(held_out))
    budget = article_budget(model)
    ways = {
        "dense": dict.fromkeys(scan.sizes, 0.0),
        "uniform": dict.fromkeys(scan.sizes, budget),
        "article": ARTICLE_SPARSITY,
        "allocated": allocate_sparsity(scan, budget),
    }
    row: dict[str, Any] = {"budget": budget, "allocation": ways["allocated"], "error": {}, "sparsity": {}}
    for way, sparsities in ways.items():
        pruned = SparsePruner(model, sparsities, ties="exact").prune(model)
        correct, total = count_correct(pruned, evaluation_loader(test))
        row["error"][way] = 100 * (total - correct) / total
        row["sparsity"][way] = model_sparsity(pruned)
    return row, scan


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="models to train, with seeds 0, 1, ... (default: 5)")
    parser.add_argument("--epochs", type=int, default=Recipe().epochs, help="epochs of training (default: 5)")
    parser.add_argument("--trained", action="store_true", help="take the LeNet that comes with the package instead; "
                        "it was trained on the held-out images too")  # fmt: skip
    parser.add_argument("--data", type=Path, help="folder with the four gzipped IDX files (default: MNIST)")
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--figure", type=Path, help="picture of the last scan to write")
    options = parser.parse_args(arguments)
    images, test = mnist("train", options.data), mnist("test", options.data)
    training, held_out = split_validation(images, count=max(1, len(images) // 12))  # 5,000 of MNIST's 60,000
    rows, scan = [], None
    for seed in range(1 if options.trained else options.seeds):
        recipe = Recipe(seed=seed, epochs=options.epochs)
        model = trained_lenet() if options.trained else train_lenet(training, recipe, lambda *_: None)
        row, scan = compare(model, held_out, test)
        rows.append({"seed": None if options.trained else seed} | row)
        shares = "  ".join(f"{name.removesuffix('.weight')} {s:.3f}" for name, s in row["allocation"].items())
        errors = "  ".join(f"{way} {error:.2f} %" for way, error in row["error"].items())
        print(f"seed {rows[-1]['seed']}: test error {errors}; sparsity {row['sparsity']['allocated']:.4f}; {shares}")
    settings = {"model": "LeNet", "epochs": options.epochs, "trained": options.trained, "held out": len(held_out)}
    report: dict[str, Any] = {"settings": settings, "machine": describe_machine(), "runs": rows}
    report["means"] = {way: float(np.mean([row["error"][way] for row in rows])) for way in rows[0]["error"]}
    report["ratio"] = report["means"]["allocated"] / report["means"]["uniform"]
    print(f"mean error: {', '.join(f'{way} {mean:.2f} %' for way, mean in report['means'].items())}")
    print(f"allocated over uniform: {report['ratio']:.3f} (target: at most 0.5)")
    if len(rows) > 1:
        report["gain"] = t_interval([row["error"]["uniform"] - row["error"]["allocated"] for row in rows])
        print("paired by seed, uniform - allocated: 95 % t-interval {:.2f} to {:.2f} points".format(*report["gain"]))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    if options.figure and scan is not None:
        options.figure.parent.mkdir(parents=True, exist_ok=True)
        plot_sensitivity(scan, rows[-1]["allocation"]).savefig(options.figure, dpi=120)
    return report


if __name__ == "__main__":
    main()
