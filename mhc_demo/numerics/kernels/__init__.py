"""Projections for PyTorch tensors, faster than array API code can be.

`projections` specifies an operation, in code that every other array library runs.  `sinkhorn`
chooses an implementation and differentiates; `sinkhorn_triton` and `sinkhorn_torch` compute.  In
the same way `nn.layer_torch` and `nn.layer_numba` compute what `nn.mappings` specifies.  These
modules import PyTorch, so they are themselves imported only when there is a tensor.  Triton is
imported when a tensor is on a GPU, Numba when a layer runs on a CPU.

`gains_numba` is apart: it needs no PyTorch, and computes what `surface` specifies for a process
that asked for it.
"""
