"""Parameters of an NFU: what follows from them, and which are refused."""

from __future__ import annotations

import pytest

from hwgen.nfu.config import Config, WeightCode


@pytest.mark.parametrize(("values", "words"), [
    ({"tn": 12}, r"tn must be one of \(4, 8, 16, 32\), not 12"),
    ({"act_bits": 12}, "act_bits must be 8 or 16, not 12"),
    ({"acc_bits": 8}, "acc_bits must be from 16 to 40, not 8"),
    ({"total_bits": 24}, "total_bits must be from 25 to 48, not 24"),
    ({"finishers": 3}, "finishers must divide 16, not be 3"),
    ({"nbin_lines": 100}, "nbin_lines must be a power of two from 16 to 65536, not 100"),
    ({"memory_bytes": 100}, "memory_bytes must be a multiple of 64"),
])
def test_refused(values, words):
    with pytest.raises(ValueError, match=words):
        Config(**values)


@pytest.mark.parametrize(("tn", "code", "bits", "words"), [
    (4, "wide", 5, 3), (4, "narrow", 4, 2), (8, "wide", 5, 5), (16, "wide", 5, 10),
    (16, "base", 4, 8), (32, "base", 4, 16), (16, "product", 8, 16),
])
def test_words_of_a_line_of_weights(tn, code, bits, words):
    config = Config(tn=tn, code=WeightCode(code))
    assert (config.weight_bits, config.sb_words) == (bits, words)
    assert config.word_bytes * 8 * words >= tn * tn * bits


def test_json_and_back():
    config = Config(tn=8, code=WeightCode.BASE, memory_bytes=0)
    assert Config.from_json(config.to_json()) == config
