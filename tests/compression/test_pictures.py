"""Pictures of digits, brought into MNIST's form."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from minigrad import functional as F
from minigrad.compression.models import trained_lenet
from minigrad.compression.pictures import PictureError, load_digit
from minigrad.datasets import mnist, normalize


def save(path, array, mode=None):
    image = Image.fromarray(np.asarray(array, np.uint8))
    (image.convert(mode) if mode else image).save(path)
    return path


def test_a_picture_of_mnists_size_is_taken_as_it_is(tmp_path):
    pixels = mnist("test").pixels[0]
    np.testing.assert_array_equal(load_digit(save(tmp_path / "a.png", pixels)), pixels)
    np.testing.assert_array_equal(load_digit(save(tmp_path / "b.png", 255 - pixels)), pixels)
    np.testing.assert_array_equal(load_digit(save(tmp_path / "c.png", pixels, "RGB")), pixels)


def test_transparent_paper_counts_as_white(tmp_path):
    rgba = np.zeros((28, 28, 4), np.uint8)
    rgba[5:20, 10:14, 3] = 255  # black ink on nothing
    digit = load_digit(save(tmp_path / "a.png", rgba))
    assert digit[10, 12] == 255
    assert digit[0, 0] == 0


def test_a_large_drawing_is_scaled_and_centred(tmp_path):
    image = Image.new("L", (300, 200), 255)
    ImageDraw.Draw(image).ellipse((210, 20, 250, 120), outline=0, width=12)
    image.save(tmp_path / "zero.png")
    digit = load_digit(tmp_path / "zero.png")
    rows, columns = np.flatnonzero(digit.any(axis=1)), np.flatnonzero(digit.any(axis=0))
    assert digit.shape == (28, 28)
    assert rows[-1] - rows[0] + 1 == 20
    for axis in (0, 1):
        center = np.average(np.arange(28), weights=digit.sum(axis=1 - axis, dtype=float))
        assert abs(center - 13.5) <= 0.6
    assert len(columns) < 12


def test_enlarged_test_digits_are_still_recognised(tmp_path):
    model, test = trained_lenet(), mnist("test")
    right = 0
    for n in range(40):
        large = Image.fromarray(255 - test.pixels[n]).resize((140, 140), Image.Resampling.BICUBIC)
        canvas = Image.new("L", (300, 260), 255)
        canvas.paste(large, (90, 10))
        canvas.save(tmp_path / "digit.png")
        digit = load_digit(tmp_path / "digit.png")
        right += int(F.softmax(model(normalize(digit)[None, None])).data.argmax() == test.labels[n])
    assert right >= 37


def test_a_single_dot_and_thin_lines_do_not_break_it(tmp_path):
    dot = np.zeros((50, 40))
    dot[7, 9] = 255
    assert load_digit(save(tmp_path / "dot.png", dot)).sum() > 0
    line = np.zeros((50, 400))
    line[20] = 255
    assert load_digit(save(tmp_path / "line.png", line)).shape == (28, 28)


def test_what_is_no_picture_of_a_digit_is_refused(tmp_path):
    with pytest.raises(PictureError, match=r"blank.png: it has one colour throughout, expected a digit"):
        load_digit(save(tmp_path / "blank.png", np.full((28, 28), 255)))
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(PictureError, match=r"text.png: expected an image file"):
        load_digit(tmp_path / "text.png")
    cut = save(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 255, (90, 90)))
    cut.write_bytes(cut.read_bytes()[:500])
    with pytest.raises(PictureError, match=r"cut.png: expected an image file"):
        load_digit(cut)
    with pytest.raises(FileNotFoundError, match=r"nowhere.png: there is no such file"):
        load_digit(tmp_path / "nowhere.png")


def test_sixteen_bits_are_scaled_and_photographs_turned(tmp_path):
    pixels = mnist("test").pixels[0]
    Image.fromarray(pixels.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(load_digit(tmp_path / "deep.png"), pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways: turn by 90 degrees clockwise to see it upright
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(load_digit(tmp_path / "turned.png"), pixels)


def test_damaged_pictures_and_other_formats_are_refused(tmp_path):
    save(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (60, 60)))
    content = (tmp_path / "a.png").read_bytes()
    rng = np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(content)
        for place in rng.integers(8, len(content), 3):
            damaged[place] = rng.integers(256)
        (tmp_path / "b.png").write_bytes(damaged)
        try:
            assert load_digit(tmp_path / "b.png").shape == (28, 28)
        except PictureError as error:
            assert "b.png" in str(error)  # noqa: PT017  either is fine; a traceback is not
    (tmp_path / "c.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(PictureError, match="expected an image file, one of PNG, JPEG"):
        load_digit(tmp_path / "c.eps")
    with pytest.raises(FileNotFoundError, match="but a folder"):
        load_digit(tmp_path)
