"""Kernels of our own in C, for what PyTorch has no fast operator for: few rows, 8-bit integers, short texts.

They are compiled when bertie is installed, for AVX2 and AVX-512, and the processor decides which of them runs. Where
there is no compiler or another processor, PyTorch's operators do the work.
"""
