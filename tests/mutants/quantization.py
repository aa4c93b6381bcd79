"""Mistakes that people make with rounded numbers and integer arithmetic: file → name → (text, what takes its place).

Rows of `catalogue.py`, which says how to add one.
"""

QUANTIZATION = {
    "ops/quantize.py": {
        "rounds_half_up": ("rounded = np.rint(self.scaled)", "rounded = np.floor(self.scaled + 0.5)"),
        "fake_quantize_without_zero_point": ("np.clip(rounded, low - zero_point,", "np.clip(rounded, low,"),
        "fake_quantize_without_clamp": ("np.clip(rounded, low - zero_point, high - zero_point)", "rounded"),
        "straight_through_mask_inverted": (
            "return g * self.inside\n\n    def vjp_scale",
            "return g * ~self.inside\n\n    def vjp_scale",
        ),
        "straight_through_everywhere": ("return g * self.inside\n\n    def vjp_scale", "return g\n\n    def vjp_scale"),
        "learned_step_has_the_wrong_sign": ("(self.steps - np.where(", "-(self.steps - np.where("),
        "learned_step_forgets_what_rounding_moved": ("np.where(self.inside, self.scaled, 0)", "0 * self.scaled"),
        "learned_step_not_scaled": ("return self.grad_factor * g * (", "return g * ("),
        "sign_of_zero": ("return (x >= 0)", "return (x > 0)"),
        "sign_passes_all_gradients": ("self.inside = np.abs(x) <= 1", "self.inside = np.abs(x) <= np.inf"),
    },
    "compression/quantization/formats.py": {
        "quantize_truncates": ("q = np.rint(x / scale", "q = np.trunc(x / scale"),
        "quantize_without_zero_point": ("astype(np.float64)) + zero_point\n", "astype(np.float64))\n"),
        "quantize_wraps": ("return np.clip(q, params.low, params.high).astype", "return q.astype"),
        "dequantize_adds_the_zero_point": (
            "(np.asarray(q, np.int32) - zero_point)",
            "(np.asarray(q, np.int32) + zero_point)",
        ),
        "range_without_zero": (
            "low, high = min(float(low), 0.0), max(float(high), 0.0)",
            "low, high = float(low), float(high)",
        ),
        "weights_reach_to_the_largest_only": (
            "np.maximum(parts.max(axis=2) / high, parts.min(axis=2) / low)",
            "parts.max(axis=2) / high",
        ),
        "power_of_two_below": ("np.where(mantissa == 0.5, exponent - 1, exponent)", "exponent - 1"),
        "groups_across_channels": (
            "np.moveaxis(w, axis, 0).reshape(w.shape[axis], -1)",
            "w.reshape(w.shape[axis], -1)",
        ),
    },
    "compression/quantization/packing.py": {
        "packed_sign_lost": ("codes -= (codes >> (bits - 1)) << bits", "pass"),
        "packed_bytes_rounded_down": ("return -(-count * bits // 8)", "return count * bits // 8"),
    },
    "compression/quantization/simulation.py": {
        "means_rounded_half_up": (
            "np.sign(sums) * ((np.abs(sums) + count // 2) // count)",
            "(sums + count // 2) // count",
        ),
        "means_without_zero_point": (".astype(np.int64) + count * params.zero_point", ".astype(np.int64)"),
        "means_not_rounded": ("RoundedMean(layer, lambda: params)", "RoundedMean(layer, lambda: None)"),
    },
    "compression/quantization/ptq.py": {
        "last_batch_alone_for_batch_norm": ("norm.training, norm.momentum = True, 1 / count", "norm.training = True"),
    },
    "compression/quantization/equalization.py": {
        "equalized_the_wrong_way": ("np.divide(made, read,", "np.divide(read, made,"),
        "biases_corrected_twice_over": (
            "layer.bias.data[...] -= by_channel @ mean",
            "layer.bias.data[...] += by_channel @ mean",
        ),
    },
    "compression/quantization/qat.py": {
        "trained_zeros_come_back": ("if keep_zeros:", "if False:"),
        "first_layer_without_std": ("stage.name, std if before is None else 1.0", "stage.name, 1.0"),
        "teacher_not_asked": ("if teacher is None:", "if True:"),
        "widths_of_layers_ignored": ('{"bits": by_layer.get(name)}', '{"bits": max(by_layer.values())}'),
    },
    "compression/quantization/qat_layer.py": {
        "frozen_ranges_move": ("if self.training and not self.frozen:", "if self.training:"),
        "ranges_of_the_last_batch": ("self.settings.momentum * (extremes", "(extremes"),
        "scale_below_zero": ("np.maximum(scale.data, np.maximum(widest / 100, SMALLEST_SCALE))", "(scale.data + 0)"),
        "logits_always_rounded": (
            "if not self.rounds_activations or self.settings.activation_bits is None:",
            "if self.settings.activation_bits is None:",
        ),
    },
    "compression/quantization/observers.py": {
        "percentile_of_one_end": (
            "np.interp([share, 1 - share], below, borders)",
            "np.interp([0.0, 1 - share], below, borders)",
        ),
        "histogram_widths_not_doubled": ("int(places[0]), 2 * self.width", "int(places[0]), self.width"),
    },
    "compression/quantization/analysis.py": {
        "shapley_orders_counted_alike": ("/ (n * comb(n - 1, len(group)))", "/ 2 ** (n - 1)"),
        "line_walked_backwards": ("(1 - t) * w + t * end[name]", "t * w + (1 - t) * end[name]"),
        "amplitudes_for_powers": ("float(10 * np.log10(signal / noise))", "float(20 * np.log10(signal / noise))"),
        "noise_of_zeros_counted": ("used = values != 0", "used = values == values"),
        "culprit_is_the_most_helpful_layer": ("culprit=min(shares,", "culprit=max(shares,"),
        "bias_without_its_mean": ("- with_bias) + with_bias) * units", ")) * units"),
    },
    "compression/quantization/mixed.py": {
        "budget_not_kept": ("if nbytes <= budget and (", "if ("),
        "dearest_choice": ("(predicted, nbytes) < (best.predicted, best.nbytes)", "predicted > best.predicted"),
    },
    "compression/integer/int8_backward.py": {
        "int8_gradients_rounded_to_the_nearest": (
            "round_to_int8(innermost(g), generator())",
            "round_to_int8(innermost(g))",
        ),
        "int8_gradients_drawn_twice": ("if op.seen is None or op.seen[0] is not g:", "if True:"),
        "int8_gradients_drawn_once_for_all": ("if op.seen is None or op.seen[0] is not g:", "if op.seen is None:"),
        "int8_scale_of_one_side": ("sums * (a.scale * b.scale)", "sums * a.scale"),
        "int8_nan_becomes_zero": ("0.0 if largest == 0 else np.nan", "0.0"),
        "int8_bytes_not_raised": ("return x.view(np.uint8) ^ np.uint8(128)", "return x.view(np.uint8)"),
        "int8_columns_without_dilation": ("top, left = i * dilation_h, j * dilation_w", "top, left = i, j"),
        "int8_sums_in_one_part": ("if terms > MOST_TERMS:\n        parts", "if False:\n        parts"),
    },
    "compression/integer/backward_kernels.py": {
        "fraction_dropped": (
            "(np.int32(np.rint(values[m] * factor)) + np.int32(bits[m])) >> 16",
            "np.int32(np.rint(values[m] * factor)) >> 16",
        ),
        "codes_wrap_at_the_largest": ("min(max(code, -127), 127)", "code"),
        "sums_not_taken_off": ("total[p] -= 128 *", "total[p] -= 0 *"),
        "columns_of_later_strides_lost": ("start + ow * stride_w * images : start", "start + ow * images : start"),
    },
    "compression/integer/arithmetic.py": {
        "high_mul_truncates": ("return (a * b + (1 << 30)) >> 31", "return (a * b) >> 31"),
        "high_mul_wraps": ("return min(high_mul(a, b), INT32_MAX)", "return high_mul(a, b)"),
        "division_rounds_half_up": ("threshold = (mask >> 1) + (x < 0)", "threshold = mask >> 1"),
        "multiplier_rounded_up_to_one": ("q, shift = q // 2, shift + 1", "q, shift = q // 2, shift"),
        "shifted_the_wrong_way": (
            "high_mul(acc << max(shift, 0), multiplier)",
            "high_mul(acc << max(-shift, 0), multiplier)",
        ),
        "single_truncates": (
            "return (acc * multiplier + (1 << (bits - 1))) >> bits",
            "return (acc * multiplier) >> bits",
        ),
        "half_up_for_half_even": ("(twice_rest == one and whole & 1 == 1)", "twice_rest == one"),
    },
    "compression/integer/layers.py": {
        "zero_point_folded_with_the_wrong_sign": ("- self.input_zero * sums", "+ self.input_zero * sums"),
    },
    "compression/integer/certificate.py": {
        "bound_for_signed_inputs": ("bound = 255 * weights + abs(bias)", "bound = 128 * weights + abs(bias)"),
        "bound_without_bias": ("bound = 255 * weights + abs(bias)", "bound = 255 * weights"),
    },
    "compression/integer/convert.py": {
        "mean_not_folded": ("units -= 255 * mean *", "units -= 0 * mean *"),
        "std_not_folded": (
            "np.asarray(weight.scale / np.float32(std), np.float32)",
            "np.asarray(weight.scale, np.float32)",
        ),
        "bias_truncated": ("bias = np.rint(units)", "bias = np.trunc(units)"),
        "border_of_black_pixels": (
            "pad_value = input_zero if normalisation is None else",
            "pad_value = input_zero if True else",
        ),
        "relu_clamps_at_minus_128": ("(min(max(bound, zero), top)", "(min(max(bound, LOW), top)"),
    },
    "compression/integer/program.py": {
        "groups_that_overflow": ("sums[g] + size <= 255", "sums[g] + size <= 512"),
        "linear_rows_not_filled_up": ("(0, -shape[0] % WHOLE)", "(0, 0 * WHOLE)"),
    },
    "compression/integer/kernels.py": {
        "last_group_left_out": ("for g in range(len(ends) - 1):", "for g in range(len(ends) - 2):"),
        "tiles_without_bias": ("= d1 = splat(bias)", "= d1 = splat(0 * bias)"),
        "largest_of_the_first_row": ("for r in range(1, row[col.POOL_H]):", "for r in range(2, row[col.POOL_H]):"),
    },
    "compression/integer/packed.py": {
        "second_window_is_the_first": ("at + places[corner + k + 1]", "at + places[corner + k]"),
        "odd_window_left_out": ("if area % 2:", "if area == 1:"),
        "pixels_between_not_shifted": ("_shift_right2(low, 8 * behind)", "_shift_right2(low, 0 * behind)"),
        "last_pixels_not_shifted": (">> 8 * missing)", ">> 0 * missing)"),
    },
    "compression/integer/model.py": {
        "scores_of_unlike_units": ("(sums * scale.mantissa + ", "(sums + "),
        "scales_of_neighbours_not_compared": ("if layer.input_zero != zero or", "if False and"),
    },
    "compression/integer/reference.py": {
        "multiplier_of_the_first_channel": ("int(layer.multiplier[channel])", "int(layer.multiplier[0])"),
        "requantized_without_zero_point": (
            "PROFILES.index(profile)) + layer.output_zero",
            "PROFILES.index(profile))",
        ),
        "requantized_without_upper_clamp": ("return min(max(q, layer.low), layer.high)", "return max(q, layer.low)"),
        "mean_truncated": ("(abs(total) + count // 2) // count", "abs(total) // count"),
    },
    "compression/integer/storage.py": {
        "a_bit_for_minus_eight_too_many": ("np.where(q < 0, -1 - q, q)", "np.abs(q.astype(int))"),
        "stored_signs_inverted": ("2 * stored.astype(np.int8) - 1", "1 - 2 * stored.astype(np.int8)"),
        "mask_not_counted": ("mask=packed_bytes(count, 1) if masked else 0", "mask=0"),
        "scales_counted_once": ("scales=8 * (layer.weight_scale.mantissa.size + 2)", "scales=24"),
    },
    "compression/integer/files.py": {
        "header_of_an_integer_file_not_counted": ("layer_bytes(), 8, header)", "layer_bytes(), 8, 0)"),
    },
    "compression/binary/layers.py": {
        "binary_weights_not_binary": ("F.binary_sign(self.weight), stride=", "self.weight, stride="),
        "binary_scale_of_signed_weights": ("np.abs(w).reshape", "w.reshape"),
    },
    "compression/binary/kernels.py": {
        "packed_sign_of_zero": ("np.uint64(values[m] >= 0)", "np.uint64(values[m] > 0)"),
        "differing_bits_counted_once": ("products - 2 * counts[n]", "products - counts[n]"),
        "bits_lost_at_the_end_of_a_word": ("high[n] |= source[n] >> rest", "high[n] |= source[n] >> 0 * rest"),
        "last_filters_left_out": ("for i in range(min(4, filters - f)):", "for i in range(min(4, filters - f - 1)):"),
    },
    "compression/binary/packed.py": {
        "filters_packed_row_by_row": ("w.transpose(0, 3, 2, 1)", "w.transpose(0, 2, 3, 1)"),
        "packed_rows_filled_with_ones": ("np.zeros((len(positive),", "np.ones((len(positive),"),
    },
}
