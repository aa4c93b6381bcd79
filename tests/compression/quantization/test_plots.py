import numpy as np

from minigrad.compression.quantization import OBSERVERS, make_observer
from minigrad.compression.quantization.plots import plot_observers


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
