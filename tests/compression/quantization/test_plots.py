import numpy as np

from minigrad.compression.quantization import OBSERVERS, NoiseRow, make_observer
from minigrad.compression.quantization.plots import plot_line, plot_noise, plot_observers


def test_each_observers_range_is_drawn_where_it_is_and_named(rng):
    x = np.maximum(rng.normal(size=2000), 0)
    figure = plot_observers([x[:1000], x[1000:]], bits=[8, 3], title="output of a layer")
    for ax, bits in zip(figure.axes, (8, 3), strict=True):
        assert ax.get_title() == f"{bits} bits"
        labels = [text.get_text() for text in ax.get_legend().get_texts()]
        for name, line, label in zip(OBSERVERS, ax.lines, labels, strict=True):
            observer = make_observer(name, bits)
            observer.observe(x[:1000])
            observer.observe(x[1000:])
            low, high = observer.range()
            assert line.get_xdata()[0] == high
            assert label.startswith(f"{name}: {low:.2f} to {high:.2f}, rms error 0.")
    assert figure.axes[-1].get_xlabel().startswith("output of a layer; the 5")


def test_a_range_on_both_sides_of_zero_has_two_ends(rng):
    x = rng.normal(size=1000)
    (ax,) = plot_observers([x], bits=[8]).axes
    ends = sorted(line.get_xdata()[0] for line in ax.lines)
    assert len(ends) == 2 * len(OBSERVERS)
    np.testing.assert_allclose([ends[0], ends[-1]], [x.min(), x.max()])
    assert ax.get_xlabel() == "activation"


def test_noise_is_drawn_where_it_is_by_tensor_and_by_source():
    rows = [NoiseRow("conv1 weights", 8, 40.0, 48.16, 41.0), NoiseRow("conv1 activations", 4, 20.0, 24.08, 23.0)]
    sources = {"bias": {"alone": 0.1, "share": 0.2}, "weight rounding": {"alone": -0.1, "share": 0.4}}
    left, right = plot_noise(rows, sources).axes
    rule, expected, measured = (line.get_xdata().tolist() for line in left.lines)
    assert (rule, expected, measured) == ([48.16, 24.08], [41.0, 23.0], [40.0, 20.0])
    assert [text.get_text() for text in left.get_yticklabels()] == ["conv1 weights", "conv1 activations"]
    assert [bar.get_width() for bar in right.containers[0]] == [0.2, 0.4]
    assert [bar.get_width() for bar in right.containers[1]] == [0.1, -0.1]
    assert left.get_xlabel() == "signal over noise, dB"
    assert right.get_xlabel() == "increase of the cross-entropy (nats)"


def test_a_line_for_each_width_from_float_to_rounded():
    (ax,) = plot_line([0.0, 0.5, 1.0], {"8 bits": [98.0, 98.0, 97.9], "2 bits": [98.0, 90.0, 60.0]}).axes
    assert [line.get_label() for line in ax.lines] == ["8 bits", "2 bits"]
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [98.0, 90.0, 60.0])
    assert "λ" in ax.get_xlabel()
