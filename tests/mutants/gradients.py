"""Mistakes that people make when they compress gradients: file → name → (text, what takes its place).

Rows of `catalogue.py`, which says how to add one.
"""

GRADIENTS = {
    "compression/gradients/base.py": {
        "nan_is_compressed": ("if not np.isfinite(gradient).all():", "if np.isinf(gradient).all() and gradient.size:"),
        "damaged_floats_are_believed": ("if not np.isfinite(values).all():", "if False:"),
        "negative_scales_are_believed": ("if scales.min(initial=0) < 0:", "if False:"),
    },
    "compression/gradients/rounding.py": {
        "gradients_rounded_to_the_nearest": (
            "rng.random(x.shape, np.float32) < exact - below",
            "exact - below >= 0.5",
        ),
        "gradients_rounded_past_the_last_level": (
            "below + (rng.random(x.shape, np.float32) < exact - below)",
            "np.floor(exact + rng.random(x.shape, np.float32))",
        ),
        "share_above_the_scale": ("np.minimum(share, 1) * np.float32(levels)", "share * np.float32(levels)"),
        "qsgd_by_the_largest_magnitude": (
            "norm = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1, keepdims=True))",
            "norm = np.abs(rows.astype(np.float64)).max(axis=1, keepdims=True)",
        ),
        "qsgd_signs_turned": ("np.where(negative, -1, 1)", "np.where(negative, 1, -1)"),
        "qsgd_levels_not_divided": ("(numbers[count:] / self.levels)", "numbers[count:]"),
        "qsgd_believes_any_level": ("if numbers[count:].max(initial=0) > self.levels:", "if False:"),
        "terngrad_digits_from_the_other_end": (
            "POWERS = np.array([81, 27, 9, 3, 1]",
            "POWERS = np.array([1, 3, 9, 27, 81]",
        ),
        "terngrad_clips_without_the_deviation": ("self.clip * x.std(dtype=np.float64)", "self.clip"),
    },
    "compression/gradients/sign.py": {
        "sign_times_the_largest": (
            "np.abs(in_buckets(gradient, self.bucket)).sum(axis=1, dtype=np.float64)",
            "self.bucket * np.abs(in_buckets(gradient, self.bucket)).max(axis=1).astype(np.float64)",
        ),
        "last_bucket_averaged_over_its_padding": (
            "np.minimum(gradient.size - self.bucket * np.arange(sums.size), self.bucket)",
            "self.bucket",
        ),
        "signs_without_error_feedback": (
            "error_feedback: ClassVar[bool] = True",
            "error_feedback: ClassVar[bool] = False",
        ),
    },
    "compression/gradients/topk.py": {
        "largest_instead_of_largest_magnitude": (
            "np.argpartition(np.abs(gradient), rest)",
            "np.argpartition(gradient, rest)",
        ),
        "warm_up_one_stage_late": ("0.25 ** (1 + STAGES", "0.25 ** (STAGES"),
    },
    "compression/gradients/elias.py": {
        "places_from_one": ("places = np.cumsum(gaps) - 1", "places = np.cumsum(gaps)"),
        "entries_without_limit": ("if count > size:", "if False:"),
    },
    "compression/gradients/kernels.py": {
        "elias_codes_backwards": ("for bit in range(length - 1, -1, -1):", "for bit in range(length):"),
        "elias_ends_anywhere": ("or at + number > last", "or at + number > last + 8"),
    },
    "compression/gradients/compressor.py": {
        "residual_forgets_what_was_left": ("= wanted - sent", "= gradient - sent"),
        "residual_keeps_what_was_sent": ("self.residuals[name] = wanted - sent", "self.residuals[name] = wanted"),
        "residuals_in_float32": (
            "self.residuals[name] = wanted - sent",
            "self.residuals[name] = (wanted - sent).astype(np.float32).astype(np.float64)",
        ),
        "momentum_after_what_is_left_out": (
            "velocity = self.momentum * self.velocities.get(name, 0.0)",
            "velocity = self.momentum * residual",
        ),
        "momentum_not_masked": ("velocity[sent != 0] = 0", "pass"),
        "workers_draw_alike": ("[self.seed, self.rank, step,", "[self.seed, 0, step,"),
        "steps_draw_alike": ("[self.seed, self.rank, step,", "[self.seed, self.rank, 0,"),
        "sum_instead_of_mean": ("(total / len(messages))", "total"),
        "state_shares_memory": ('f"residual.{name}": array.copy()', 'f"residual.{name}": array'),
        "warm_up_never_asked": ("codec = self.codec.at(step)", "codec = self.codec"),
        "clipped_where_it_is_shorter": ("min(1.0, self.clip_norm / norm)", "self.clip_norm / norm"),
    },
    "compression/gradients/simulation.py": {
        "shares_count_alike": ("p.data.dtype.type(workers * share)", "p.data.dtype.type(1)"),
        "gradients_pile_up_between_workers": ("        optimizer.zero_grad()\n", ""),
    },
    "compression/gradients/scaling.py": {
        "sums_send_all_to_everybody": (
            "2 * sent * (workers - 1) / workers if added",
            "2 * sent * (workers - 1) if added",
        ),
        "one_message_decoded_for_all": ("workers * costs.decode", "costs.decode"),
        "speed_up_of_a_step": ("return workers * one / many", "return one / many"),
        "relative_errors_forgotten": ("weights = 1 / table[:, 2:]", "weights = np.ones((len(table), 1))"),
    },
}
