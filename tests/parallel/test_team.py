"""Training on several processes is training on one, as exactly as sums of rounded numbers can be."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm import tqdm

import minigrad
from minigrad import DataLoader, NonFiniteLossError, Position, fit, nn, optim, train, training
from minigrad.checkpoint import read_checkpoint
from minigrad.errors import CheckpointError, ParallelError
from minigrad.nn import Parameter
from minigrad.parallel import AllReduce, ShardedLoader, Team, checksum, describe_code
from minigrad.random import generator
from tests.parallel.threads import errors_of, together

IMAGES, BATCH = 62, 12  # 60 and a last batch of 2, fewer than four processes


def data(dtype, count=IMAGES, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    patterns = rng.normal(size=(3, 1, 8, 8))
    return (patterns[labels] + rng.normal(size=(count, 1, 8, 8))).astype(dtype), labels


def network(dtype=np.float32, *extra):
    minigrad.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), *extra, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))
    for layer in model.modules():
        for name, p in vars(layer).items():
            if isinstance(p, Parameter):
                setattr(layer, name, Parameter(p.data.astype(dtype)))
    return model


def loader_for(comm, dtype=np.float32, **options):
    images, labels = data(dtype)
    options = {"batch_size": BATCH, "shuffle": True, "seed": 1, **options}
    if comm is None:
        return DataLoader(images, labels, **options)
    return ShardedLoader(comm.rank, comm.size, images, labels, **options)


def losses(comm, dtype, steps, bucket=1.0):
    """Train for so many steps or a few more; return each step's loss over the whole batch, and the parameters."""
    model, loader, position, found = network(dtype), loader_for(comm, dtype), Position(), []
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    team = comm and Team(comm, AllReduce(comm, bucket))

    def note(model):
        found.append((position.loss_sum, position.images))

    while len(found) < steps:
        train(model, loader, nn.CrossEntropyLoss(), optimizer, note, position, team)
        position = Position(position.epoch + 1)
    sums = np.array(found)[:steps]
    later = sums[:, 1] > BATCH  # than an epoch's first step: the sums go on over an epoch
    sums[1:] -= np.where(later[1:, None], sums[:-1], 0)
    return sums[:, 0] / sums[:, 1], {name: p.data for name, p in model.named_parameters()}


@pytest.mark.parametrize(("dtype", "steps", "tolerance"), [(np.float64, 200, 1e-9), (np.float32, 30, 1e-5)])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_losses_are_those_of_one_process(size, dtype, steps, tolerance):
    expected, parameters = losses(None, dtype, steps)
    assert expected[-10:].mean() < expected[:10].mean() / 2
    everyone = together(size, lambda comm: losses(comm, dtype, steps))
    for found, own in everyone:
        np.testing.assert_allclose(found, expected, rtol=0, atol=0 if size == 1 else tolerance)
        for name, array in own.items():
            assert array.dtype == dtype
            assert array.tobytes() == everyone[0][1][name].tobytes()
            if size == 1:
                assert array.tobytes() == parameters[name].tobytes()


PARTS = st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 9)), min_size=1, max_size=5)


@given(PARTS.filter(lambda parts: any(count for _, count in parts)))
def test_a_mean_loss_weighs_images(parts):
    class Comm:
        rank, size = 0, len(parts)

        def allgather(self, value):
            assert value == parts[0]
            return parts

    mean, count = Team(Comm(), AllReduce(None)).mean_loss(*parts[0])
    values, counts = np.array(parts).T
    assert count == counts.sum()
    assert mean == pytest.approx(np.average(values, weights=counts), abs=1e-12)


def test_a_part_without_images_counts_for_nothing():
    class Comm:
        rank, size = 0, 2

        def allgather(self, value):
            return [(float("nan"), 0), value]

    assert Team(Comm(), AllReduce(None)).mean_loss(0.3, 7) == (0.3, 7)


@settings(max_examples=10, deadline=None)
@given(counts=st.lists(st.integers(0, 5), min_size=2, max_size=4).filter(any), seed=st.integers(0, 99))
def test_gradients_are_averaged_over_images(counts, seed):
    """Each image's gradient counts once, however images are spread over processes; one that is frozen stays without."""
    each = np.random.default_rng(seed).normal(size=(sum(counts), 3))
    starts = np.cumsum([0, *counts])

    def average(comm):
        p, frozen = Parameter(np.zeros(3)), Parameter(np.zeros(2), requires_grad=False)
        own = each[starts[comm.rank] : starts[comm.rank + 1]]
        p.grad = own.mean(axis=0) if len(own) else None
        Team(comm).average_([frozen, p], len(own) / len(each), step=0)
        return p.grad, frozen.grad

    for gradient, none in together(len(counts), average):
        np.testing.assert_allclose(gradient, each.mean(axis=0), rtol=1e-12, atol=1e-14)
        assert none is None


class Echo(AllReduce):
    """Remembers the sum of all shares it was given, and adds a thousandth of it: an exchange with a state of its own."""

    def __init__(self, comm):
        super().__init__(comm)
        self.seen, self.steps = np.zeros(1), []

    def total(self, shares, step):
        self.steps.append(step)
        self.seen = self.seen + sum(float(share.sum()) for share in shares.values())
        own = {name: share + share.dtype.type(self.seen[0] / 1000) for name, share in shares.items()}
        return super().total(own, step)

    def state_dict(self):
        return {"seen": self.seen, **super().state_dict()}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.seen = state["seen"]


def run(comm, path, epochs=3, stop_at=None, exchange=Echo, **options):
    """Fit a network with dropout and batch norm; stop after so many steps as if killed."""
    model = network(np.float32, nn.BatchNorm2d(4), nn.Dropout(0.5))
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    team, steps = Team(comm, exchange(comm)), []

    def after_step(model):
        steps.append(team.from_first(lambda: 0))
        if len(steps) == stop_at:
            raise KeyboardInterrupt

    found = fit(
        model, loader_for(comm, batch_size=20), nn.CrossEntropyLoss(), optimizer, epochs, checkpoint=path, team=team,
        after_step=after_step, **{"every": 2, **options},
    )  # fmt: skip
    return model, found, team


def test_a_run_that_is_stopped_goes_on_with_the_same_bytes(tmp_path):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    everyone = together(3, lambda comm: run(comm, straight))
    models, found, teams = zip(*everyone, strict=True)
    assert found[0] == found[1] == found[2]
    assert teams[0].exchange.steps == list(range(12))
    for steps in (3, 5):
        with pytest.raises(KeyboardInterrupt):
            together(3, lambda comm, steps=steps: run(comm, stopped, stop_at=steps))
    again = together(3, lambda comm: run(comm, stopped))
    assert stopped.read_bytes() == straight.read_bytes()
    assert again[0][1] == found[0]
    assert again[2][2].exchange.steps == list(range(6, 12))
    for one, other in zip(everyone, again, strict=True):
        assert one[2].exchange.seen == other[2].exchange.seen != 0
        assert one[2].exchange.bytes_sent == other[2].exchange.bytes_sent
    assert len({team.exchange.seen[0] for team in teams}) == 3
    for model in models[1:]:  # batch norm's running means among them
        for name, array in model.state_dict().items():
            np.testing.assert_array_equal(array, models[0].state_dict()[name])


def test_one_file_holds_what_every_process_remembers(tmp_path):
    together(3, lambda comm: run(comm, tmp_path / "a", epochs=1))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    arrays, metadata = read_checkpoint(tmp_path / "a")
    assert {name for name in arrays if name.startswith("process")} == {f"process.{i}.exchange.seen" for i in range(3)}
    states = [process["random"]["state"]["state"] for process in metadata["training"]["processes"]]
    assert len(set(states)) == 3  # each drops out other neurons
    assert metadata["training"]["random"]["state"]["state"] == states[0]


@pytest.mark.parametrize(
    ("size", "exchange", "sentence"),
    [(1, Echo, "processes 2 there, 1 here"), (2, AllReduce, "exchange 'Echo' there, 'AllReduce' here")],
)
def test_a_run_of_another_team_is_refused(size, exchange, sentence, tmp_path):
    together(2, lambda comm: run(comm, tmp_path / "a", epochs=1))
    with pytest.raises(CheckpointError, match=rf"was saved by another run \(team: {sentence}\)"):
        together(size, lambda comm: run(comm, tmp_path / "a", exchange=exchange))


def test_a_run_of_several_processes_does_not_go_on_as_one(tmp_path):
    together(2, lambda comm: run(comm, tmp_path / "a", epochs=1))
    model = network(np.float32, nn.BatchNorm2d(4), nn.Dropout(0.5))
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with pytest.raises(CheckpointError, match=r"team: exchange 'Echo' there, None here"):
        fit(model, loader_for(None, batch_size=20), nn.CrossEntropyLoss(), optimizer, 2, checkpoint=tmp_path / "a")


def test_process_0_alone_reads_the_file(tmp_path):
    """The others may be on machines that do not have it."""
    together(2, lambda comm: run(comm, tmp_path / "a", epochs=1))
    expected = together(2, lambda comm: run(comm, tmp_path / "a", epochs=2)[1])
    (tmp_path / "b").mkdir()
    together(2, lambda comm: run(comm, tmp_path / "b" / "a", epochs=1))
    assert together(2, lambda comm: run(comm, tmp_path / ("nowhere" if comm.rank else "b/a"), epochs=2)[1]) == expected


def test_all_start_from_the_parameters_of_process_0():
    def start(comm):
        model = network()
        model[0].bias.data += comm.rank
        Team(comm).start(model, *data(np.float32))
        return model[0].bias.data, generator().random()

    results = together(3, start)
    expected = network()
    for bias, _ in results:
        np.testing.assert_array_equal(bias, expected[0].bias.data)
    assert len({number for _, number in results}) == 3
    assert results[0][1] == generator().random()  # process 0 draws what one process alone would


def test_a_process_with_parameters_of_its_own_is_found():
    def fit_wrongly(comm):
        model = network()
        model_loader, optimizer = loader_for(comm), optim.SGD(model.parameters(), lr=0.1)

        def after_step(model):
            model[0].bias.data[0] += comm.rank == 1

        fit(model, model_loader, nn.CrossEntropyLoss(), optimizer, 2, after_step=after_step, team=Team(comm))

    (sentence,) = set(errors_of(3, fit_wrongly))
    assert sentence == (
        "ParallelError: processes 0 and 1 hold different parameters after epoch 1 (0.bias); whatever changes them, such as "
        "after_step, must do the same on every process"
    )


def test_processes_with_different_data_do_not_start():
    def start(comm):
        Team(comm).start(network(), *data(np.float32, count=20 - (comm.rank == 2)))

    (sentence,) = set(errors_of(3, start))
    assert sentence.startswith("ParallelError: processes 0 and 2 have different data (20 images, checksum ")
    assert sentence.endswith("they must be the same everywhere")

    def start_with_one_pixel_changed(comm):
        images, labels = data(np.float32, count=20)
        images[3, 0, 2, 2] += comm.rank
        Team(comm).start(network(), images, labels)

    assert "processes 0 and 1 have different data" in errors_of(2, start_with_one_pixel_changed)[0]


def test_a_loss_of_nan_on_one_process_stops_all_before_the_step():
    def fit_to_nan(comm):
        model, loader = network(), loader_for(comm)
        loader.images[loader.order(0)[0]] = np.nan  # the first part of the first batch
        before = checksum(model[0].weight.data)
        with pytest.raises(NonFiniteLossError, match=r"the loss is nan in epoch 1, step 1 of 6"):
            train(model, loader, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.1), team=Team(comm))
        return before == checksum(model[0].weight.data)

    assert together(2, fit_to_nan) == [True, True]


def test_a_parameter_that_the_loss_does_not_use_is_refused():
    def step(comm):
        model, loader = network(), loader_for(comm)
        stray = Parameter(np.zeros((2, 5), np.float32))
        optimizer = optim.SGD([*model.parameters(), stray], 0.1)
        train(model, loader, nn.CrossEntropyLoss(), optimizer, team=Team(comm))

    with pytest.raises(ParallelError, match=r"parameter 4 of the optimizer, of shape \(2, 5\), has no gradient, and"):
        together(2, step)


def test_bars_are_process_0s():
    class Comm:
        def __init__(self, rank):
            self.rank, self.size = rank, 2

    for wanted, hides in ((None, None), (True, False), (False, True)):
        assert [Team(Comm(rank), show_bars=wanted).hides_bars for rank in (0, 1)] == [hides, True]


def test_the_bar_counts_the_images_of_all(monkeypatch):
    bars = []

    class Bar(tqdm):
        def __init__(self, *arguments, **settings):
            super().__init__(*arguments, **settings)
            bars.append(self)

    monkeypatch.setattr(training, "tqdm", Bar)

    def show(comm):
        model, team = network(), Team(comm, show_bars=True)
        train(model, loader_for(comm), nn.CrossEntropyLoss(), optim.SGD(model.parameters(), 0.1), team=team)

    together(2, show)
    assert sorted(bar.n for bar in bars) == [0, IMAGES]  # a bar that is hidden counts nothing


def test_code_is_described_by_its_sources_and_versions(tmp_path):
    class Package:
        __path__ = (tmp_path,)

    (tmp_path / "a.py").write_text("x = 1\n")
    first = describe_code(Package)
    assert f"numpy {np.__version__}" in first
    assert describe_code(Package) == first
    (tmp_path / "a.txt").write_text("no source")
    assert describe_code(Package) == first
    (tmp_path / "a.py").write_text("x = 2\n")
    assert describe_code(Package) != first
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert describe_code(Package) != first
