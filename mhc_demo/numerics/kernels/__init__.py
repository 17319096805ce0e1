"""Projections written for PyTorch's devices, for the speed that the array API code cannot have.

An operation has the same name in each of its places: `sinkhorn` chooses and differentiates,
`sinkhorn_triton` and `sinkhorn_torch` compute, and `projections` specifies, in the few lines that
every other array library runs.  So with the layers: `nn.layer_torch` and `nn.layer_numba` compute
what `nn` specifies.  PyTorch is imported here, so nothing imports this before it holds a tensor;
Triton is imported when a tensor lies on a GPU, Numba when a layer runs on a CPU.
"""
