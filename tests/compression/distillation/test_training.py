"""A student learns, its teacher stays as it is, and mistakes that would teach nothing are refused."""

import copy

import numpy as np
import pytest

import minigrad
from minigrad import DataLoader, nn, no_grad
from minigrad import functional as F
from minigrad.compression.distillation import (
    DistillationLoss,
    Hint,
    LogitMatchingLoss,
    born_again,
    distill,
    regressor,
    teacher_logits,
)
from minigrad.nn import CrossEntropyLoss
from minigrad.optim import SGD, Adam, StepLR
from minigrad.transforms import Jitter
from tests.sentences import raises


def mlp(hidden=12):
    return nn.Sequential(nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, 3))


@pytest.fixture
def loader(rng):
    x = rng.normal(size=(40, 4)).astype(np.float32)
    return DataLoader(x, x[:, :3].argmax(axis=1), 8, shuffle=True, seed=1)


def snapshot(*models):
    """Everything that a teacher has, as bytes; and the modes of its modules."""
    return [
        (*((name, array.tobytes()) for name, array in m.state_dict().items()), *(part.training for part in m.modules()))
        for m in models
    ]


@pytest.mark.parametrize("loss", [DistillationLoss(4.0, 0.7), DistillationLoss(2.0, 1.0), LogitMatchingLoss(0.5)])
def test_the_teacher_is_byte_identical_afterwards(loss, loader):
    teachers = [mlp(), mlp().eval()]
    teachers[0][0].weight.grad = np.ones((12, 4), np.float32)
    before = snapshot(*teachers)
    for given_ in (teachers[0], teachers):
        student = nn.Linear(4, 3)
        start = student.state_dict()
        losses = distill(student, given_, loader, loss, SGD(student.parameters(), lr=0.05), epochs=4)
        assert len(losses) == 4
        assert losses[-1] < losses[0]
        assert not np.array_equal(student.weight.data, start["weight"])
    assert snapshot(*teachers) == before
    grads = [p.grad for t in teachers for p in t.parameters()]
    assert grads[0].tobytes() == np.ones((12, 4), np.float32).tobytes()
    assert all(g is None for g in grads[1:])


def test_a_teacher_and_its_logits_computed_before_teach_the_same(loader):
    teacher = mlp()
    students = [nn.Linear(4, 3), nn.Linear(4, 3)]
    students[1].load_state_dict(students[0].state_dict())
    sources = (teacher, teacher_logits(teacher, loader.images))
    losses = [
        distill(s, t, loader, DistillationLoss(3.0, 0.5), SGD(s.parameters(), lr=0.1), epochs=3)
        for s, t in zip(students, sources, strict=True)
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    np.testing.assert_allclose(students[0].weight.data, students[1].weight.data, rtol=1e-4, atol=1e-6)


def test_by_labels_alone_it_is_ordinary_training(loader):
    model, teacher = mlp(), mlp()
    other = copy.deepcopy(model)
    minigrad.manual_seed(3)
    losses = distill(model, teacher, loader, DistillationLoss(4.0, 0.0), SGD(model.parameters(), lr=0.1), epochs=2)
    minigrad.manual_seed(3)
    optimizer = SGD(other.parameters(), lr=0.1)
    assert minigrad.fit(other, loader, CrossEntropyLoss(), optimizer, epochs=2) == losses
    assert snapshot(model) == snapshot(other)


@pytest.mark.parametrize("temperature", [1.0, 5.0, 20.0])
def test_a_distilled_student_is_used_at_temperature_1(temperature, loader):
    teacher, student = nn.Linear(4, 3), nn.Linear(4, 3)
    teacher.weight.data *= 3
    optimizer = Adam(student.parameters(), lr=0.03)
    distill(student, teacher, loader, DistillationLoss(temperature, 1.0), optimizer, epochs=150)
    fresh = nn.Linear(4, 3)
    fresh.load_state_dict(student.state_dict())
    with no_grad():
        ours, theirs = (F.softmax(m(loader.images), axis=1).data for m in (student, teacher))
        np.testing.assert_array_equal(student(loader.images).data, fresh(loader.images).data)
    np.testing.assert_allclose(ours, theirs, atol=0.01)


def test_jitter_goes_with_the_teacher_itself(rng):
    images = rng.normal(size=(20, 1, 6, 6)).astype(np.float32)
    plain = DataLoader(images, np.arange(20) % 3, 5, shuffle=True)
    moved = DataLoader(images, np.arange(20) % 3, 5, shuffle=True, transform=Jitter(2))
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    losses = []
    for loader in (plain, moved, moved):
        minigrad.manual_seed(1)
        student = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
        optimizer = SGD(student.parameters(), lr=0.01)
        losses.append(distill(student, teacher, loader, DistillationLoss(2.0, 0.5), optimizer, epochs=2))
    assert losses[1] != losses[0]
    assert losses[1] == losses[2]


def test_an_interrupted_distillation_goes_on_with_the_same_bits(loader, tmp_path):
    teacher = mlp()

    def run(epochs, checkpoint=None):
        minigrad.manual_seed(7)
        student = mlp(6)
        optimizer = SGD(student.parameters(), lr=0.1, momentum=0.9)
        schedule = StepLR(optimizer, 1, 0.5)
        loss = DistillationLoss(4.0, 0.7)
        return distill(
            student, teacher, loader, loss, optimizer, epochs, checkpoint=checkpoint, schedule=schedule
        ), student

    straight, student = run(4)
    run(2, tmp_path / "run.safetensors")
    resumed, other = run(4, tmp_path / "run.safetensors")
    assert resumed == straight
    assert snapshot(other) == snapshot(student)


def test_hints_pull_the_students_features_to_the_teachers(loader):
    teacher, student = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), mlp(5)
    before = snapshot(teacher)
    hint = Hint("0", "0", weight=1.0, regressor=regressor((5,), (6,)))
    optimizer = Adam([*student.parameters(), *hint.regressor.parameters()], lr=0.02)

    def distance():
        with no_grad():
            return hint(student[0](loader.images), teacher[0](loader.images)).item()

    start = distance()
    losses = distill(student, teacher, loader, DistillationLoss(4.0, 0.5), optimizer, epochs=40, hints=[hint])
    assert distance() < 0.2 * start
    assert losses[-1] < losses[0]
    assert snapshot(teacher) == before
    assert "_forward_hooks" not in vars(student[0]) or not vars(student[0])["_forward_hooks"]


def test_attention_is_learned_from_a_teacher_with_other_channels(rng):
    images = rng.normal(size=(16, 1, 6, 6)).astype(np.float32)
    loader = DataLoader(images, np.arange(16) % 3, 8)
    teacher, student = (nn.Sequential(nn.Conv2d(1, c, 3), nn.Flatten(), nn.Linear(16 * c, 3)) for c in (4, 2))
    hint = Hint("0", "0", weight=10.0, attention=True)
    with no_grad():
        before = hint(student[0](images), teacher[0](images)).item()
    distill(student, teacher, loader, DistillationLoss(2.0, 0.5), Adam(student.parameters(), 0.02), 30, hints=[hint])
    with no_grad():
        assert hint(student[0](images), teacher[0](images)).item() < 0.7 * before


def test_born_again_networks_learn_from_the_one_before(loader):
    family = born_again(
        lambda: nn.Linear(4, 3),
        loader,
        DistillationLoss(2.0, 1.0),
        lambda params: Adam(params, lr=0.05),
        60,
        generations=3,
    )
    assert len(family) == 3
    assert len({m.weight.data.tobytes() for m in family}) == 3
    assert minigrad.evaluate(family[0], loader) > 80
    with no_grad():
        first, second, third = (F.softmax(m(loader.images), axis=1).data for m in family)
    assert np.abs(second - first).max() < 0.05
    assert np.abs(third - second).max() < 0.05
    assert teacher_logits(family, loader.images).shape == (3, 40, 3)
    with raises(ValueError, "born_again: generations is 0, expected 1 or more"):
        born_again(mlp, loader, DistillationLoss(), Adam, 1, generations=0)
    with raises(ValueError, "born_again: one checkpoint cannot serve several networks; leave it out"):
        born_again(mlp, loader, DistillationLoss(), Adam, 1, checkpoint="x")


def test_what_would_teach_nothing_or_change_the_teacher_is_refused(loader):
    teacher, student, loss = mlp(), mlp(), DistillationLoss()
    with raises(
        ValueError,
        "distill: the optimizer holds parameters of the teacher; make it of the student's: student.parameters()",
    ):  # the listing of the model-optimisation article
        distill(student, teacher, loader, loss, SGD(teacher.parameters(), lr=0.1), 1)
    with raises(
        ValueError, "distill: the optimizer lacks 0.weight, which would never change; freeze it if that is meant"
    ):
        distill(student, teacher, loader, loss, SGD(mlp().parameters(), lr=0.1), 1)
    with raises(
        ValueError,
        "distill: student and teacher share parameters, so that the teacher would change; "
        "a student that learns from its earlier self learns from copy.deepcopy(student)",
    ):
        distill(student, student, loader, loss, SGD(student.parameters(), lr=0.1), 1)
    student[0].weight.requires_grad = False
    part = [p for p in student.parameters() if p.requires_grad]
    assert len(distill(student, copy.deepcopy(student), loader, loss, SGD(part, lr=0.1), 1)) == 1


def test_hints_that_cannot_be_learned_are_refused(loader, tmp_path):
    teacher, student, loss = mlp(6), mlp(5), DistillationLoss()
    hint = Hint("0", "0", regressor=regressor((5,), (6,)))
    optimizer = SGD(student.parameters(), lr=0.1)
    with raises(
        ValueError,
        "distill: the optimizer lacks the regressor's weight, which would never change; freeze it if that is meant",
    ):
        distill(student, teacher, loader, loss, optimizer, 1, hints=[hint])
    for source in (teacher_logits(teacher, loader.images), [teacher, mlp()]):
        with raises(
            ValueError, "distill: a hint looks into one teacher; give the teacher itself, neither logits nor several"
        ):
            distill(student, source, loader, loss, optimizer, 1, hints=[Hint("0", "0")])
    both = SGD([*student.parameters(), *hint.regressor.parameters()], lr=0.1)
    with raises(
        ValueError, "distill: a checkpoint keeps the student, not the hints' regressors; leave one of them out"
    ):
        distill(student, teacher, loader, loss, both, 1, hints=[hint], checkpoint=tmp_path / "x")


def test_a_student_with_other_classes_is_refused(loader):
    student = nn.Linear(4, 2)
    with raises(
        ValueError,
        "DistillationLoss: the student has 2 classes, the teacher 3 (student_logits: (8, 2), teacher_logits: (8, 3))",
    ):
        distill(student, mlp(), loader, DistillationLoss(), SGD(student.parameters(), lr=0.1), 1)
