"""A run that is stopped anywhere and resumed ends with the same bytes; what belongs to another run is refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import minigrad
from minigrad import (
    CheckpointError,
    DataLoader,
    Position,
    fit,
    load_training,
    nn,
    read_checkpoint,
    save_training,
    train,
)
from minigrad.checkpoint import METADATA_KEY
from minigrad.optim import SGD, Adam, AdamW, CosineAnnealingLR, OneCycleLR, RMSprop, StepLR
from minigrad.random import generator
from minigrad.transforms import Jitter

EPOCHS, STEPS = 3, 5  # an epoch: four batches of 7 images, one of 2

OPTIMIZERS = {
    "SGD": lambda p: SGD(p, 0.1, 0.9, weight_decay=0.01),
    "nesterov": lambda p: SGD(p, 0.1, 0.9, nesterov=True),
    "Adam": lambda p: Adam(p, 0.01, weight_decay=0.01),
    "AdamW": lambda p: AdamW(p, 0.01),
    "RMSprop": lambda p: RMSprop(p, 0.01, momentum=0.5),
}
SCHEDULES = {
    "none": lambda optimizer: None,
    "StepLR": lambda optimizer: StepLR(optimizer, 2, 0.5),
    "cosine": lambda optimizer: CosineAnnealingLR(optimizer, 20, 0.001),
    "one cycle": lambda optimizer: OneCycleLR(optimizer, 0.1, EPOCHS * STEPS),
}


def add_noise(x, generator):
    return x + generator.normal(0, 0.01, x.shape).astype(np.float32)


class Run:
    """A small run with all that has to be remembered: momentum, running means, dropout, schedule, shuffles, transform."""

    def __init__(
        self, optimizer="SGD", schedule="cosine", batch_size=7, seed=3, hidden=4, labels=3, transform=add_noise
    ):
        minigrad.manual_seed(0)
        rng = np.random.default_rng(0)
        images = rng.normal(size=(30, 3)).astype(np.float32)
        self.model = nn.Sequential(
            nn.Linear(3, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, 3)
        )
        classes = rng.integers(0, labels, 30)
        self.loader = DataLoader(images, classes, batch_size, shuffle=True, seed=seed, transform=transform)
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.schedule = SCHEDULES[schedule](self.optimizer)

    def fit(self, checkpoint=None, epochs=EPOCHS, stop_at=None, **settings):
        steps = 0

        def stop(model):
            nonlocal steps
            steps += 1
            if steps == stop_at:
                raise KeyboardInterrupt

        return fit(
            self.model,
            self.loader,
            nn.CrossEntropyLoss(),
            self.optimizer,
            epochs,
            self.schedule,
            checkpoint=checkpoint,
            after_step=stop,
            **settings,
        )

    def save(self, path, position=None, **metadata):
        position = Position() if position is None else position
        save_training(path, self.model, self.optimizer, self.loader, position, self.schedule, **metadata)

    def load(self, path):
        return load_training(path, self.model, self.optimizer, self.loader, self.schedule)

    def everything(self):
        """All that loading may change, as one text."""
        return repr(
            (
                {name: array.tobytes() for name, array in self.model.state_dict().items()},
                [
                    {k: v.tobytes() if isinstance(v, np.ndarray) else v for k, v in s.items()}
                    for s in self.optimizer.state
                ],
                self.optimizer.lr,
                self.schedule and (self.schedule.count, self.schedule.base_lr),
                (self.loader.epoch, self.loader.step),
                generator().bit_generator.state,
            )
        )


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("each", ["epoch", "step"])
def test_a_run_stopped_again_and_again_ends_with_the_same_bytes(optimizer, schedule, each, tmp_path, rng):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    every = int(rng.integers(1, 4))
    losses = Run(optimizer, schedule).fit(straight, schedule_each=each)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            Run(optimizer, schedule).fit(stopped, schedule_each=each, every=every, stop_at=int(rng.integers(4, 6)))
    run = Run(optimizer, schedule)
    generator().random()  # must be forgotten
    assert run.fit(stopped, schedule_each=each, every=every) == losses
    assert stopped.read_bytes() == straight.read_bytes()
    assert len(losses) == EPOCHS


@pytest.mark.parametrize("each", ["epoch", "step"])
def test_fit_is_the_loop_that_one_would_write(each):
    run, fitted = Run(), Run()
    generator().bit_generator.state = (start := generator().bit_generator.state)
    expected = []
    for _ in range(EPOCHS):
        after_step = None if each == "epoch" else lambda model: run.schedule.step()
        expected.append(train(run.model, run.loader, nn.CrossEntropyLoss(), run.optimizer, after_step))
        if each == "epoch":
            run.schedule.step()
    generator().bit_generator.state = start
    assert fitted.fit(schedule_each=each) == expected
    for name, array in run.model.state_dict().items():
        np.testing.assert_array_equal(fitted.model.state_dict()[name], array)


def test_a_mean_loss_counts_every_image_of_its_epoch_once(tmp_path):
    straight = Run().fit()
    run = Run()
    with pytest.raises(KeyboardInterrupt):
        run.fit(tmp_path / "a", every=1, stop_at=STEPS + 3)
    resumed = Run()
    position = resumed.load(tmp_path / "a")
    assert (position.epoch, position.step, position.images, position.losses) == (1, 2, 14, straight[:1])
    assert (
        train(resumed.model, resumed.loader, nn.CrossEntropyLoss(), resumed.optimizer, position=position) == straight[1]
    )
    assert (position.step, position.images) == (STEPS, 30)


def test_the_loader_goes_on_in_a_loop_of_ones_own(tmp_path):
    saved, loaded = Run(), Run()
    batches = list(DataLoader(saved.loader.images, saved.loader.labels, 7, shuffle=True, seed=3, transform=add_noise))
    saved.save(tmp_path / "a", Position(epoch=0, step=3))
    loaded.load(tmp_path / "a")
    rest = list(loaded.loader)
    assert len(rest) == 2
    for (x, targets), (expected, labels) in zip(rest, batches[3:], strict=True):
        np.testing.assert_array_equal(x, expected)
        np.testing.assert_array_equal(targets, labels)
    assert (loaded.loader.epoch, loaded.loader.step) == (1, 0)


def test_a_finished_run_stays_as_it_is_and_goes_on_if_asked_for_more(tmp_path):
    Run().fit(tmp_path / "two", epochs=2)
    before = (tmp_path / "two").read_bytes()
    done = Run()
    assert len(done.fit(tmp_path / "two", epochs=2)) == 2
    assert (tmp_path / "two").read_bytes() == before
    arrays, _ = read_checkpoint(tmp_path / "two")
    np.testing.assert_array_equal(done.model[0].weight.data, arrays["model.0.weight"])

    Run().fit(tmp_path / "two", epochs=3)
    Run().fit(tmp_path / "three", epochs=3)
    assert (tmp_path / "two").read_bytes() == (tmp_path / "three").read_bytes()


def test_what_is_loaded_is_saved_as_the_same_bytes(tmp_path):
    run = Run()
    run.fit(tmp_path / "a", epochs=2)
    expected, other = run.everything(), Run()
    position = other.load(tmp_path / "a")
    other.save(tmp_path / "b", position)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    assert other.everything() == expected


def test_names_of_arrays_and_metadata(tmp_path):
    run = Run("Adam")
    run.fit(epochs=1)
    run.save(tmp_path / "a", Position(1, losses=[0.5]), accuracy=np.float32(0.5), note="x")
    arrays, metadata = read_checkpoint(tmp_path / "a")
    own = {f"model.{name}" for name in run.model.state_dict()}
    assert {"model.1.running_mean", "model.4.bias"} < own
    assert set(arrays) == own | {f"optimizer.{i}.{key}" for i in range(6) for key in ("mean", "square")}
    training = metadata.pop("training")
    assert metadata == {"accuracy": 0.5, "note": "x", "architecture": "Sequential"}
    assert training["optimizer"] == {"lr": run.optimizer.lr, "state": [{"step": STEPS}] * 6}
    assert training["position"] == {"epoch": 1, "step": 0, "images": 0, "loss_sum": 0.0, "losses": [0.5]}
    with pytest.raises(TypeError, match="checkpoint: metadata holds object, which JSON cannot"):
        run.save(tmp_path / "b", thing=object())


def test_the_learning_rate_is_the_saved_one(tmp_path):
    saved, loaded = Run(schedule="none"), Run(schedule="none")
    saved.optimizer.lr = 0.0123456789
    saved.save(tmp_path / "a")
    loaded.load(tmp_path / "a")
    assert loaded.optimizer.lr == 0.0123456789
    saved, loaded = Run(), Run()
    saved.schedule.base_lr = 0.7
    saved.schedule.step()
    saved.save(tmp_path / "b")
    loaded.load(tmp_path / "b")
    assert (loaded.schedule.base_lr, loaded.schedule.count) == (0.7, 1)
    assert loaded.optimizer.lr == saved.optimizer.lr


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"optimizer": "Adam"}, "optimizer: class 'SGD' there, 'Adam' here"),
        ({"optimizer": "nesterov"}, "optimizer: weight_decay 0.01 there, 0.0 here"),
        ({"schedule": "none"}, "schedule: class 'CosineAnnealingLR' there, None here"),
        ({"schedule": "StepLR"}, "schedule: class 'CosineAnnealingLR' there, 'StepLR' here"),
        ({"batch_size": 8}, "loader: batch_size 7 there, 8 here"),
        ({"seed": 4}, "loader: seed 3 there, 4 here"),
        ({"transform": None}, "loader: transform 'add_noise' there, None here"),
        ({"transform": Jitter(2, fill=0)}, r"loader: transform 'add_noise' there, 'Jitter\(pixels=2, fill=0\)' here"),
        ({"labels": 2}, r"loader: checksum of labels \d+ there, \d+ here"),
        ({"hidden": 5}, r"optimizer: shapes of parameters \[\[4, 3\], .* there, \[\[5, 3\], .* here"),
    ],
)
def test_another_run_is_refused_and_nothing_is_changed(other, sentence, tmp_path):
    Run().fit(tmp_path / "a.safetensors", epochs=1)
    run = Run(**other)
    before = run.everything()
    with pytest.raises(CheckpointError, match=rf"a.safetensors was saved by another run \({sentence}\); go on with"):
        run.load(tmp_path / "a.safetensors")
    assert run.everything() == before


def test_another_number_of_images_is_refused(tmp_path):
    Run().save(tmp_path / "a")
    run = Run()
    run.loader = DataLoader(run.loader.images[1:], run.loader.labels[1:], 7, shuffle=True, seed=3)
    before = run.everything()
    with pytest.raises(CheckpointError, match="loader: number of images 30 there, 29 here"):
        run.load(tmp_path / "a")
    assert run.everything() == before


def test_a_setting_that_only_the_saved_run_had_is_named(tmp_path):
    saved = Run()
    saved.optimizer.maximize = True
    saved.save(tmp_path / "a")
    with pytest.raises(CheckpointError, match="optimizer: maximize True there, None here"):
        Run().load(tmp_path / "a")


def test_another_model_or_dtype_is_refused(tmp_path):
    Run().save(tmp_path / "a")
    renamed, wider = Run(), Run()
    trained = list(renamed.model.parameters())
    renamed.model = nn.Sequential(*list(renamed.model.children())[:4], nn.ReLU(), renamed.model[4])
    assert list(map(id, renamed.model.parameters())) == list(map(id, trained))
    wider.model[1].running_mean.data = np.zeros(4)
    for run, sentence in (
        (renamed, r"is not one of Sequential: .*missing \['5.bias', '5.weight'\], unexpected \['4.bias', '4.weight'\]"),
        (wider, "is not one of this Sequential: 1.running_mean is float32 in it and float64 in the model"),
    ):
        before = run.everything()
        with pytest.raises(CheckpointError, match=sentence):
            run.load(tmp_path / "a")
        assert run.everything() == before


def test_a_plain_checkpoint_and_a_missing_one_are_named(tmp_path):
    run = Run()
    minigrad.save_checkpoint(tmp_path / "plain", run.model)
    with pytest.raises(CheckpointError, match=r"plain holds a model but no training run; load_checkpoint reads it"):
        run.load(tmp_path / "plain")
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such file"):
        run.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no such file, but a folder"):
        run.fit(tmp_path)


def damage_random(training, arrays):
    training["random"]["state"] = 3


def damage_position(training, arrays):
    training["position"]["step"] = 6


def damage_states(training, arrays):
    training["optimizer"]["state"].append({})


def damage_settings(training, arrays):
    del training["settings"]["loader"]


def damage_arrays(training, arrays):
    arrays["optimizer.17.velocity"] = np.ones(1)


def damage_names(training, arrays):
    arrays["thing"] = np.ones(1)


@pytest.mark.parametrize(
    "damage", [damage_random, damage_position, damage_states, damage_settings, damage_arrays, damage_names]
)
def test_a_damaged_training_run_is_refused_and_nothing_is_changed(damage, tmp_path):
    Run().fit(tmp_path / "a", epochs=1)
    arrays, metadata = read_checkpoint(tmp_path / "a")
    damage(metadata["training"], arrays)
    save_file(arrays, tmp_path / "a", metadata={METADATA_KEY: json.dumps(metadata)})
    run = Run()
    before = run.everything()
    with pytest.raises(CheckpointError, match=r"checkpoint .*a: its training run is damaged"):
        run.load(tmp_path / "a")
    assert run.everything() == before


def test_half_a_file_is_refused(tmp_path):
    Run().save(tmp_path / "a")
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="expected a safetensors file of arrays, and it is damaged"):
        Run().fit(tmp_path / "a")


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    mine = tmp_path / "run[1].safetensors"
    Run().fit(mine, epochs=1)
    keep = [".run[1].safetensors.note", "run[1].safetensors.tmp", ".run1.safetensors.abc.tmp", ".other.abc.tmp"]
    for name in [".run[1].safetensors.k3jd8s_a.tmp", *keep]:
        (tmp_path / name).write_bytes(b"half a file")
    Run().fit(mine, epochs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([mine.name, *keep])


def test_after_epoch_sees_each_epoch_before_it_is_saved(tmp_path):
    run, seen = Run(), []

    def note(position):
        seen.append((position.epoch, position.losses[-1]))
        run.model[0].bias.data[...] = position.epoch

    losses = run.fit(tmp_path / "a", after_epoch=note)
    assert seen == list(zip([1, 2, 3], losses, strict=True))
    arrays, _ = read_checkpoint(tmp_path / "a")
    np.testing.assert_array_equal(arrays["model.0.bias"], 3)


def test_checkpoints_are_written_as_often_as_asked(tmp_path, monkeypatch):
    positions = []

    def note(path, model, optimizer, loader, position, schedule, team):
        positions.append((position.epoch, position.step))

    monkeypatch.setattr("minigrad.resume.save_training", note)
    Run().fit(tmp_path / "a", epochs=2, every=2)
    assert positions == [(0, 2), (0, 4), (1, 0), (1, 2), (1, 4), (2, 0)]
    positions.clear()
    Run().fit(tmp_path / "a", epochs=1, every=5)
    Run().fit(None, epochs=1)
    assert positions == [(1, 0)]


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="schedule_each is 'batch', expected 'epoch' or 'step'"):
        Run().fit(schedule_each="batch")
    with pytest.raises(ValueError, match="every is 0, expected 1 or more"):
        Run().fit(every=0)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_a_run_killed_by_sigkill_ends_with_the_same_bytes():
    """Three points here; `make kill-and-resume` takes twenty."""
    tool = Path(__file__).parent.parent / "tools" / "kill_and_resume.py"
    result = subprocess.run([sys.executable, tool, "--points", "3"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("killed after step") == 3
    assert "3 kills" in result.stdout.splitlines()[-1]
    assert "resumed to the same" in result.stdout.splitlines()[-1]
