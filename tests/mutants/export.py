"""Mistakes that people make when they write a model as C, as ONNX, or for PyTorch: file → name → (text, what takes its place).

Rows of `catalogue.py`, which says how to add one.
"""

EXPORT = {
    "compression/export/c_layers.py": {
        "c_bias_without_the_zero_point": ("[layer.folded_bias.tolist()]", "[layer.bias.tolist()]"),
        "c_border_is_zero": ("pad=layer.pad_value", "pad=0"),
        "c_stride_of_the_other_axis": (
            '_place("column", layer.stride[1], "j", layer.dilation',
            '_place("column", layer.stride[0], "j", layer.dilation',
        ),
        "c_kernel_undilated": ('"i", layer.dilation[0]', '"i", 1'),
        "c_padding_forgotten_in_max_pooling": (
            'if any(layer.padding) else ""\n        start',
            'if False else ""\n        start',
        ),
        "c_group_of_the_neighbour": ("f / {len(layer.weight) // layer.groups} * ", "f % {layer.groups} * "),
        "c_pooling_without_its_relu": ("if (layer.low, layer.high) != (LOW, HIGH):", "if False:"),
        "c_largest_starts_at_zero": (
            'start, step, result = f"int largest = {LOW};"',
            'start, step, result = "int largest = 0;"',
        ),
        "c_one_multiplier_for_all": (
            "multiplier = str(layer.multiplier[0]) if _alike(layer.multiplier)",
            "multiplier = str(layer.multiplier[0]) if True",
        ),
        "c_shift_is_not_in_the_accounting": ("sizes[3] = INT8 * count", "pass"),
        "c_sums_not_advanced": ("*sums++ = sum;", "*sums = sum;"),
    },
    "compression/export/c_text.py": {
        "c_rounds_ties_toward_zero": ("(mask >> 1) + (x < 0)", "(mask >> 1) + (x > 0)"),
        "c_product_in_32_bits": (
            "sum * ((int64_t)1 << left) * multiplier;",
            "(int32_t)(sum * ((int64_t)1 << left)) * multiplier;",
        ),
        "c_single_truncates": (" + ((int64_t)1 << (bits - 1))) >> bits", ") >> bits"),
        "c_float_rounds_half_up": ("(twice_rest == one && (whole & 1))", "twice_rest == one"),
        "c_float_keeps_all_bits_of_the_sum": ("lost = beyond > 0 ? beyond : 0;", "lost = beyond > 60 ? beyond : 0;"),
        "c_clamp_before_the_zero_point": (
            "clamp(rescale(sum, multiplier, shift) + zero, low, high)",
            "(clamp(rescale(sum, multiplier, shift), low, high) + zero)",
        ),
        "c_wraps_instead_of_clamping_above": ("value > high ? high : value", "value"),
        "c_mean_truncates": ("(total < 0 ? total - count / 2 : total + count / 2) / count", "total / count"),
        "c_mean_rounds_up": ("total < 0 ? total - count / 2 : total + count / 2", "total + count / 2"),
        "c_weights_in_ram_on_an_avr": ("#define IN_FLASH PROGMEM", "#define IN_FLASH"),
        "c_main_hides_a_cut_image": ("    if (got) {", "    if (0) {"),
    },
    "compression/export/c.py": {
        "c_buffers_swapped": (
            "return max(sizes[::2]), max(sizes[1::2], default=0)",
            "return max(sizes[1::2], default=0), max(sizes[::2])",
        ),
        "c_writes_outputs_into_the_buffer": ('"outputs" if last else y', "y"),
        "c_pixels_not_shifted": ("(image[i] - {-LOW})", "(image[i] - 0)"),
        "c_two_layers_of_one_name": ("while found in taken:", "while False:"),
        "c_keyword_as_a_name": ("or name in KEYWORDS.split()", ""),
        "c_shift_too_large": ("if not -31 <= shift <= 30", "if not -32 <= shift <= 31"),
    },
    "compression/export/onnx_float.py": {
        "onnx_border_on_one_side": ('"pads": padding * 2', '"pads": padding + [0, 0]'),
        "onnx_mean_without_its_border": ("count_include_pad=1", "count_include_pad=0"),
        "onnx_weights_not_turned": ("name, transB=1", "name, transB=0"),
        "onnx_relu6_without_its_limit": ("for value in (0, 6)", "for value in (0, 66)"),
        "onnx_limit_named_like_a_layer": ('graph.constant(f"limit {value}"', 'graph.constant(f"/{value}"'),
    },
    "compression/export/pytorch.py": {
        "torch_bfloat16_not_decoded": ('if dtype == "BF16" else', 'if dtype == "BF17" else'),
        "torch_infinity_taken": ("np.count_nonzero(~np.isfinite(found.values))", "np.isnan(found.values).sum()"),
        "torch_outermost_name_counts": ("range(len(parts), 0, -1)", "range(1, len(parts) + 1)"),
        "torch_layers_by_their_first_letters": ('name.startswith(f"{theirs}.")', "name.startswith(theirs)"),
        "torch_two_arrays_of_one_name": ("if count > 1]", "if count > 2]"),
        "torch_pickles_known_by_their_suffix_alone": (' or content[:2] in (b"PK", b"\\x80\\x02")', ""),
        "torch_weights_put_into_the_callers_model": ("made = copy.deepcopy(model)", "made = model"),
    },
}
