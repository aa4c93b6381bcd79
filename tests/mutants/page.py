"""Mistakes that people make when they run a model in a web page: file → name → (text, what takes its place).

Rows of `catalogue.py`, which says how to add one. Those in JavaScript are noticed where node is installed.
"""

PAGE = {
    "compression/export/playground_network.js": {
        "js_product_in_53_bits": (
            "  const high = multiplier >>> 16, low = multiplier & 0xffff;\n",
            "  return Math.floor((sum * multiplier + 2 ** 30) / 2 ** 31);\n"
            "  const high = multiplier >>> 16, low = multiplier & 0xffff;\n",
        ),
        "js_carry_lost": ("(sum * high + carry) / 2 ** 15", "(sum * high) / 2 ** 15"),
        "js_no_half_before_the_shift": ("(sum * low + 2 ** 30) / 2 ** 16", "(sum * low) / 2 ** 16"),
        "js_ties_toward_infinity": ("(x < 0 ? 1 : 0)", "0"),
        "js_shift_of_the_other_sign": ("highMul(sum * 2 ** left, multiplier), right", "highMul(sum, multiplier), right"),
        "js_single_without_the_lower_half": (" + Math.floor(sum * (multiplier & 0xffff) / 2 ** 16)", ""),
        "js_single_truncates": ("(upper + 2 ** (bits - 17)) / 2", "upper / 2"),
        "js_float64_for_float32": (
            "Math.fround(Math.fround(sum) * Math.fround(multiplier * 2 ** shift))",
            "sum * multiplier * 2 ** shift",
        ),
        "js_half_up": ("rest === 0.5 && whole % 2 !== 0", "rest === 0.5"),
        "js_clamp_before_the_zero_point": (
            "return clamp(scaled + layer.output_zero, layer.low, layer.high);",
            "return clamp(scaled, layer.low, layer.high) + layer.output_zero;",
        ),
        "js_wraps_instead_of_clamping": ("value > high ? high : value", "value"),
        "js_border_is_zero": ("at < 0 ? layer.pad_value : x[at]", "at < 0 ? 0 : x[at]"),
        "js_undilated": ("const r = top + i * dy, k = left + j * dx;", "const r = top + i, k = left + j;"),
        "js_stride_of_the_other_axis": ("column * layer.stride[1]", "column * layer.stride[0]"),
        "js_group_of_the_neighbour": ("Math.floor(f / perGroup) * channels", "(f % layer.groups) * channels"),
        "js_border_wins_in_max_pooling": ("x instanceof Int8Array ? -128 : -Infinity", "0"),
        "js_mean_rounds_up": ("Math.sign(sum) * Math.floor(Math.abs(sum) / count + 0.5)", "Math.round(sum / count)"),
        "js_relu_lost_behind_flatten": ("y[i] = clamp(value, layer.low, layer.high);", "y[i] = value;"),
        "js_pixels_not_shifted": ("(p) => p - 128", "(p) => p"),
        "js_deviation_forgotten": ("(p / 255 - mean) / std", "p / 255 - mean"),
        "js_temperature_multiplies": ("(z - largest) / temperature", "(z - largest) * temperature"),
        "js_exponentials_overflow": ("Math.exp((z - largest) / temperature)", "Math.exp(z / temperature)"),
        "js_box_of_28": ("left + 1) / 20;", "left + 1) / 28;"),
        "js_box_in_the_middle_instead_of_its_mass": ("massRow += value * row", "massRow += value * (rows - 1) / 2"),
        "js_faint_ink_stays_faint": ("value * 255 / strongest", "value"),
        "js_pixels_at_the_edge_counted_whole": (
            "const height = Math.min(r + 1, top + size) - Math.max(r, top);",
            "const height = 1;",
        ),
    },
    "compression/export/html.py": {
        "page_bias_without_the_zero_point": ("layer.folded_bias.astype", "layer.bias.astype"),
        "page_relu6_is_relu": ('layers[-1]["high"] = 6', "pass"),
        "page_relu_lost": ('layers[-1]["low"] = max(layers[-1].get("low", 0), 0)', "pass"),
        "page_data_ends_its_script": ('.replace("<", "\\\\u003c")', ""),
        "page_pruned_without_its_mask": ("bitmask_bytes(p) if p.ndim > 1 else", "4 * np.count_nonzero(p) if p.ndim > 1 else"),
        "page_zeros_counted_as_weights": ("nonzeros = weights - sum(row.zeros for row in rows)", "nonzeros = weights"),
    },
}  # fmt: skip
