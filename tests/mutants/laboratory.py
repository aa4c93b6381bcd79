"""Mistakes that people make when they prune and store sparsely: file → name → (text, what takes its place).

Rows of `catalogue.py`, which says how to add one.
"""

LABORATORY = {
    "compression/course.py": {
        "solutions_handed_out": ("lines[: lines.index(BEGIN)] + stub", "lines[: lines.index(END)] + stub"),
        "students_notebook_overwritten": ("if not copy_.exists():", "if True:"),
        "students_copy_paired_with_a_text": ('version["metadata"].pop("jupytext", None)', "pass"),
        "reset_without_a_backup": ("path.rename(old)", "path.unlink()"),
        "reset_forgets_other_notebooks": ('if not name.startswith(f"{number}-")}', "if False}"),
        "attempts_counted_after_passing": ('if known["passed"]:', "if False:"),
    },
    "compression/pruning/pruner.py": {
        "masked_weights_multiplied": ("np.multiply(bits, mask, out=bits)", "np.multiply(w, mask, out=w)"),
        "pruned_behind_the_callers_back": ("self.apply_(copy.deepcopy(model))", "self.apply_(model)"),
    },
    "compression/pruning/explorer.py": {
        "explorer_prunes_all_layers_less": (
            "dict.fromkeys(alone.sizes, share)",
            "dict.fromkeys(alone.sizes, share**2)",
        ),
        "explorer_says_what_stays_for_what_goes": ("gone = int(np.sum(~kept))", "gone = int(np.sum(kept))"),
    },
    "compression/quantization/explorer.py": {
        "decibels_of_mean_errors": (
            "np.mean((grid_points(w, b, k)[1] - exact) ** 2)",
            "np.mean(grid_points(w, b, k)[1] - exact) ** 2",
        ),
    },
    "compression/integer/explorer.py": {
        "explorer_floors": ("(products + (1 << (down - 1))) >> down", "products >> down"),
        "explorer_multiplier_overflows": (
            "return (q // 2, shift + 1) if q == 2**bits else (q, shift)",
            "return q, shift",
        ),
    },
    "compression/pruning/finetune.py": {
        "finetuned_without_masks": ("optimizer, after_step=pruner.apply_)", "optimizer)"),
    },
    "compression/pruning/ledger.py": {
        "undo_keeps_the_step": ("self.steps.pop()", "pass"),
        "undo_brings_back_zeros": ("w[_gone(before.get(name), mask)] = last.values[name]", "pass"),
        "undo_of_weights_that_went_before": ("before & ~after", "~after"),
        "undo_changes_the_model": (
            "self.masks(len(self) - 1), copy.deepcopy(model)",
            "self.masks(len(self) - 1), model",
        ),
        "ledger_of_the_step_after": ("self.steps[:step]", "self.steps[: step + 1]"),
        "blame_reads_the_neighbours_value": (
            "[: np.ravel_multi_index(place, shape)].sum()",
            "[: np.ravel_multi_index(place, shape) + 1].sum() - 2",
        ),
        "removed_weights_come_back_unnoticed": ("if back := int((mask & ~kept).sum())", "if back := 0"),
    },
    "compression/pruning/channels.py": {
        "flattened_channels_interleaved": (
            "_Label(np.repeat(label.channels, pixels),",
            "_Label(np.tile(label.channels, pixels),",
        ),
        "residual_sides_not_united": ("self._unite(label.channels, other.channels)", "pass"),
        "sum_constant_if_one_side_is": ("constant = constant & other", "constant = constant | other"),
        "constant_folded_at_a_padded_border": ("if padded:", "if False:"),
        "shared_layers_cut_twice": (
            "self.shared = {number for number in used if used.count(number) > 1}",
            "self.shared = set()",
        ),
    },
    "compression/pruning/surgery.py": {
        "constants_not_added_to_the_bias": ("(b.data[rows] + gone)", "(b.data[rows])"),
        "batch_norm_keeps_the_first_statistics": (
            "type(entry)(entry.data[keep])",
            "type(entry)(entry.data[: keep.sum()])",
        ),
        "batch_norm_keeps_the_first_scales": (
            "Parameter(entry.data[keep], entry",
            "Parameter(entry.data[: keep.sum()], entry",
        ),
        "columns_of_other_channels": (
            "Parameter(w.data[rows][:, columns]",
            "Parameter(w.data[rows][:, : columns.sum()]",
        ),
        "dead_neurons_kill_no_others": ("removed = ~needed\n", "return ~needed\n"),
        "sizes_not_corrected": ("            settings[name] = size", "            pass"),
    },
    "compression/sparse/matrix.py": {
        "csr_column_one_too_far": ("(indices >= columns,", "(indices > columns,"),
        "csr_negative_column": ("(indices < 0,", "(indices < -1,"),
        "csr_column_twice": ("(indices[1:] <= indices[:-1])", "(indices[1:] < indices[:-1])"),
        "csr_pointers_begin_anywhere": ("if indptr[0] != 0:", "if indptr[0] < 0:"),
        "csr_pointers_end_early": ("if indptr[-1] != count:", "if indptr[-1] > count:"),
        "csr_pointers_may_fall": ("np.flatnonzero(indptr[1:] < indptr[:-1])", "np.flatnonzero(indptr[1:] < 0)"),
        "csr_one_pointer_too_few": ("if len(indptr) != rows + 1:", "if len(indptr) not in (rows, rows + 1):"),
        "csr_int64_wraps": ("array.max() > LARGEST)", "array.max() > LARGEST * 2**20)"),
        "csr_shares_the_callers_structure": (
            "array.astype(np.int16 if array.dtype == np.int16 else np.int32)",
            "array.astype(np.int16 if array.dtype == np.int16 else np.int32, copy=False)",
        ),
        "csr_transposed_blocks_in_the_wrong_order": ("rows, entries.order[order])", "rows, order)"),
        "sparse_bias_missing": ("return np.ascontiguousarray(b)", "return np.zeros(rows, dtype)"),
        "block_bias_missing": ("padded[: len(b)] = b", "pass"),
        "int8_row_overflows_int32": ("if longest > INT8_ROW:", "if longest > INT8_ROW + 1:"),
    },
    "compression/sparse/csr.py": {
        "csr_pointers_off_by_one": (
            "np.bincount(rows, minlength=len(array))",
            "np.bincount(rows + 1, minlength=len(array))[:-1]",
        ),
        "csr_transposed_without_its_values": ("self.data[order], self.shape[::-1]", "self.data, self.shape[::-1]"),
        "csr_int16_wraps": ("if array.size and array.max() > np.iinfo(dtype).max:", "if False:"),
    },
    "compression/sparse/formats.py": {
        "deltas_without_padding": ("np.cumsum(gaps // REACH + 1) - 1", "np.arange(gaps.size)"),
        "deltas_count_the_step": ("gaps = columns - previous - 1", "gaps = columns - previous"),
        "deltas_run_on_into_the_next_row": ("previous[1:][rows[1:] != rows[:-1]] = -1", "pass"),
        "padding_is_trained": ("keep = self.data != 0", "keep = self.data == self.data"),
        "zeros_among_deltas": ("np.flatnonzero(~keep & (self.deltas != REACH - 1))", "np.flatnonzero(~keep & False)"),
        "highest_bit_first": ('np.packbits(bits.reshape(-1), bitorder="little")', "np.packbits(bits.reshape(-1))"),
        "bits_beyond_the_last": ("if bits[size:].any():", "if False:"),
        "bits_without_values": ("if bits.sum() != self.data.size:", "if bits.sum() < self.data.size:"),
        "block_beyond_the_edge": ("if (filled & outside).any():", "if False:"),
        "block_entries_in_the_order_of_blocks": ("places[np.lexsort((columns[filled], rows[filled]))]", "places"),
    },
    "compression/sparse/kernels/products.py": {
        "csr_product_without_bias": (
            "        out[row * columns : (row + 1) * columns] = b[row]",
            "        out[row * columns : (row + 1) * columns] = 0",
        ),
        "int8_products_wrap": ("np.int32(value * np.int32(source[m]))", "np.int8(value * np.int32(source[m]))"),
        "sampled_without_its_last": (
            "for k in range(indptr[row], indptr[row + 1]):\n                out[order[k]]",
            "for k in range(indptr[row], indptr[row + 1] - 1):\n                out[order[k]]",
        ),
        "block_columns_left_over": ("if wide < columns:", "if wide == 0:"),
    },
    "compression/sparse/kernels/one_column.py": {
        "one_column_without_bias": ("total = b[row]", "total = 0 * b[row]"),
        "one_column_without_its_last_row": ("out, 0, out.size)", "out, 0, out.size - 1)"),
        "one_column_shares_drop_a_row": ("share(indptr, task + 1, TASKS)", "share(indptr, task + 1, TASKS) - 1"),
    },
    "compression/sparse/kernels/runs.py": {
        "last_share_drops_a_row": (
            "return len(indptr) - 1 if index == count",
            "return len(indptr) - 2 if index == count",
        ),
        "run_shorter_than_a_vector_left_out": ("if whole < length:", "if whole < 0:"),
    },
    "compression/sparse/kernels/conv.py": {
        "sparse_conv_dilation_dropped": ("i * dilation_h * row + j * dilation_w * images", "i * row + j * images"),
        "sparse_conv_reads_the_first_group": (
            "at = f // (filters // groups) * (len(x) // groups) * plane + oh * stride_h * row",
            "at = oh * stride_h * row",
        ),
        "sparse_pool_without_relu": ("best = splat(rows.dtype.type(0))", "best = load(rows, at + m)"),
        "sparse_pool_sees_the_first_row_twice": ("_row(x_flat, at + i * stride_h * row,", "_row(x_flat, at,"),
    },
    "compression/sparse/planner.py": {
        "gains_by_chance": ("if fastest > (1 - CLEARLY) * seconds", "if fastest > seconds"),
        "the_whole_model_is_not_asked": ('whole["planned"] <= (1 - TIE) * whole["dense"]', "whole"),
    },
    "compression/sparse/ops.py": {
        "sparse_bias_gradient_missing": ("dense_kernels.sum_rows(innermost(g), grad_b)", "grad_b[:] = 0"),
        "sparse_gradients_sampled_transposed": (
            "sampled(innermost(g), self.x)",
            "sampled(innermost(g), self.x[:, ::-1].copy())",
        ),
        "block_values_taken_for_csr": (
            "own = self.values if matrix.in_order else self.values[order]",
            "own = self.values",
        ),
    },
    "compression/sparse/layers.py": {
        "values_of_another_structure": ("if int(self.pattern.data[0]) != self._checksum:", "if False:"),
        "structure_told_by_its_size": ("total = zlib.crc32(getattr(matrix, part).tobytes(), total)", "pass"),
    },
    "compression/checksum.py": {
        "checksum_not_compared": ("if digest(arrays, metadata) != expected:", "if False:"),
        "checksum_without_values": ("total.update(array.tobytes())", "pass"),
        "checksum_without_metadata": (
            "hashlib.sha256(to_json(json.loads(to_json(metadata))).encode())",
            "hashlib.sha256()",
        ),
        "header_without_its_length": ("return 8 + int.from_bytes", "return int.from_bytes"),
    },
    "compression/sparse/files.py": {
        "sparse_file_of_another_dtype": ("if matrix.data.dtype != weight.dtype:", "if False:"),
    },
    "compression/sweep.py": {
        "stored_runs_done_again": ("if (run := stored(job)) is not None:  # by", "if run := None:  # by"),
        "failures_not_tried_again": ("again = tries[job.name] <= retries", "again = False"),
        "results_from_elsewhere_lost": ("if stored(job) is None:  # it ran", "if False:  # it ran"),
        "suspects_go_on_together": ("ready = suspects[:1]\n", "ready = suspects[:at_once]\n"),
        "begun_before_what_it_needs": ("if job.needs not in unfinished", "if job"),
        "the_dead_ones_forgotten": ("suspects.append(job)", "unfinished.remove(job.name)"),
        "believed_without_its_files": ("if same and all(file.exists() for file in job.files)", "if same"),
        "files_unknown_to_an_experiment": ("data, leaves=self.leaves)", "data)"),
        "first_look_at_full_settings": ("self.quick if quick else self.settings", "self.settings"),
        "results_of_all_parts": ('for run in self.runs if run["part"] == part]', "for run in self.runs]"),
    },
    "compression/demo.py": {
        "rate_that_does_not_fall": ("if cosine else None", "if False else None"),
    },
    "compression/executors.py": {
        "dead_workers_not_replaced": (
            "            self._pool = self._new()\n            return",
            "            return",
        ),
        "workers_share_no_cores": ("MOST_THREADS // workers", "MOST_THREADS"),
    },
    "compression/search/candidates.py": {
        "lucky_accuracy_taken_for_sure": (
            "best is not None and best.sure >= wishes.accuracy",
            "best is not None and best.accuracy >= wishes.accuracy",
        ),
        "chosen_beyond_the_budget": ("return self.bytes <= wishes.budget and (", "return ("),
        "sure_is_two_sided": ("self.images, 2 * CONFIDENCE - 1)", "self.images, CONFIDENCE)"),
        "frontier_blind_to_time": ("-self.accuracy, self.milliseconds or 0.0)", "-self.accuracy)"),
    },
    "compression/search/search.py": {
        "centroids_kept_though_worse": ("return max((shared, trained), key=", "return max((trained,), key="),
        "search_regrows_zeros": ("epochs, taught, pruner.apply_)", "epochs, taught)"),
        "measured_before_it_was_stored": ("count_correct(load_mgz(file),", "count_correct(model,"),
        "route_of_the_untaught_taught": ("        if taught:", "        if True:"),
        "last_layer_narrowed": ("list(weighted.items())[:-1]", "list(weighted.items())[:-2]"),
        "hopeless_routes_followed": ("< accuracy - plan.give_up:", "< -plan.give_up:"),
    },
    "compression/search/store.py": {
        "another_search_taken_for_this": ("if other.get(key) != own[key]:", "if False:"),
        "record_of_another_file": (" and found.bytes == file.stat().st_size:", ":"),
    },
    "compression/search/latency.py": {
        "slower_form_noted": ("name: min(FORMS, key=", "name: max(FORMS, key="),
    },
    "compression/compress_job.py": {
        "file_of_other_wishes_left": ('(out / "compress.mgz").unlink(missing_ok=True)', "pass"),
        "test_images_not_believed": ('if accuracy["chosen"] >= wishes.accuracy:', "if True:"),
    },
}
