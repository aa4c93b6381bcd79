import json
import re
from dataclasses import replace

import numpy as np
import pytest

from minigrad import nn, no_grad
from minigrad.compression.distillation import soft_targets
from minigrad.compression.export import to_html
from minigrad.compression.export.html import float_chain, integer_chain
from minigrad.compression.integer import PROFILES, IntegerLayer, IntegerModel, to_integer
from minigrad.compression.integer.arithmetic import INT32_MAX, requantize
from minigrad.compression.integer.reference import rounded_mean
from minigrad.compression.integer.reference import run as run_reference
from minigrad.compression.models import CaffeLeNet, LeNet, LeNet300100, trained_lenet
from minigrad.compression.pruning import ARTICLE_SPARSITY, SparsePruner, model_sparsity
from minigrad.compression.sparse import weight_bytes
from minigrad.datasets import MEAN, STD, mnist, normalize
from tests.compression.export.node_programs import encoded, evaluate, needs_node, run_models, script
from tests.compression.export.random_integer import Builder, random_lenet, random_model, random_pixels

IMAGES = 50


def builder(shape, profile="tflite"):
    return Builder(np.random.default_rng(7), shape, profile)


def integer_cases():
    """Models by name: what random ones may miss, and random ones in each profile."""
    b = builder((4, 9, 8))
    b.conv(6, (3, 2), stride=(2, 1), padding=(2, 1), groups=2, dilation=(1, 2), pad_value=-3, act="none")
    yield "everything", b.conv(6, (2, 2), groups=6, padding=(1, 0), act="relu6").flatten().linear(5, "none").model()
    yield "averages_out", builder((2, 7, 9)).conv(3, (2, 2), act="none").avg_pool((3, 4), (2, 1), low=-9).model()
    pooled = builder((2, 6, 6)).conv(3, (2, 2), act="none").max_pool((3, 3), (1, 2), padding=(1, 1))
    pooled.layers[-1] = replace(pooled.layers[-1], low=-20, high=30)
    yield "clamped", pooled.flatten().linear(4, "none").model()
    steep = builder((1, 4, 4)).flatten().linear(3, "none").model()  # multipliers above 1, and one that is 0
    flat, linear = steep.layers
    numbers = {"multiplier": np.int32([2**30, 0, INT32_MAX]), "shift": np.int32([2, 0, 1])}
    linear = replace(linear, weight=np.eye(3, 16, 5, np.int8) - np.eye(3, 16, dtype=np.int8), **numbers)
    yield "steep", IntegerModel(steep.input, (flat, replace(linear, bias=np.int32([40, 5, 0]))))
    for profile in PROFILES:
        yield f"lenet_{profile}", random_lenet(np.random.default_rng(1), profile=profile)
        for seed in range(6):
            yield f"random_{profile}_{seed}", random_model(np.random.default_rng(seed), profile)


CASES = dict(integer_cases())


class AllLayers(nn.Module):
    """What LeNets lack: strides, groups, dilation, borders, batch normalisation, means, ReLU6, no bias."""

    def __init__(self):
        self.conv1 = nn.Conv2d(1, 4, (3, 5), stride=(2, 1), padding=(1, 2), bias=False)
        self.norm, self.relu6, self.mean = nn.BatchNorm2d(4), nn.ReLU6(), nn.AvgPool2d(3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(4, 6, 3, padding=2, groups=2, dilation=2)
        self.max, self.relu, self.fc = nn.MaxPool2d(3, stride=1, padding=1), nn.ReLU(), nn.Linear(588, 10, bias=False)

    def forward(self, x):
        x = self.mean(self.relu6(self.norm(self.conv1(x))))
        return self.fc(self.relu(nn.Flatten()(self.max(self.conv2(x)))))


@pytest.fixture(scope="module")
def lenet():
    return trained_lenet()


@pytest.fixture(scope="module")
def integer(lenet):
    return to_integer(lenet, mnist("train").pixels[:100])


@pytest.fixture(scope="module")
def pruned(lenet):
    return SparsePruner(lenet, ARTICLE_SPARSITY).prune(lenet)


@pytest.fixture(scope="module")
def page(integer, lenet, pruned):
    test = mnist("test")
    return to_html(integer, lenet, pruned, samples=test.pixels[:3], labels=test.labels[:3], about="About </script>.")


@pytest.fixture(scope="module")
def data(page):
    return json.loads(script(page, "data"))


@pytest.fixture(scope="module")
def pixels():
    """Images of each case, by its name."""
    return {name: random_pixels(np.random.default_rng(3), model, IMAGES) for name, model in CASES.items()}


@pytest.fixture(scope="module")
def outputs(pixels):
    """What node computes for each case: outputs of all layers."""
    pairs = [(integer_chain(model), pixels[name]) for name, model in CASES.items()]
    return dict(zip(CASES, run_models(pairs), strict=True))


@needs_node
@pytest.mark.parametrize("name", CASES)
def test_integer_models_give_the_same_logits_in_javascript(name, outputs, pixels):
    np.testing.assert_array_equal(
        outputs[name][-1], CASES[name].logits(pixels[name]).reshape(IMAGES, -1), err_msg=repr(CASES[name])
    )


@needs_node
@pytest.mark.parametrize("name", ["everything", "clamped", "random_tflite_2", "random_single_3"])
def test_each_layer_of_an_integer_model_is_that_of_the_reference(name, outputs, pixels):
    steps = run_reference(CASES[name], pixels[name][0])
    assert len(steps) == len(outputs[name])
    for step, found in zip(steps, outputs[name], strict=True):
        np.testing.assert_array_equal(found[0], np.ravel(step.out), err_msg=step.layer.name)


@needs_node
def test_the_page_itself_computes_lenets_logits(page, data, integer, lenet, pruned):
    pixels = mnist("test").pixels[:IMAGES]
    pairs = [(data["models"][name], pixels) for name in ("int8", "float", "pruned")]
    found = [layers[-1] for layers in run_models(pairs, network=script(page, "network"))]
    np.testing.assert_array_equal(found[0], integer.logits(pixels))
    for logits, model in zip(found[1:], (lenet, pruned), strict=True):
        with no_grad():
            np.testing.assert_allclose(logits, model(normalize(pixels)[:, None]).data, atol=1e-4)


def near_ties(rng, bits):
    """Sums and multipliers whose product is just below half of 2**bits, modulo 2**bits: less than 53 bits would round it up."""
    for _ in range(20_000):
        multiplier = int(rng.integers(2**30, 2**31)) | 1
        total = (2 ** (bits - 1) - 1) * pow(multiplier, -1, 2**bits) % 2**bits
        for sum_ in (total, total - 2**bits):
            if abs(sum_) <= INT32_MAX:
                yield sum_, multiplier


def rounding_cases(profile):
    """Rows (sum, multiplier, shift, limit): beyond the limit any large number will do."""
    rng = np.random.default_rng(5)
    for shift in range(-31, 31):
        most = INT32_MAX >> max(shift, 0)
        sums = [0, 1, -1, most, -most, *map(int, rng.integers(-most, most + 1, 20)), *range(-6, 7)]
        # Where M * sum has half an integer, ties show: a multiplier that is a power of two makes such sums.
        sums += [s for k in (-3, -1, 1, 5) if abs(s := k * 2 ** max(-shift, 0)) <= most]
        for multiplier in (2**30, INT32_MAX, 1518500250, int(rng.integers(2**30, 2**31))):
            q, places = (multiplier >> 7, shift - 24) if profile == "onnx" else (multiplier, shift)
            limit = 1000 if profile == "onnx" or shift > 14 else 2**62
            yield from ((s, q, places, limit) for s in sums)
    if profile == "onnx":
        for multiplier in map(int, rng.integers(2**23, 2**24, 60)):
            # 101.5 * 2**40: a product just below it is rounded to it in 24 bits, and then to 102, not 101.
            tie = 203 << 39
            yield from ((t // multiplier, multiplier, -40, 1000) for t in (tie, -tie))
    else:
        bits = 31 if profile == "tflite" else 40
        for (sum_, multiplier), _ in zip(near_ties(rng, bits), range(40), strict=False):
            yield sum_, multiplier, 31 - bits, 2**62


@needs_node
@pytest.mark.parametrize("profile", PROFILES)
def test_sums_are_rounded_as_in_python(profile):
    rows = list(rounding_cases(profile))
    found = evaluate(f"input.map(([a, b, c, limit]) => clamp(RESCALE.{profile}(a, b, c), -limit, limit))", rows)
    expected = [min(max(requantize(*row[:3], PROFILES.index(profile)), -row[3]), row[3]) for row in rows]
    assert len({e for e in expected if abs(e) < 1000}) > 100
    assert [row for row, f, e in zip(rows, found, expected, strict=True) if f != e] == []


@needs_node
def test_means_are_rounded_half_away_from_zero():
    layer = {"kernel": [1, 4], "stride": [1, 4], "padding": [0, 0], "shape": [1, 1, 5]}
    x = [-128, -128, -128, -128, -3, -3, -2, -2, 1, 0, 0, 1, 3, 2, 2, 3, 127, 127, 127, 126]
    program = """(() => {
        const y = new Int8Array(5);
        LAYERS.avg_pool(input[0], Int8Array.from(input[1]), [1, 1, 20], y);
        return [...y];
    })()"""
    expected = [rounded_mean(sum(x[i : i + 4]), 4) for i in range(0, 20, 4)]
    assert evaluate(program, [layer, x]) == expected == [-128, -3, 1, 3, 127]


@needs_node
def test_float_models_give_the_same_logits_up_to_rounding():
    pixels, models = mnist("test").pixels[:4], [LeNet(), LeNet300100(), CaffeLeNet(), AllLayers().eval()]
    norm = models[-1].norm
    norm.running_mean.data[:], norm.running_var.data[:] = [0.1, -0.2, 0.3, 0], [0.5, 2, 1, 0.1]
    found = run_models([(float_chain(model, MEAN, STD), pixels) for model in models])
    for model, layers in zip(models, found, strict=True):
        with no_grad():
            expected = model(normalize(pixels)[:, None]).data
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(layers[-1], expected, atol=1e-4, err_msg=type(model).__name__)


@needs_node
def test_soft_targets_are_those_of_distillation():
    for logits in ([3.5, -1.0, 0.25, 2.0], [3.5, -1.0, 0.25, 900.0]):
        found = evaluate("[0.5, 1, 20].map((T) => softTargets(input, T))", logits)
        expected = [soft_targets(np.array([logits]), temperature)[0] for temperature in (0.5, 1, 20)]
        np.testing.assert_allclose(found, expected, atol=1e-7)


def framed(*drawings):
    """Bring drawings, uint8 (S, S), into MNIST's form."""
    given = [{"ink": encoded(drawing), "side": len(drawing)} for drawing in drawings]
    found = evaluate("input.map(({ink, side}) => Array.from(frame(decode(ink), side)))", given)
    return np.array(found).reshape(-1, 28, 28)


@needs_node
def test_a_drawing_is_scaled_into_20_by_20_and_its_centre_of_mass_put_in_the_middle():
    box = np.zeros((280, 280), np.uint8)
    box[100:240, 50:120] = 255  # 140 × 70: 7 pixels become one
    moved = np.roll(box, (30, 100), (0, 1))
    heavy = box.copy()
    heavy[100:240, 120:190] = 80  # right and lower half weigh less
    heavy[170:240] //= 2
    found, again, uneven, nothing = framed(box, moved, heavy, np.zeros((280, 280), np.uint8))
    expected = np.zeros((28, 28), np.uint8)
    expected[4:24, 9:19] = 255
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(again, expected)
    assert not nothing.any()
    rows, columns = np.nonzero(uneven)
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (20, 20)
    center = [np.average(axis, weights=uneven[rows, columns]) for axis in (rows, columns)]
    assert np.abs(np.array(center) - 13.5).max() <= 0.5
    assert min(rows.min(), columns.min()) > 4  # the heavier part is nearer to the middle than in the middle of the box


@needs_node
def test_dots_faint_lines_and_parts_of_pixels_are_framed_too():
    dot, line = np.zeros((280, 280), np.uint8), np.zeros((280, 280), np.uint8)
    dot[3, 277] = 255
    line[40:240, 130:140] = 60
    stripes = np.zeros((280, 280), np.uint8)
    stripes[60:90, 60:90] = np.tile([100, 255, 100], 10)[:, None]  # 1.5 pixels become one
    large, thin, mixed = framed(dot, line, stripes)
    np.testing.assert_array_equal(mixed[4:24, 4:24], np.full((20, 20), round((100 + 255 / 2) / 1.5)))
    np.testing.assert_array_equal(large[4:24, 4:24], np.full((20, 20), 255))
    np.testing.assert_array_equal(thin[4:24, 13:15].sum(1), np.full(20, 255))
    assert thin.sum() == 20 * 255


def test_the_page_is_one_file_that_loads_nothing(page):
    assert page.startswith("<!DOCTYPE html>")
    assert not re.search(r"%%|https?:|//[a-z]+\.|\bsrc=|@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket", page)
    assert set(re.findall(r'href="([^"]*)"', page)) == {"#results"}
    assert "content=\"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'\"" in page
    assert page.count("</script>") == page.count("<script") == 3
    assert "BigInt" not in page


def test_each_label_and_description_names_an_element_that_is_there(page):
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    named = re.findall(r'(?:\bfor|aria-labelledby|aria-describedby)="([^"]*)"', page)
    named += re.findall(r'byId\("([^"]*)"\)', page)
    assert set(named) <= set(ids)
    assert len(named) > 20


def test_the_page_says_what_each_model_takes(data, integer, lenet, pruned):
    sizes = data["sizes"]
    assert sizes["float"]["bytes"] == 4 * 44_426
    biases = 44_426 - 44_190
    assert sizes["pruned"]["bytes"] == weight_bytes(pruned)["bitmask"] + 4 * biases
    assert sizes["pruned"]["nonzeros"] == round(44_426 * (1 - model_sparsity(pruned))) - biases
    kept = sum(np.count_nonzero(getattr(layer, "weight", 0)) for layer in integer.layers)
    assert (sizes["int8"]["nonzeros"], kept < 44_190) == (kept, True)
    assert sizes["int8"]["bytes"] == sum(row.total for row in integer.layer_bytes())
    assert [sizes[name]["weights"] for name in sizes] == [44_190] * 3
    assert (data["about"], [s["label"] for s in data["samples"]]) == ("About </script>.", [7, 2, 1])


def test_what_the_page_cannot_run_is_refused(integer, lenet):
    with pytest.raises(TypeError, match=r"to_html: integer_model is a LeNet, expected an IntegerModel"):
        to_html(lenet, lenet, lenet)
    with pytest.raises(ValueError, match=r"integer_model takes images \(4, 9, 8\), but the page draws \(1, 28, 28\)"):
        to_html(CASES["everything"], lenet, lenet)

    class Strange(IntegerLayer):
        name = "strange"

        def output_shape(self, shape):
            return shape

    strange = IntegerModel(integer.input, (*integer.layers, Strange()))
    with pytest.raises(TypeError, match=r"to_html: strange is a Strange, which the page cannot run"):
        to_html(strange, lenet, lenet)
    other = IntegerModel(
        replace(integer.input, zero_point=0), (replace(integer.layers[0], input_zero=0), *integer.layers[1:])
    )
    with pytest.raises(ValueError, match=r"pixels have zero point 0, expected -128, as int8 has them"):
        to_html(other, lenet, lenet)
    with pytest.raises(ValueError, match=r"logits of the same classes, one vector each; they give .*'pruned': \(7,\)"):
        to_html(integer, lenet, LeNet(num_classes=7))
    with pytest.raises(ValueError, match=r"to_html: 0, a ReLU, comes before any other layer"):
        to_html(integer, nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(784, 10)), lenet)
    with pytest.raises(ValueError, match=r"as_sequential: sigmoid is not supported"):
        to_html(integer, nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Sigmoid()), lenet)


@pytest.mark.parametrize(
    ("samples", "labels"),
    [
        (np.zeros((2, 28, 28)), [1, 2]),
        (np.zeros((2, 28, 27), np.uint8), [1, 2]),
        (np.zeros((2, 28, 28), np.uint8), None),
    ],
)
def test_samples_that_are_no_labelled_digits_are_refused(samples, labels, integer, lenet):
    with pytest.raises(ValueError, match=r"to_html: samples must be uint8 \(N, 28, 28\) with a label each \(samples: "):
        to_html(integer, lenet, lenet, samples=samples, labels=labels)
