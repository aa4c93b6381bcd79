"""Trained checkpoints, shipped with the package (this folder is installed as `minigrad.checkpoints`)."""
