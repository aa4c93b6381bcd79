"""Looking inside: draw a graph, step through backward, move a window, profile, find the first NaN, summarise a model."""

from minigrad.debug.anomaly import detect_anomaly
from minigrad.debug.draw import Drawing, draw
from minigrad.debug.profiler import Peak, Profile, machine_peak, profile
from minigrad.debug.stepper import Frame, backward_frames, draw_backward, explore_backward
from minigrad.debug.stepping import Step, step_backward
from minigrad.debug.summary import Layer, Summary, summary
from minigrad.debug.widgets import Choice, Picture, Slider, explore
from minigrad.debug.window import draw_window, explore_window

__all__ = [
    "Choice",
    "Drawing",
    "Frame",
    "Layer",
    "Peak",
    "Picture",
    "Profile",
    "Slider",
    "Step",
    "Summary",
    "backward_frames",
    "detect_anomaly",
    "draw",
    "draw_backward",
    "draw_window",
    "explore",
    "explore_backward",
    "explore_window",
    "machine_peak",
    "profile",
    "step_backward",
    "summary",
]
