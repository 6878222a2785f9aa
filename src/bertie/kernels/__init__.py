"""Kernels in C for a CPU, compiled for AVX2 and AVX-512 when bertie is installed; they take and give NumPy arrays.

The processor decides which of them runs. Where nothing was compiled, `library.best` is None and others do the work.
"""
