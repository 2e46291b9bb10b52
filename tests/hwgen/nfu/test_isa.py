"""The table packs and unpacks what it says, and docs/nfu.md is made from it."""

from __future__ import annotations

import random

import pytest

from hwgen.nfu import isa
from hwgen.nfu.document import document
from hwgen.nfu.isa import Instruction, Op

LAYOUTS = {
    **{op.name: (fields, isa.WORDS) for op, fields in isa.FIELDS.items()},
    "tap": (isa.TAP, 1), "parameter": (isa.PARAMETER, 4), "segment": (isa.SEGMENT, 4),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_no_two_fields_share_a_bit(name):
    fields, words = LAYOUTS[name]
    taken = set()
    for field in fields:
        bits = {32 * field.word + field.bit + n for n in range(field.width)}
        assert field.bit + field.width <= 32, field.name
        assert field.word < words, field.name
        assert not bits & taken, field.name
        taken |= bits


@pytest.mark.parametrize("name", LAYOUTS)
def test_packed_values_come_back(name):
    fields, words = LAYOUTS[name]
    rng = random.Random(name)
    for _ in range(50):
        values = {}
        for field in fields:
            least = -(1 << field.width - 1) if field.signed else 0
            values[field.name] = rng.choice(
                [least, least + (1 << field.width) - 1, 0,
                 rng.randrange(least, least + (1 << field.width))])
        raw = isa.pack(fields, values, words)
        assert len(raw) == 4 * words
        assert isa.unpack(fields, raw) == values


def test_a_field_lies_where_the_table_says():
    raw = Instruction(Op.LOAD, {"buffer": 3, "wait_store": 1, "address": 0x11223344,
                                "cols": 0x5566, "rows": 0x7788}).encode()
    assert raw[:4] == bytes([0x41, 3, 0, 0])
    assert raw[4:8] == bytes([0x44, 0x33, 0x22, 0x11])
    assert raw[12:16] == bytes([0x66, 0x55, 0x88, 0x77])
    assert len(raw) == 64
    assert not any(raw[28:])


@pytest.mark.parametrize(("name", "value", "words"), [
    ("cols", 1 << 16, "cols must fit 16 bits, 65536 does not"),
    ("rows", -1, "rows must fit 16 bits, -1 does not"),
    ("nothing", 0, "not nothing"),
])
def test_value_that_does_not_fit(name, value, words):
    with pytest.raises(ValueError, match=words):
        Instruction(Op.LOAD, {name: value}).encode()


def test_signed_field_that_does_not_fit():
    with pytest.raises(ValueError, match="y must fit 16 bits, -32769 does not"):
        Instruction(Op.COMPUTE, {"y": -32769}).encode()


@pytest.mark.parametrize("number", [0, 5, 15])
def test_operation_that_does_not_exist(number):
    with pytest.raises(ValueError, match=f"Operation must be from 1 to 4, not {number}"):
        isa.decode(bytes([number]) + bytes(63))


def test_decoded_is_what_was_encoded():
    one = Instruction(Op.COMPUTE, {"rows": 3, "x": -7, "lo": -128, "hi": 127})
    again = isa.decode(one.encode())
    assert again.op is Op.COMPUTE
    assert {name: value for name, value in again.values.items() if value} == one.values


def test_document_is_up_to_date(repository):
    text = (repository / "docs" / "nfu.md").read_text(encoding="utf-8")
    assert text == document(), "run python -m hwgen.nfu.document > docs/nfu.md"


def test_registers_do_not_overlap():
    offsets = [register.offset for register in isa.REGISTERS]
    assert len(set(offsets)) == len(offsets)
    assert all(offset % 4 == 0 for offset in offsets)
