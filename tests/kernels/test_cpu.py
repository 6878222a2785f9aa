"""The processor as described by the system."""

from bertie.kernels.cpu import Chip, read_chip


def test_processors_are_read() -> None:
    text = "processor : 0\nvendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nflags : fma avx2 avx512f avx512_bf16\n"
    assert read_chip(text) == Chip("EPYC", amd=True, bf16=True)
    assert str(read_chip(text)) == "EPYC (bf16)"
    assert not read_chip("Processor: ARMv8\n").amd
