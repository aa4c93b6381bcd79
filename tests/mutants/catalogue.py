"""Mistakes that people make when they write an engine, or compress with it, each as one change to the source.

`python -m tools.mutants` makes them one after the other; the tests must notice every one. How to add one: the mistake,
the file (below `minigrad/`, or in `compression/`), a text that occurs in it exactly once, and what takes its place.
"""

from dataclasses import dataclass

from tests.mutants.export import EXPORT
from tests.mutants.gradients import GRADIENTS
from tests.mutants.laboratory import LABORATORY
from tests.mutants.page import PAGE
from tests.mutants.parallel import PARALLEL
from tests.mutants.quantization import QUANTIZATION


@dataclass(frozen=True)
class Mutant:
    """The engine with one mistake."""

    name: str
    file: str
    old: str
    new: str

    @property
    def path(self) -> str:
        """The file, from the root of the repository."""
        return self.file if self.file.startswith("compression/") else f"minigrad/{self.file}"

    def apply(self, source: str) -> str:
        """Return the file's text with the mistake in it.

        Raises:
            ValueError: the text to replace does not occur exactly once.
        """
        if source.count(self.old) != 1:
            raise ValueError(
                f"{self.name}: {self.old!r} occurs {source.count(self.old)} times in {self.path}, not once"
            )
        return source.replace(self.old, self.new)


def _in(file: str, **mistakes: tuple[str, str]) -> list[Mutant]:
    """Mutants of one file: name=(text, what takes its place)."""
    return [Mutant(name, file, old, new) for name, (old, new) in mistakes.items()]


MUTANTS = [
    *_in(
        "tape.py",
        assign_for_add_between=("pending[x] = pending[x] + share", "pending[x] = share"),
        assign_for_add_at_a_leaf=("np.asarray(leaf.grad + g)", "np.asarray(g)"),
        inputs_before_their_users=("(-made, x, maker)", "(made, x, maker)"),
        last_found_goes_first=(
            "found = heappushpop(waiting, found) if found else heappop(waiting)",
            "found = found or heappop(waiting)",
        ),
        number_of_another_type_passes=("kind is Array or kind is not type(x.values)", "kind is Array"),
        freed_inputs_go_unnoticed=("if not made:", "if False:"),
        writes_are_not_looked_for=("if _last_write > op.made:", "if False:"),
        array_of_a_number_is_made_anew=(
            "            self.values = np.asarray(self.values)\n",
            "            return np.asarray(self.values)\n",
        ),
        leaf_keeps_memory_of_others=("np.array(gradient) if shared else gradient", "gradient"),
        leaf_keeps_what_cannot_be_written=(
            "isinstance(g, np.ndarray) and g.flags.writeable",
            "isinstance(g, np.ndarray)",
        ),
        leaf_keeps_a_view_of_others=("gradient is g or (gradient.base", "gradient is g and (gradient.base"),
        order_in_which_they_were_found=("0 if node.op is None else node.op.made", "0"),
        graph_is_not_freed=("node.op = op.spent", "pass"),
        writes_go_unnoticed=('getattr(x, "written", 0) > op.made', 'getattr(x, "written", 0) < op.made'),
    ),
    *_in(
        "tensor.py",
        subtraction_adds=("return self + -as_tensor(other, like=self)", "return self + as_tensor(other, like=self)"),
        number_minus_tensor_is_turned_round=("return -self + other", "return self - other"),
        mean_without_1_over_n=("return total / (self.size // total.size)", "return total"),
        var_correction_wrong_sign=("self.size // total.size - correction", "self.size // total.size + correction"),
        leaf_keeps_the_callers_gradient=("array.copy() if self.op is None else array", "array"),
        no_grad_records=("needs_gradient and recording()", "needs_gradient"),
        no_grad_records_numbers=(
            "(x.requires_grad or y.requires_grad) and recording()",
            "x.requires_grad or y.requires_grad",
        ),
        numbers_hide_from_observers=("type(b) is Array or observers.get()", "type(b) is Array"),
        number_forgets_its_second_input=("if (x.requires_grad or y.requires_grad)", "if (x.requires_grad)"),
        tensor_of_a_number_is_a_copy=(
            "values = data.data if isinstance(data, Tensor)",
            "values = data.values if isinstance(data, Tensor)",
        ),
        python_numbers_become_float64=("Tensor(like.dtype.type(x))", "Tensor(np.float64(x))"),
    ),
    *_in(
        "debug/stepper.py",
        stepper_shows_the_last_share=("gradients[id(x)] + share if id(x) in gradients else share", "share"),
        stepper_leaves_gradients_behind=("            leaf.grad = before", "            pass"),
        stepper_calls_all_gradients_complete=("if frame.missing.get(id(x)) else", "if False else"),
    ),
    *_in(
        "debug/window.py",
        window_shows_the_next_element_too=(
            "reshape(out.shape) <= position, out",
            "reshape(out.shape) <= position + 1, out",
        ),
        window_ends_without_padding=('n + 2 * settings["padding"] for', 'n + settings["padding"] for'),
    ),
    *_in("debug/widgets.py", words_not_escaped=("escape(self.words)", "self.words")),
    *_in(
        "ops/base.py",
        no_unbroadcast=("unbroadcast(gradient, x.shape) if", "np.resize(gradient, x.shape) if"),
        unbroadcast_averages=("gradient.sum(axis=stretched,", "gradient.mean(axis=stretched,"),
        unbroadcast_forgets_new_axes=("gradient.sum(axis=new_axes)", "gradient[(0,) * len(new_axes)]"),
        no_dtype_cast=("return gradient if gradient.dtype == x.dtype else", "return gradient if True else"),
    ),
    *_in(
        "ops/elementwise.py",
        divide_wrong_sign=("return -g * self.out / self.y", "return g * self.out / self.y"),
        multiply_keeps_the_wrong_factor=("return g * self.y", "return g * self.x"),
        power_without_its_exponent=("(self.exponent * self.x **", "(self.x **"),
        abs_slope_1_at_zero=("np.sign(self.x)", "np.where(self.x >= 0, 1, -1)"),
        clip_gradient_stops_at_the_ends=("x >= low", "x > low"),
        maximum_tie_goes_to_one=("np.where(x == y, 0.5, x > y)", "(x >= y)"),
        where_branches_swapped=("np.where(self.condition, 0, g)", "np.where(self.condition, g, 0)"),
    ),
    *_in(
        "ops/activation.py",
        small_relu_swallows_nan=("self.out = np.maximum(x, 0)", "self.out = np.fmax(x, 0)"),
        small_relu_slope_1_at_zero=("np.where(self.out <= 0,", "np.where(self.out < 0,"),
        relu6_gradient_above_6=("(x > 0) & (x < 6)", "x > 0"),
        sigmoid_overflows=("0.5 * (1 + np.tanh(0.5 * x))", "1 / (1 + np.exp(-x))"),
        tanh_gradient_not_squared=("(1 - self.out * self.out)", "(1 - self.out)"),
        gelu_without_density=("(self.below + self.x * density)", "self.below"),
    ),
    *_in(
        "ops/reduce.py",
        max_all_ties_get_all=("winners / winners.sum(axis=axis, keepdims=True)", "winners / 1.0"),
        logsumexp_without_max=("np.where(np.isfinite(largest), largest, 0).astype(x.dtype)", "np.zeros_like(largest)"),
    ),
    *_in(
        "ops/shape.py",
        reshape_in_fortran_order=("g.reshape(self.shape)", 'g.reshape(self.shape, order="F")'),
        transpose_not_inverted=("np.argsort(self.order)", "self.order"),
        concatenate_split_off_by_one=("self.ends[:-1], axis", "self.ends[:-1] - 1, axis"),
        concatenate_gives_the_neighbours_part=("axis=self.axis)[position]", "axis=self.axis)[position - 1]"),
        pad_cuts_from_the_corner=("slice(before, before + size)", "slice(0, size)"),
        getitem_without_scatter_add=("np.add.at(grad_x, self.key, g)", "grad_x[self.key] = g"),
    ),
    *_in(
        "ops/softmax.py",
        log_softmax_without_max=("shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)", "shifted = x"),
        log_softmax_gradient_without_sum=(" * g.sum(axis=self.axis, keepdims=True)", ""),
        cross_entropy_label_shift=("-log_p[self.rows, targets]", "-log_p[self.rows, targets - 1]"),
        cross_entropy_gradient_label_shift=("grad[self.rows, self.targets]", "grad[self.rows, self.targets - 1]"),
        cross_entropy_ignores_the_incoming_gradient=("grad *= g[:, None]", "grad *= 1"),
        cross_entropy_targets_not_copied=("targets.copy()", "targets"),
        bce_exponent_of_x_for_minus_magnitude=("np.exp(np.minimum(x, -x))", "np.exp(-x)"),
    ),
    *_in(
        "ops/norm.py",
        batch_norm_gradient_without_mean=(" - g.mean(axis=self.others, keepdims=True)", ""),
        batch_norm_gradient_without_variance=(" - self.normalized * along", ""),
        batch_norm_without_eps=("var.astype(x.dtype, copy=False) + x.dtype.type(eps)", "var.astype(x.dtype)"),
    ),
    *_in(
        "ops/linalg.py",
        linear_weight_gradient_transposed=("return grad_w", "return grad_w.T.reshape(grad_w.shape)"),
        linear_bias_gradient_missing=("kernels.sum_rows(innermost(g), grad_b)", "grad_b[:] = 0"),
        matmul_forgets_unbroadcast=(
            "return unbroadcast(_product(self.x.swapaxes(-1, -2), g), self.y.shape)",
            "return np.resize(_product(self.x.swapaxes(-1, -2), g), self.y.shape)",
        ),
    ),
    *_in(
        "ops/conv.py",
        conv2d_stride_dropped=("(*stride, *dilation, groups)", "(1, 1, *dilation, groups)"),
        conv2d_dilation_dropped=("(*stride, *dilation, groups)", "(*stride, 1, 1, groups)"),
        conv2d_groups_dropped=("(*stride, *dilation, groups)", "(*stride, *dilation, 1)"),
        conv2d_stride_axes_swapped=("(*stride, *dilation, groups)", "(*stride[::-1], *dilation, groups)"),
        conv2d_bias_ignored=("if b is None else np.ascontiguousarray(b)", ""),
        conv2d_gradient_loses_the_wrong_border=("*self.padding, grad_x)", "0, 0, grad_x)"),
        conv2d_bias_gradient_missing=("return grad_b", "return grad_b * 0"),
        conv2d_weight_gradient_transposed=("return grad_w", "return grad_w.swapaxes(2, 3).reshape(grad_w.shape)"),
    ),
    *_in(
        "ops/layout.py",
        padding_on_one_side=(
            "crop_image(padded, height, width)[...] = innermost(x)",
            "padded[:, 2 * height :, 2 * width :] = innermost(x)",
        ),
        padding_rows_forgotten=("x[:, height : x.shape[1] - height,", "x[:, : x.shape[1] - 2 * height,"),
    ),
    *_in(
        "ops/pool.py",
        max_pool2d_pads_with_zeros=("value=-np.inf", "value=0.0"),
        avg_pool2d_gradient_without_1_over_n=(
            "share = innermost(g) / (self.kernel_size[0] * self.kernel_size[1])",
            "share = innermost(g)",
        ),
        avg_pool2d_assign_for_add=("grad_x[tap] += share", "grad_x[tap] = share"),
    ),
    *_in(
        "kernels/conv.py",
        forward_kernel_flipped=(
            "packed[tile, t * TILE + s] = weights[t]",
            "packed[tile, t * TILE + s] = weights[-1 - t]",
        ),
        forward_row_dilation_dropped=(
            "height * row, dilation_h * row, dilation_w * images)\n\n    x_flat",
            "height * row, row, dilation_w * images)\n\n    x_flat",
        ),
        forward_rows_and_columns_swapped=("i * down + j * right", "j * down + i * right"),
        grad_input_columns_all_the_first=("place - back * images, weight", "place, weight"),
        grad_input_rows_all_the_first=("oh - m * up", "oh"),
        grad_input_taps_without_step=("i0 + m * i_step", "i0 + m"),
        grad_input_kernel_flipped=(
            "weights[first + f * channels * taps + t]",
            "weights[first + f * channels * taps + taps - 1 - t]",
        ),
        grad_input_next_filters_channel=("weights[first + f * channels * taps + t]", "weights[first + f * taps + t]"),
        grad_input_stride_dropped=(" or (place - first * dilation) % stride", ""),
        grad_input_last_place_left_out=("> (out_size - 1) * stride", ">= (out_size - 1) * stride"),
        grad_input_dilation_dropped=("place >= (first + found * step) * dilation", "place >= first + found * step"),
        grad_input_steps_without_dilation=("while step * dilation % stride", "while step % stride"),
        grad_input_padding_dropped=("_taps_of(columns, pad_w, out_w", "_taps_of(columns, 0, out_w"),
        grad_input_next_group=("((group * in_group + f) * out_h", "(((group + 1) % groups * in_group + f) * out_h"),
        grad_weight_dilation_dropped=("+ i * dilation_h) * row + j * dilation_w * images", "+ i) * row + j * images"),
        grad_weight_group_off_by_one=(
            "min(f + k, f_stop - 1) * out_h",
            "max(f, min(f + k, f_stop - 2)) * out_h",
        ),
        bias_of_the_next_filter=("biases[tile, s] = b[f]", "biases[tile, s] = b[f - 1]"),
        tiles_overlap=("first, stop = pairs * index // tiles * 2,", "first, stop = pairs * index // tiles,"),
    ),
    *_in(
        "kernels/tiles.py",
        bias_missing_in_short_runs=("splat(b[0]), splat(b[1])", "splat(b.dtype.type(0)), splat(b[1])"),
        short_runs_all_the_first=("p + last, sources", "p + last * (step > 1), sources"),
        last_filter_of_short_runs=(
            "put(out, places[5] + m, c5, alone)",
            "put(out, places[5] + m, c4 if alone else c5, alone)",
        ),
        third_filter_of_a_tile=("fmas(spread(w, t + 2), v, c2)", "fmas(spread(w, t + 1), v, c2)"),
        fused_relu_lost=("store(room, s * width, zero)", "store(room, s * width, splat(b[s]))"),
        window_with_one_place_twice=("(0, near, far, near + far)", "(0, 0, far, near + far)"),
        copied_terms_of_the_first_tap=(
            "loads(x, p + m + sources[tap, 0], own)",
            "loads(x, p + m + sources[0, 0], own)",
        ),
        copies_read_where_they_came_from=("read, first = copied, 0", "read, first = x, p + m"),
        runs_that_all_write_the_first=("start + run * out_step", "start"),
    ),
    *_in(
        "kernels/pool.py",
        window_rows_and_columns_mixed=("i * row + j * images", "i * images + j * row"),
        window_place_off_by_one=("splat(x.dtype.type(tap)))", "splat(x.dtype.type(tap - 1)))"),
        place_of_nothing_positive=("255 if rectify else 0", "0"),
        overlapping_windows_assign_for_add=("if not once:", "if whole < 0:"),
        overlapping_windows_assign_for_add_at_the_end=("own if once else grad[target] + own", "own"),
    ),
    *_in(
        "kernels/vector.py",
        tie_goes_to_the_last=('fcmp_ordered(">", a, b)', 'fcmp_ordered(">=", a, b)'),
        max_swallows_nan=('fcmp_unordered("uno", a, a)', 'fcmp_ordered(">", a, a)'),
    ),
    *_in(
        "kernels/matmul.py",
        last_row_of_a_block_left_out=(
            "rows * (index + 1) // _blocks(rows)",
            "rows * (index + 1) // _blocks(rows) - (index > 0)",
        ),
        row_sum_without_its_last=("for m in range(values.size)", "for m in range(values.size - 1)"),
    ),
    *_in(
        "kernels/blas.py",
        product_of_the_first_rows=(
            "builder.select(is_transposed, first, builder.mul(first, a_columns))",
            "builder.mul(first, size(0))",
        ),
        product_of_the_first_columns=(
            "builder.select(is_transposed, first, builder.mul(first, a_columns))",
            "builder.select(is_transposed, size(0), builder.mul(first, a_columns))",
        ),
        product_written_to_the_first_rows=(
            "at(own_out.data, builder.mul(first, columns))",
            "at(own_out.data, size(0))",
        ),
        product_added_to_what_was_there=("number(0.0), *target", "number(1.0), *target"),
        columns_read_as_rows=('(char("t"), apart(b_rows))', '(char("n"), apart(b_rows))'),
    ),
    *_in(
        "kernels/elementwise.py",
        relu_swallows_nan=("0 if source[m] <= 0 else source[m]", "source[m] if source[m] > 0 else 0"),
        relu_slope_1_at_zero=("0 if result[m] <= 0 else gradient[m]", "0 if result[m] < 0 else gradient[m]"),
        large_batch_laid_out_backwards=("row[n] = column[n]", "row[n] = column[-1 - n]"),
        momentum_step_of_the_gradient=("if nesterov else v[m])", "if nesterov else gradient[m])"),
        nesterov_without_its_gradient=("lr * (gradient[m] + momentum * v[m] if", "lr * (momentum * v[m] if"),
        batch_gathered_in_file_order=("row[n] = images[order[n], p]", "row[n] = images[n, p]"),
    ),
    *_in(
        "functional/activations.py",
        softmax_without_temperature=("x if temperature == 1 else x / temperature", "x"),
    ),
    *_in(
        "functional/losses.py",
        label_smoothing_not_spread=("label_smoothing / logits.shape[1]", "label_smoothing"),
        nll_wrong_sign=("-log_p[np.arange(len(targets)), targets]", "log_p[np.arange(len(targets)), targets]"),
        kl_div_other_direction=("terms = p * (log_p - log_q)", "terms = log_q.exp() * (log_q - log_p)"),
        kl_div_batchmean_over_classes=("terms.sum() / len(terms)", "terms.mean()"),
        squared_hinge_not_squared=("relu(1 - y * x) ** 2", "relu(1 - y * x)"),
        squared_hinge_wrong_sign=("relu(1 - y * x)", "relu(1 + y * x)"),
    ),
    *_in(
        "functional/layers.py",
        dropout_without_scaling=("keep / (1 - p) if p < 1 else keep", "keep"),
        dropout_in_evaluation=("if not training or p == 0", "if p == 0"),
        running_variance_biased=("(var * (count / (count - 1)) - running_var)", "(var - running_var)"),
        batch_statistics_taken_for_constants=("constant=False", "constant=True"),
        running_mean_keeps_the_wrong_share=("running_mean += momentum *", "running_mean += (1 - momentum) *"),
        adaptive_pool_parts_rounded_down=("-(-(i + 1) * size // parts)", "(i + 1) * size // parts"),
    ),
    *_in(
        "frozen.py",
        frozen_shares_its_results=("self.values.copy(), 0", "self.values, 0"),
        frozen_lets_go_too_early=("isinstance(source, int)} - read", "isinstance(source, int)}"),
        frozen_merges_what_others_read=("readers[source] == 1 else None", "readers[source] else None"),
        frozen_merges_any_pooling=("rest == [ops.Relu] and pools_four(**second.settings[0])", "rest == [ops.Relu]"),
        frozen_linear_forgets_relu=("partial(_linear, bool(rest))", "partial(_linear, False)"),
        frozen_reads_the_first_settings=("pool = step.settings[2]", "pool = step.settings[2] | {'stride': (1, 1)}"),
        frozen_is_the_model_itself=("copy.deepcopy(model).eval()", "model.eval()"),
        frozen_is_not_checked=("not np.array_equal(found, expected,", "not np.array_equal(found, found,"),
        frozen_is_checked_with_what_was_traced=("plan.run(other)", "plan.run(x)"),
        frozen_hides_from_observers=("if tape.observers.get():", "if False:"),
        frozen_is_checked_with_a_tolerance=(
            "np.array_equal(found, expected, equal_nan=True)",
            "np.allclose(found, expected)",
        ),
        frozen_is_checked_with_noise_only=("(x * np.exp(-np.abs(noise)))", "noise"),
        frozen_is_checked_without_noise=("for other in (noise.", "for other in ((x + 0 * noise)."),
        frozen_is_checked_after_the_model=(
            "found, expected = plan.run(other), self._eager(other.copy()).data",
            "expected, found = self._eager(other.copy()).data, plan.run(other)",
        ),
        frozen_check_lets_the_model_write_into_results=("other.copy()", "other"),
        frozen_takes_integers_for_steps=("float(x) if isinstance(x, int) else x", "x"),
        frozen_takes_any_shape=("self._plans.get((x.shape, x.dtype))", "[*self._plans.values(), None][0]"),
    ),
    *_in(
        "functional/penalties.py",
        l2_penalty_not_squared=("(w * w).sum()", "w.sum()"),
    ),
    *_in(
        "nn/init.py",
        kaiming_of_fan_out=(
            "gain * (3 / fan_in_and_out(weight.shape)[0])",
            "gain * (3 / fan_in_and_out(weight.shape)[1])",
        ),
        default_bound_without_root=("1 / np.sqrt(fan_in) if", "1 / fan_in if"),
    ),
    *_in(
        "nn/layers.py",
        pooling_steps_by_one=("self.stride = kernel_size if stride is None", "self.stride = 1 if stride is None"),
        batch_norm_never_trains=("self.bias, self.training, self.momentum", "self.bias, False, self.momentum"),
    ),
    *_in(
        "optim/optimizers.py",
        momentum_starts_at_the_gradient=(
            'state["velocity"] = np.zeros(p.shape, p.dtype)',
            'state["velocity"] = g.copy()',
        ),
        momentum_forgets_transposed_parameters=("p[...] = flat.reshape(p.shape)", "pass"),
        weight_decay_wrong_sign=(
            "g = g + self.weight_decay * p\n        if not self.momentum:",
            "g = g - self.weight_decay * p\n        if not self.momentum:",
        ),
        adam_mean_without_bias_correction=('state["mean"] / (1 - b1 ** state["step"])', 'state["mean"]'),
        adam_square_without_bias_correction=(
            'np.sqrt(state["square"] / (1 - b2 ** state["step"]))',
            'np.sqrt(state["square"])',
        ),
        adamw_decay_without_learning_rate=("1 - self.lr * self.weight_decay", "1 - self.weight_decay"),
        rmsprop_keeps_the_wrong_share=("(1 - self.alpha) * (g * g", "self.alpha * (g * g"),
        rmsprop_ignores_momentum=('direction = state["velocity"]', "pass"),
    ),
    *_in(
        "optim/schedules.py",
        step_schedule_off_by_one=("count // self.step_size", "(count + 1) // self.step_size"),
        cosine_schedule_off_by_one=("math.pi * count / self.T_max", "math.pi * (count + 1) / self.T_max"),
        one_cycle_ends_late=("self.total_steps - 1 - self.peak", "self.total_steps - self.peak"),
    ),
    *_in(
        "optim/constraints.py",
        clip_by_the_largest_norm=(
            "math.sqrt(sum(float(np.vdot(g, g)) for g in gradients))",
            "max(float(np.vdot(g, g)) ** 0.5 for g in gradients)",
        ),
        clip_without_dividing=("g *= max_norm / norm", "g *= max_norm"),
        max_norm_of_columns=(".sum(axis=1, keepdims=True)", ".sum(axis=0, keepdims=True)"),
    ),
    *_in(
        "loader.py",
        every_batch_is_transformed_alike=("[self.seed, epoch, number + 1]", "[self.seed, epoch]"),
    ),
    *_in(
        "transforms.py",
        jitter_moves_along_the_diagonal=(
            "rows = np.arange(height)[:, None, None] + down",
            "rows = np.arange(height)[:, None, None] + across",
        ),
    ),
    *_in(
        "checkpoint.py",
        memory_order_written_as_it_lies=('np.asarray(array, order="C")', "np.asarray(array)"),
    ),
    *_in(
        "compression/distillation/losses.py",
        distillation_without_t_squared=("term * self.temperature**2 if self.balance else term", "term"),
        distillation_kl_averaged_over_classes=('reduction="batchmean"', 'reduction="mean"'),
        distillation_kl_arguments_swapped=("F.kl_div(log_q, p,", "F.kl_div(np.log(p), log_q.exp(),"),
        distillation_labels_at_temperature_t=(
            "(1 - self.alpha) * F.cross_entropy(student, labels)",
            "(1 - self.alpha) * F.cross_entropy(student / self.temperature, labels)",
        ),
        distillation_alpha_on_the_labels=(
            "self.alpha * self._soft_term(student, teacher) + (1 - self.alpha)",
            "(1 - self.alpha) * self._soft_term(student, teacher) + self.alpha",
        ),
        distillation_softens_the_teacher_only=("axis=1, temperature=self.temperature)", "axis=1)"),
        distillation_softens_the_student_only=(
            "(teacher, self.temperature, self.weights)",
            "(teacher, 1.0, self.weights)",
        ),
        soft_targets_of_default_temperature_4=(
            "temperature: float = 1.0, weights",
            "temperature: float = 4.0, weights",
        ),
    ),
    *_in(
        "compression/distillation/checks.py",
        ensemble_weights_not_divided=("return values / values.sum()", "return values"),
    ),
    *_in(
        "compression/distillation/training.py",
        temperature_left_on_at_inference=(
            "        return minigrad.fit(student, soft,",
            '        student.register_forward_hook(lambda m, x, out: out / getattr(loss, "temperature", 4.0))\n'
            "        return minigrad.fit(student, soft,",
        ),
    ),
    *_in(
        "compression/distillation/teachers.py",
        teacher_answers_with_dropout_on=("with evaluating(model), no_grad():", "with no_grad():"),
        shift_average_of_all_but_one=("total / len(places)", "total / (len(places) - 1 or 1)"),
        shift_average_down_alone=(
            "down : down + height, across : across + width",
            "down : down + height, down : down + width",
        ),
        shift_average_of_the_same_checksum=(", pixels={self.pixels}, fill={self.fill})", ")"),
        cached_logits_in_file_order=("self.logits[..., chosen, :]", "self.logits[..., : len(chosen), :]"),
        cached_logits_of_any_model=('("model", "another teacher")', '("images", "another teacher")'),
    ),
    *_in(
        "compression/distillation/hints.py",
        hints_leave_their_hooks=("            remove()", "            pass"),
        attention_of_one_channel=("(x * x).sum(axis=1)", "(x * x)[:, 0]"),
    ),
    *(
        mutant
        for file, mistakes in (LABORATORY | QUANTIZATION | EXPORT | PAGE | GRADIENTS | PARALLEL).items()
        for mutant in _in(file, **mistakes)
    ),
]

NEEDS = {"compression/integer/packed.py": "avx512vnni", "c_weights_in_ram_on_an_avr": "avr-gcc"}
"""A processor's feature or a command, without which every test that would notice a file's mistakes, or one, is skipped."""
