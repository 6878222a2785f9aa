"""CPU kernels in C on NumPy arrays, compiled for x86-64 and 64-bit Arm when bertie is installed.

The instruction set is chosen at run time. If nothing was compiled, `library.best` returns None and callers use NumPy
or PyTorch instead.
"""
