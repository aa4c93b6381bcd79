"""Teachers' logits: computed once, kept with checksums, matched to the very images that the student sees."""

import copy

import numpy as np
import pytest

from minigrad import DataLoader, nn, read_checkpoint
from minigrad.checkpoint import write_checkpoint
from minigrad.compression.distillation import (
    ShiftAveraged,
    SoftLoader,
    checksum_of_images,
    checksum_of_model,
    teacher_logits,
)
from minigrad.errors import CheckpointError
from minigrad.tape import no_grad
from minigrad.transforms import Jitter
from tests.sentences import raises


def make(classes=3):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, classes)
    )


@pytest.fixture
def images(rng):
    return rng.normal(size=(21, 1, 4, 4)).astype(np.float32)


def test_logits_are_those_of_the_model_in_evaluation(images):
    model = make()
    before = model.state_dict()
    found = teacher_logits(model, images, batch_size=8)
    assert model.training
    assert all(np.array_equal(array, before[name]) for name, array in model.state_dict().items())
    with no_grad():
        np.testing.assert_allclose(found, model.eval()(images).data, rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32


def test_a_dataset_and_its_images_are_the_same(small_test):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    part = small_test.subset(slice(50))
    np.testing.assert_array_equal(teacher_logits(model, part), teacher_logits(model, part.images))


def test_several_teachers(images):
    models = [make(), make()]
    found = teacher_logits(models, images)
    assert found.shape == (2, 21, 3)
    np.testing.assert_array_equal(found[1], teacher_logits(models[1], images))
    assert teacher_logits(models[:1], images).shape == (1, 21, 3)
    with raises(ValueError, "teachers: an ensemble's members must have the same classes, and they have [3, 4]"):
        teacher_logits([make(), make(classes=4)], images)
    with raises(ValueError, "teacher_logits: expected a teacher, a Module, or one or more of them; got []"):
        teacher_logits([], images)
    with raises(ValueError, "teacher_logits: there are no images"):
        teacher_logits(make(), images[:0])


@pytest.mark.parametrize("pixels", [0, 1, 2])
def test_a_shift_averaged_teacher_says_the_mean_over_all_positions(images, pixels):
    model, fill = make(), -0.7
    said = []
    for down in range(-pixels, pixels + 1):
        for across in range(-pixels, pixels + 1):
            moved = np.full_like(images, fill)
            for n, image in enumerate(images[:, 0]):
                for row, column in np.ndindex(4, 4):
                    if 0 <= row + down < 4 and 0 <= column + across < 4:
                        moved[n, 0, row + down, column + across] = image[row, column]
            said.append(teacher_logits(model, moved))
    found = teacher_logits(ShiftAveraged(model, pixels, fill), images)
    np.testing.assert_allclose(found, np.mean(said, axis=0), rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32


def test_shift_averaged_teachers_are_told_apart(tmp_path, images):
    model = make()
    marks = {checksum_of_model(teacher) for teacher in (model, *(ShiftAveraged(model, k) for k in (0, 1)))}
    assert len(marks | {checksum_of_model(ShiftAveraged(model, 1, fill=-1.0))}) == 4
    teacher_logits(ShiftAveraged(model, 1), images, tmp_path / "said")
    with pytest.raises(CheckpointError, match="belong to another teacher"):
        teacher_logits(ShiftAveraged(model, 2), images, tmp_path / "said")
    with raises(ValueError, "ShiftAveraged: pixels is -1, expected 0 or more"):
        ShiftAveraged(model, -1)


def test_the_second_time_they_come_from_the_file(images, tmp_path, monkeypatch):
    path = tmp_path / "new folder" / "logits.safetensors"
    model = make()
    first = teacher_logits(model, images, path)
    arrays, metadata = read_checkpoint(path)
    np.testing.assert_array_equal(arrays["logits"], first)
    assert metadata["teacher_logits"] == {"images": checksum_of_images(images), "model": [checksum_of_model(model)]}
    monkeypatch.setattr("minigrad.compression.distillation.teachers._all_logits", None)
    np.testing.assert_array_equal(teacher_logits(model, images, path), first)
    np.testing.assert_array_equal(teacher_logits(copy.deepcopy(model).eval(), images.copy(), path), first)


def test_a_file_of_other_images_or_another_teacher_is_refused(images, tmp_path):
    path = tmp_path / "logits.safetensors"
    model = make()
    teacher_logits(model, images, path)

    def refused(words, what):
        return raises(
            CheckpointError,
            f"teacher logits {path} belong to {words} (the checksum of the {what} is not the one in the file); "
            "delete the file, or give another name, to compute them anew",
        )

    changed = images.copy()
    changed[-1, 0, -1, -1] += 1e-3
    for other in (changed, images[::-1], images[:-1], images.reshape(21, 4, 1, 4)):
        with refused("another data set", "images"):
            teacher_logits(model, other, path)
    trained = copy.deepcopy(model)
    trained[1].bias.data[0] += 1e-3
    for teacher in (trained, make(), make(classes=4), [model, model], nn.Sequential(model, nn.ReLU())):
        with refused("another teacher", "model"):
            teacher_logits(teacher, images, path)


def test_a_file_that_holds_something_else_is_refused(images, tmp_path):
    path = tmp_path / "logits.safetensors"
    model = make()
    write_checkpoint(path, {"logits": np.zeros((21, 3), np.float32)}, {})
    with raises(
        CheckpointError, f"teacher logits {path}: the file holds something else; give a name that is not taken"
    ):
        teacher_logits(model, images, path)
    marks = {"images": checksum_of_images(images), "model": [checksum_of_model(model)]}
    write_checkpoint(path, {"logits": np.zeros((20, 3), np.float32)}, {"teacher_logits": marks})
    with raises(CheckpointError, f"teacher logits {path}: the file is damaged, it holds float32 (20, 3)"):
        teacher_logits(model, images, path)
    path.write_bytes(b"something")
    with pytest.raises(CheckpointError, match="expected a safetensors file"):
        teacher_logits(model, images, path)


def test_checksums_see_type_shape_and_values(images):
    changes = [images, images.astype(np.float64), images.reshape(21, 16), images + 1]
    assert len({checksum_of_images(x) for x in changes}) == 4
    assert checksum_of_images(images[:, :, ::-1][:, :, ::-1]) == checksum_of_images(images)
    model = make()
    assert checksum_of_model(model) == checksum_of_model(copy.deepcopy(model).eval())
    model[2].running_mean.data[0] += 1
    assert checksum_of_model(model) != checksum_of_model(copy.deepcopy(make()))


def batches(loader):
    return [(x.copy(), targets) for x, targets in loader]


@pytest.mark.parametrize("ensemble", [False, True])
def test_every_image_meets_its_own_logits(images, ensemble):
    labels = np.arange(21)
    teacher = [make(), make()] if ensemble else make()
    known = teacher_logits(teacher, images)
    plain = DataLoader(images, labels, 8, shuffle=True, seed=5)
    looked_up, asked = SoftLoader(plain, known), SoftLoader(plain, teacher)
    for _ in range(2):
        for (x, wanted), (x1, soft), (x2, soft2) in zip(plain, looked_up, asked, strict=True):
            np.testing.assert_array_equal(x1, x)
            np.testing.assert_array_equal(x2, x)
            np.testing.assert_array_equal(soft.labels, wanted)
            assert len(soft) == len(wanted)
            np.testing.assert_array_equal(soft.logits, known[..., wanted, :])
            np.testing.assert_allclose(soft2.logits, known[..., wanted, :], rtol=1e-4, atol=1e-5)


def test_it_goes_on_in_the_middle_of_an_epoch(images):
    known = np.arange(63, dtype=np.float32).reshape(21, 3)
    whole = SoftLoader(DataLoader(images, np.arange(21), 4, shuffle=True), known)
    batches(whole)
    second = batches(whole)
    rest = SoftLoader(DataLoader(images, np.arange(21), 4, shuffle=True), known)
    rest.epoch, rest.step = 1, 2
    for (x, soft), (x1, soft1) in zip(second[2:], batches(rest), strict=True):
        np.testing.assert_array_equal(x1, x)
        np.testing.assert_array_equal(soft1.logits, soft.logits)
    assert (rest.epoch, rest.step) == (2, 0)


def test_with_jitter_the_teacher_sees_what_the_student_sees(images):
    teacher = make()
    loader = SoftLoader(DataLoader(images, np.arange(21), 8, shuffle=True, transform=Jitter(1)), teacher)
    for x, soft in loader:
        assert not np.array_equal(x, images[soft.labels])
        with no_grad():
            np.testing.assert_allclose(soft.logits, copy.deepcopy(teacher).eval()(x).data, rtol=1e-5, atol=1e-6)


def test_logits_computed_before_are_refused_where_images_change_or_are_not_as_many(images):
    labels = np.arange(21)
    with raises(
        ValueError,
        "SoftLoader: the teacher's logits were computed for the images as they are, and the loader's transform "
        "changes them; give the teacher itself, which then sees what the student sees",
    ):
        SoftLoader(DataLoader(images, labels, transform=Jitter(1)), np.zeros((21, 3)))
    with raises(
        ValueError,
        "SoftLoader: the teacher's logits have shape (20, 3), expected (21, K), "
        "one row for each image of the loader, in its order",
    ):
        SoftLoader(DataLoader(images, labels), np.zeros((20, 3)))
    with pytest.raises(ValueError, match="SoftLoader: expected a teacher"):
        SoftLoader(DataLoader(images, labels), [make(), 3])
