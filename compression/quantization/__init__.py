"""Numbers with few bits: formats, ranges, training for them, and what they cost."""

from .analysis import (
    SOURCES,
    Flip,
    NoiseRow,
    along_line,
    divergence,
    explain_flip,
    loss_by_source,
    mean_loss,
    sensitivity_by_layer,
    shapley,
    signal_to_noise,
    sqnr,
    with_noise,
)
from .calibration import Stage, calibrate, observe, stage_outputs, stages
from .codes import Codebook, Signs, article_rounding, binarize, kmeans_codebook, ternarize
from .equalization import correct_biases, equalize, expected_inputs
from .floats import BFLOAT16, FLOAT16, FloatFormat
from .formats import (
    QuantParams,
    activation_params,
    dequantize,
    fit_weight_params,
    power_of_two,
    quantize,
    weight_params,
)
from .levels import CHANGES, NEEDS, FloatWrapper, QuantizedModel, change_architecture, levels_table, quantize_model
from .mixed import BitChoice, bit_costs, choose_bits
from .observers import (
    OBSERVERS,
    EntropyObserver,
    MinMaxObserver,
    MovingAverageObserver,
    MSEObserver,
    Observer,
    PercentileObserver,
    make_observer,
)
from .packing import pack, packed_bytes, stored_bytes, unpack
from .ptq import input_means, reestimate_batch_norm, round_weights, sign_params, weight_layers
from .qat import as_float_chain, convert, freeze_ranges_, prepare_qat, round_activations_, train_qat
from .qat_layer import QATSettings, QuantizedLayer
from .simulation import Round, RoundedMean, simulate

__all__ = [
    "BFLOAT16", "CHANGES", "FLOAT16", "NEEDS", "OBSERVERS", "SOURCES", "BitChoice", "Codebook", "EntropyObserver",
    "Flip", "FloatFormat", "FloatWrapper", "MSEObserver", "MinMaxObserver", "MovingAverageObserver", "NoiseRow",
    "Observer", "PercentileObserver", "QATSettings", "QuantParams", "QuantizedLayer", "QuantizedModel", "Round",
    "RoundedMean",
    "Signs", "Stage", "activation_params", "along_line", "article_rounding", "as_float_chain", "binarize",
    "bit_costs", "calibrate", "change_architecture", "choose_bits", "convert", "correct_biases", "dequantize",
    "divergence",
    "equalize", "expected_inputs", "explain_flip", "fit_weight_params", "freeze_ranges_", "input_means",
    "kmeans_codebook", "levels_table", "loss_by_source", "make_observer", "mean_loss", "observe", "pack",
    "packed_bytes", "power_of_two", "prepare_qat", "quantize", "quantize_model", "reestimate_batch_norm",
    "round_activations_", "round_weights", "sensitivity_by_layer", "shapley", "sign_params", "signal_to_noise",
    "simulate", "sqnr", "stage_outputs", "stages", "stored_bytes", "ternarize", "train_qat", "unpack", "weight_layers",
    "weight_params", "with_noise",
]  # fmt: skip
