"""What codecs share: rows of buckets, settings."""

import json

import numpy as np
import pytest

from minigrad.compression.gradients import BUCKET, METHODS, QSGD, TopK
from minigrad.compression.gradients.base import bucket_count, in_buckets


@pytest.mark.parametrize(("size", "rows"), [(0, 0), (1, 1), (4, 1), (5, 2), (8, 2)])
def test_rows_of_buckets(size, rows):
    x = np.arange(1, size + 1, dtype=np.float32)
    found = in_buckets(x, 4)
    assert found.shape == (rows, 4) == (bucket_count(size, 4), 4)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.reshape(-1), np.pad(x, (0, 4 * rows - size)))


def test_settings_say_which_codec_it_is():
    assert QSGD(levels=4).settings() == {"method": "qsgd", "levels": 4, "bucket": BUCKET}
    assert TopK(warmup=9).settings() == {"method": "topk", "ratio": 0.001, "warmup": 9}
    for method in METHODS.values():
        assert json.loads(json.dumps(method().settings())) == method().settings()
        assert method().at(7) == method()
