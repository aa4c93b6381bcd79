"""Mistakes that people make when they train on several processes: file → name → (text, what takes its place).

Rows of `catalogue.py`, which says how to add one.
"""

PARALLEL = {
    "parallel/sharding.py": {
        "part_leaves_the_remainder_out": (
            "slice(count * rank // size, count * (rank + 1) // size)",
            "slice(count // size * rank, count // size * (rank + 1))",
        ),
        "every_process_transforms_the_same_images": ("number))[mine], targets[mine]", "number))[mine], targets[:]"),
        "resumed_shards_begin_anew": ("in range(step, len(self))", "in range(len(self))"),
    },
    "parallel/exchange.py": {
        "gradients_of_the_first_two_only": ("for share in received[1:]:", "for share in received[1:2]:"),
        "sums_not_handed_on": ("comm.Allgather(own, parts)", "parts[comm.rank] = own"),
        "buckets_mix_dtypes": ("together > limit or array.dtype != arrays[names[0]].dtype", "together > limit"),
        "last_bucket_lost": ("    if names:\n        yield names", "    if False:\n        yield names"),
    },
    "parallel/team.py": {
        "losses_weigh_processes": ("value * (images / total)", "value / len(found)"),
        "gradients_weigh_processes": ("p.grad * weight", "p.grad / self.size"),
        "all_draw_the_same_random_numbers": ("random.jumped(self.rank)", "random.jumped(0)"),
        "buffers_drift_apart": ("if len(state) > len(sums):", "if False:"),
        "parameters_compared_with_themselves": ("if others[name] != first]", "if first != first]"),
        "sources_compared_without_their_text": (".encode() + path.read_bytes(), total)", ".encode(), total)"),
    },
    "parallel/launch.py": {
        "the_others_wait_forever": ("comm.Abort(code)", "pass"),
    },
    "resume.py": {
        "every_process_draws_as_the_first": ("random.state = processes[rank]", "random.state = processes[0]"),
        "every_process_writes": ("        if team.rank:\n            return\n", ""),
        "schedule_steps_twice_between_epochs": ("    if position.step < steps:", "    if True:"),
        "teams_begin_anew": ("if checkpoint is None or not found:", "if checkpoint is None or not found or team:"),
    },
    "training.py": {
        "mean_loss_of_one_process": ("value, count = team.mean_loss(value, count)", "count = team.mean_loss(value, count)[1]"),
    },
    "compression/gradients/exchange.py": {
        "share_weighed_twice": ("share * size, step)", "share, step)"),
        "residuals_are_forgotten": ("return {**self.compressor.state_dict(), ", "return {"),
    },
}  # fmt: skip
