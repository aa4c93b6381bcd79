"""Error messages are read whole."""

import re

import pytest


def raises(error, sentence):
    """As `pytest.raises(error, match=...)`, but the message must be this sentence, from its first letter to its last."""
    return pytest.raises(error, match=f"^{re.escape(sentence)}$")
