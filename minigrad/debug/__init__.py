"""Looking inside: draw a graph, step through backward, profile, find the first NaN, summarise a model."""

from minigrad.debug.anomaly import detect_anomaly
from minigrad.debug.draw import Drawing, draw
from minigrad.debug.profiler import Peak, Profile, machine_peak, profile
from minigrad.debug.stepping import Step, step_backward
from minigrad.debug.summary import Layer, Summary, summary

__all__ = [
    "Drawing",
    "Layer",
    "Peak",
    "Profile",
    "Step",
    "Summary",
    "detect_anomaly",
    "draw",
    "machine_peak",
    "profile",
    "step_backward",
    "summary",
]
