"""Errors about files and runs: each message names the file or the op, and what was expected."""


class DatasetError(ValueError):
    """A data file is missing, damaged, or not what it should be."""


class CheckpointError(ValueError):
    """A checkpoint is damaged, foreign, or belongs to another architecture."""


class NonFiniteLossError(ArithmeticError):
    """Training met a loss that is NaN or infinite."""


class AnomalyError(ArithmeticError):
    """An op computed NaN or infinity inside `detect_anomaly()`."""


class ParallelError(ValueError):
    """Processes that train together disagree, or cannot be started."""
