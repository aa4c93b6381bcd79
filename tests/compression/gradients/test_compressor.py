"""What a worker remembers: error feedback that telescopes, momentum correction, and runs that resume byte for byte."""

import numpy as np
import pytest

from minigrad.checkpoint import read_checkpoint, write_checkpoint
from minigrad.compression.gradients import METHODS, Compressor, Sign, TopK, Uncompressed, compressor
from tests.sentences import raises

FED_BACK = {"sign": {"bucket": 7}, "topk": {"ratio": 0.2}}


def gradients(steps, size, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, size)).astype(np.float32)


def run(worker, sequence, first=0):
    """Compress a sequence of gradients; return the messages and the sum of what they say, float64."""
    messages = [worker.compress("w", g, step) for step, g in enumerate(sequence, first)]
    sent = [worker.decompress("w", [message], sequence[0].shape).astype(np.float64) for message in messages]
    return messages, sum(sent)


@pytest.mark.parametrize("method", FED_BACK)
def test_error_feedback_telescopes_exactly_on_dyadic_gradients(method):
    """Sixteenths, and scales of 24 bits: every sum fits into float64, so nothing at all is lost."""
    worker, sequence = compressor(method, **FED_BACK[method]), np.round(gradients(300, 40) * 16) / 16
    _, sent = run(worker, sequence.astype(np.float32))
    np.testing.assert_array_equal(sent + worker.residuals["w"], sequence.sum(axis=0, dtype=np.float64))
    assert np.abs(worker.residuals["w"]).max() > 0


@pytest.mark.parametrize("method", FED_BACK)
def test_error_feedback_telescopes_to_1e_12(method):
    worker, sequence = compressor(method, **FED_BACK[method]), gradients(300, 40)
    _, sent = run(worker, sequence)
    error = sent + worker.residuals["w"] - sequence.sum(axis=0, dtype=np.float64)
    assert np.abs(error).max() < 1e-12
    assert worker.residuals["w"].dtype == np.float64


@pytest.mark.parametrize("method", FED_BACK)
def test_what_is_sent_follows_the_gradients_only_with_error_feedback(method):
    """Residuals stay bounded, so the mean of 400 messages is near the gradient; without them it is the first message."""
    gradient = np.float32([1, 0.25, -0.5, 0.01, 0, 2, -0.125])
    worker, forgetful = (compressor(method, error_feedback=on, **FED_BACK[method]) for on in (True, False))
    sequence = np.tile(gradient, (400, 1))
    assert np.abs(run(worker, sequence)[1] / 400 - gradient).max() < 0.05
    assert np.abs(run(forgetful, sequence)[1] / 400 - gradient).max() > 0.2
    assert not forgetful.residuals


def test_codecs_that_are_right_on_average_remember_nothing():
    for name in ("none", "float16", "int8", "qsgd", "terngrad"):
        worker = compressor(name)
        run(worker, gradients(2, 9))
        assert not worker.residuals
        assert not worker.owns_momentum
    worker = compressor("int8", error_feedback=True)  # but they may
    _, sent = run(worker, sequence := gradients(50, 9))
    assert np.abs(sent + worker.residuals["w"] - sequence.sum(axis=0, dtype=np.float64)).max() < 1e-12


def dgc_by_the_paper(sequence, count, momentum):
    """Algorithm 4 for one tensor and one worker, place by place."""
    size = sequence.shape[1]
    u, v, sent = [0.0] * size, [0.0] * size, []
    for g in sequence.tolist():
        for i in range(size):
            u[i] = momentum * u[i] + g[i]
            v[i] += u[i]
        chosen = sorted(range(size), key=lambda i: -abs(v[i]))[:count]
        sent.append([v[i] if i in chosen else 0.0 for i in range(size)])
        for i in chosen:
            u[i] = v[i] = 0.0
    return np.array(sent), u, v


def test_momentum_correction_and_factor_masking_are_the_papers():
    sequence = gradients(60, 20)
    worker = compressor("topk", ratio=0.1, momentum=0.9)
    assert worker.owns_momentum
    expected, u, v = dgc_by_the_paper(sequence, 2, 0.9)
    for step, g in enumerate(sequence):
        found = worker.decompress("w", [worker.compress("w", g, step)], (20,))
        np.testing.assert_allclose(found, expected[step], rtol=1e-6)
    np.testing.assert_allclose(worker.velocities["w"], u, atol=1e-5)
    np.testing.assert_allclose(worker.residuals["w"], v, atol=1e-5)
    assert (worker.velocities["w"] == 0).sum() >= 2


def test_a_rare_coordinate_arrives_with_the_momentum_it_would_have_had():
    """A gradient of 1 that is sent after three steps: 1 + (1 + m) + (1 + m + m²), what SGD would have moved by now."""
    worker, m = compressor("topk", ratio=0.5, momentum=0.5), 0.5
    for step, other in enumerate((9, 9, 0)):
        found = worker.decompress("w", [worker.compress("w", np.float32([1, other]), step)], (2,))
    assert found.tolist() == [1 + (1 + m) + (1 + m + m * m), 0]


def test_gradients_are_clipped_before_they_pile_up():
    worker = compressor("topk", ratio=1, clip_norm=2.5)
    gradient = np.float32([3, -4])
    found = worker.decompress("w", [worker.compress("w", gradient, 0)], (2,))
    np.testing.assert_allclose(found, [1.5, -2])
    assert gradient.tolist() == [3, -4]
    assert worker.decompress("w", [worker.compress("w", np.float32([1, 2]), 1)], (2,)).tolist() == [1, 2]
    assert worker.decompress("w", [worker.compress("w", np.float32([0, 0]), 2)], (2,)).tolist() == [0, 0]


def test_warm_up_follows_the_step_and_not_the_number_of_calls():
    worker, g = compressor("topk", ratio=0.001, warmup=100), gradients(1, 256)[0]
    assert [np.count_nonzero(worker.decompress("w", [worker.compress("w", g, step)], (256,))) for step in (0, 26, 99, 100)] \
        == [64, 16, 1, 1]  # fmt: skip


@pytest.mark.parametrize("change", [{"seed": 1}, {"rank": 1}, {"step": 1}, {"name": "b"}])
def test_draws_depend_on_seed_rank_step_and_name(change):
    def message(seed=0, rank=0, step=0, name="a"):
        return compressor("qsgd", seed=seed, rank=rank).compress(name, gradients(1, 100)[0], step)

    assert message() == message()
    assert message(**change) != message()


def test_a_gradient_is_read_row_by_row_and_left_alone():
    g = gradients(6, 5).T  # columns lie together
    before = g.copy()
    a, b = compressor("sign"), compressor("sign")
    assert a.compress("w", g, 0) == b.compress("w", np.ascontiguousarray(g), 0)
    np.testing.assert_array_equal(g, before)
    found = a.decompress("w", [a.compress("w", g, 1)], g.shape)
    assert found.shape == (5, 6)


def test_bytes_are_counted_as_sent():
    for name in METHODS:
        worker = compressor(name)
        messages, _ = run(worker, gradients(3, 50))
        assert worker.bytes_sent == sum(map(len, messages)) > 0


def test_the_mean_of_the_workers_in_the_order_given():
    team = [compressor("none", rank=rank) for rank in range(3)]
    parts = np.float32([[1e8, 1], [-1e8, 2], [1, 4]])
    messages = [worker.compress("w", part, 0) for worker, part in zip(team, parts, strict=True)]
    for worker in team:
        found = worker.decompress("w", messages, (2, 1))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, ((parts[0] + parts[1] + parts[2]) / np.float32(3))[:, None])
    assert team[0].decompress("w", messages[1:] + messages[:1], (2,))[0] == 0  # 1 is lost beside 1e8
    assert messages[0] == parts[0].tobytes()


def test_float64_is_sent_as_it_is_by_none_only():
    g = np.random.default_rng(0).normal(size=(3, 2))
    worker = compressor("none")
    found = worker.decompress("w", [worker.compress("w", g, 0)] * 2, (3, 2))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, g)
    with raises(TypeError, "sign: the gradient is float64, expected float32"):
        compressor("sign").compress("w", g, 0)


def test_tensors_of_no_axes_and_of_no_elements():
    for name in METHODS:
        worker = compressor(name)
        number = worker.decompress("w", [worker.compress("w", np.array(2, np.float32), 0)], ())
        assert (number.shape, float(number)) == ((), pytest.approx(2))
        assert worker.decompress("e", [worker.compress("e", np.empty((0, 3), np.float32), 0)], (0, 3)).shape == (0, 3)


@pytest.mark.parametrize("method", [*METHODS, "topk with momentum"])
def test_a_resumed_run_sends_the_same_bytes(method, tmp_path):
    def fresh():
        if method in METHODS:
            return compressor(method, seed=3, rank=1)
        return compressor("topk", seed=3, rank=1, ratio=0.1, warmup=8, momentum=0.9)

    sequence, straight, stopped = gradients(10, 30), fresh(), fresh()
    messages, _ = run(straight, sequence)
    run(stopped, sequence[:6])
    write_checkpoint(tmp_path / "file", stopped.state_dict(), {"settings": stopped.settings()})
    run(stopped, sequence)  # the file must not follow
    arrays, metadata = read_checkpoint(tmp_path / "file")
    resumed = fresh()
    resumed.load_state_dict(arrays)
    assert metadata["settings"] == resumed.settings()
    assert run(resumed, sequence[6:], first=6)[0] == messages[6:]
    assert resumed.bytes_sent == straight.bytes_sent
    a, b = resumed.state_dict(), straight.state_dict()
    assert {name: array.tobytes() for name, array in a.items()} == {name: array.tobytes() for name, array in b.items()}


def test_a_state_of_another_kind_is_refused_and_changes_nothing():
    def saved(*arguments, **options):
        worker = compressor(*arguments, **options)
        worker.compress("w", np.float32([1, 2, 3]), 0)
        return worker.state_dict()

    plain, fast = saved("topk"), saved("topk", momentum=0.5)
    sentence = ("load_state_dict: 1 residuals and {} velocities were saved by another kind of compressor than {} with "
                "momentum {}")  # fmt: skip
    for worker, state, words in (
        (compressor("int8"), plain, (0, "int8", 0.0)),
        (compressor("topk"), fast, (1, "topk", 0.0)),
        (compressor("topk", momentum=0.5), plain, (0, "topk", 0.5)),
    ):
        with raises(ValueError, sentence.format(*words)):
            worker.load_state_dict(state)
        assert not worker.residuals
        assert not worker.bytes_sent
    worker = compressor("topk")
    with raises(ValueError, "load_state_dict: 'residual.w', float32 (3,), is nothing that was saved"):
        worker.load_state_dict(plain | {"residual.w": np.zeros(3, np.float32)})
    with raises(ValueError, "load_state_dict: 'colour', float64 (3,), is nothing that was saved"):
        worker.load_state_dict(plain | {"colour": np.zeros(3)})
    with raises(ValueError, sentence.format(0, "topk", 0.0)):
        worker.load_state_dict({"residual.w": plain["residual.w"]})
    worker.load_state_dict(plain)
    plain["residual.w"][:] = 7
    worker.state_dict()["residual.w"][:] = 7
    assert 7 not in worker.residuals["w"]


def test_what_is_refused_changes_nothing():
    worker = compressor("topk", ratio=0.5, momentum=0.5)
    worker.compress("w", np.float32([1, 2]), 0)
    before = {name: array.tobytes() for name, array in worker.state_dict().items()}
    with raises(ValueError, "topk: the gradient holds NaN or infinity; a smaller learning rate is the usual cure"):
        worker.compress("w", np.float32([1, np.nan]), 1)
    with raises(ValueError, "compress: the gradient of w has 3 numbers, and what is left of the last one 2; every tensor "
                "needs a name of its own"):  # fmt: skip
        worker.compress("w", np.float32([1, 2, 3]), 1)
    worker.residuals["w"] *= 1e300  # more than float32 can say
    with raises(ValueError, "topk: the gradient holds NaN or infinity; a smaller learning rate is the usual cure"):
        worker.compress("w", np.float32([1, 2]), 1)
    worker.residuals["w"] /= 1e300
    assert {name: array.tobytes() for name, array in worker.state_dict().items()} == before


def test_damaged_messages_say_whose_they_are():
    worker = compressor("sign")
    message = worker.compress("fc1.weight", np.float32([1, 2]), 0)
    with raises(ValueError, "decompress: fc1.weight, message of worker 1: sign: a message of 2 numbers takes 5 bytes, got 4; "
                "was it cut, or made of another tensor?"):  # fmt: skip
        worker.decompress("fc1.weight", [message, message[:-1]], (2,))
    with raises(ValueError, "decompress: there are no messages for fc1.weight"):
        worker.decompress("fc1.weight", [], (2,))


def test_settings_that_make_no_sense_are_refused():
    with raises(
        ValueError, "compressor: there is no method 'zip'; there are none, float16, int8, sign, qsgd, terngrad, topk"
    ):
        compressor("zip")
    with raises(
        ValueError, "compressor: sign has no option 'levels'; it has bucket, momentum, clip_norm, error_feedback"
    ):
        compressor("sign", levels=4)
    with raises(ValueError, "Compressor: momentum correction is for what is left out and sent later, as topk does; with sign "
                "the optimizer keeps its momentum"):  # fmt: skip
        compressor("sign", momentum=0.5)
    with raises(ValueError, "Compressor: momentum correction is for what is left out and sent later, as topk does; with topk "
                "and no error feedback the optimizer keeps its momentum"):  # fmt: skip
        compressor("topk", momentum=0.5, error_feedback=False)
    with raises(ValueError, "Compressor: momentum is 1.0, expected 0 to below 1"):
        compressor("topk", momentum=1.0)
    with raises(ValueError, "Compressor: clip_norm is 0, expected a number above 0"):
        Compressor(TopK(), clip_norm=0)
    with raises(ValueError, "Compressor: seed is -1 and rank 0, expected 0 or more"):
        Compressor(Sign(), seed=-1)


def test_options_reach_the_codec_and_the_memory():
    worker = compressor("topk", seed=2, rank=1, ratio=0.01, warmup=5, momentum=0.9, clip_norm=1.0)
    assert worker.codec == TopK(ratio=0.01, warmup=5)
    assert worker.settings() == {"method": "topk", "ratio": 0.01, "warmup": 5, "seed": 2, "rank": 1, "momentum": 0.9,
                                 "clip_norm": 1.0, "error_feedback": True}  # fmt: skip
    assert Compressor(Uncompressed()).settings()["method"] == "none"
