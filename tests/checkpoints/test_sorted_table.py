"""LevelDB's table: files written by its specification are read, and others refused."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from old_files import number, table

from bertie.checkpoints.sorted_table import DamagedTable, checksum, read_table, varint

ENTRIES = [(b"", b"head"), *((f"bert/layer_{each}/kernel".encode(), bytes([each])) for each in range(10, 99))]


@pytest.mark.parametrize("of", [1, 7, 1000])
def test_entries_round_trip(of: int) -> None:
    assert list(read_table(table(ENTRIES, of))) == ENTRIES


def test_a_block_that_is_compressed_is_refused_by_name() -> None:
    with pytest.raises(DamagedTable, match="compression 1"):
        list(read_table(table(ENTRIES, 7, compression=1)))


def test_the_checksum_is_crc_32c_masked() -> None:
    # RFC 3720, B.4: 32 bytes of zeros have the CRC-32C 0x8A9136AA
    crc = 0x8A9136AA
    assert checksum(bytes(32)) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_an_overlong_varint() -> None:
    assert varint(number(2**40), 0) == (2**40, 6)
    with pytest.raises(DamagedTable, match="ten bytes"):
        varint(b"\xff" * 20, 0)


@given(st.data())
def test_no_damage_breaks_the_table(data: st.DataObject) -> None:
    raw = bytearray(table(ENTRIES, of=9))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    with suppress(DamagedTable):
        assert list(read_table(bytes(raw))) == ENTRIES or raw[-48:] != table(ENTRIES, of=9)[-48:]
