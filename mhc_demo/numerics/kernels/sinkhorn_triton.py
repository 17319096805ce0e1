"""Sinkhorn-Knopp on a GPU: reads the logits once, writes the result once, nothing in between.

What bounds it.  At n = 4 and 20 iterations 128 bytes are moved for each matrix.  To divide the
matrix by its sums would take 160 reciprocals and 1,300 other operations: by their count, as long on
an H100 as the move.  So only the scaling vectors are iterated, P = diag(u) K diag(v) with
K = exp(logits).  An iteration is 32 multiply-adds and four reciprocals, because one reciprocal
serves two sums.  A thread holds whole matrices in its registers and a block is a single warp, so
that a shuffle turns the order in memory into one matrix per thread, and no thread waits at a
barrier.

The backward pass (section 4.3) recomputes the iterations on chip and keeps only u, in registers;
v follows from it.  Let a = dL/d log u, b = dL/d log v, and Q the matrix after a half step.  Going
back over a row step, dL/d log K -= a Q and b -= Q^T a; over a column step, the same with rows and
columns exchanged.  This is the gradient of the truncated iteration, not of its limit.

Sharp logits drive u and v out of the range of a float.  Each block checks the range of its own
logits, and beyond `TAME` works in place in the log domain.  That is exact to rounding at +-1e4, but
takes 32 exponentials per iteration, and the backward pass repeats the iterations from the start for
each one that it goes back.

One algorithm, two layouts in registers: at n = 4 (`FOUR`) a matrix is a tuple of rows, each a tuple
of four numbers; at any other n it is a tile of N x N numbers, N the next power of two, spread
over threads.  Only the primitives differ; the algorithm, at the end, passes `FOUR` on to them.
"""

from __future__ import annotations

import triton
import triton.language as tl

# The backward pass keeps u of this many iterations in registers at a time: the paper's 20 at once.
LOT = tl.constexpr(20)


def block_size(n: int, backward: bool) -> tuple[int, int]:
    """(matrices in a block, warps in a block).

    At n = 4 a block is one warp.  Forward, a thread has two matrices, and computes one while it
    waits for the other; backward, one matrix alone takes 210 registers.  At any other n a block
    holds 512 numbers.
    """
    if n == 4:
        return (32 if backward else 64), 1
    return max(1, 512 // triton.next_power_of_2(n) ** 2), 4


@triton.jit
def _transposed(k):
    return (
        (k[0][0], k[1][0], k[2][0], k[3][0]),
        (k[0][1], k[1][1], k[2][1], k[3][1]),
        (k[0][2], k[1][2], k[2][2], k[3][2]),
        (k[0][3], k[1][3], k[2][3], k[3][3]),
    )


@triton.jit
def _split(x):
    """The four slices of the last two axes of length two."""
    even, odd = tl.split(x)
    x0, x2 = tl.split(even)
    x1, x3 = tl.split(odd)
    return x0, x1, x2, x3


@triton.jit
def _join(x):
    return tl.join(tl.join(x[0], x[2]), tl.join(x[1], x[3]))


@triton.jit
def _places(count, n: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr, SWAPPED: tl.constexpr):
    """Offsets of this block's numbers from the first, and a mask of those that exist."""
    left = count - tl.program_id(0).to(tl.int64) * BLOCK
    if n == 4:
        number = tl.arange(0, BLOCK * 16)
        return number, number < left * 16
    else:
        matrix = tl.arange(0, BLOCK)[:, None, None]
        row = tl.arange(0, N)[None, :, None]
        column = tl.arange(0, N)[None, None, :]
        inside = (matrix < left) & (row < n) & (column < n)
        if SWAPPED:
            return matrix * (n * n) + column * n + row, inside
        else:
            return matrix * (n * n) + row * n + column, inside


@triton.jit
def _load(pointer, places, inside, outside, FOUR: tl.constexpr, BLOCK: tl.constexpr,
          SWAPPED: tl.constexpr, REAL: tl.constexpr):  # fmt: skip
    """The block's matrices; SWAPPED: transposed."""
    numbers = tl.load(pointer + places, mask=inside, other=outside).to(REAL)
    if FOUR:
        c = _split(tl.reshape(numbers, (BLOCK, 2, 2, 2, 2)))
        columns = (_split(c[0]), _split(c[1]), _split(c[2]), _split(c[3]))
        if SWAPPED:
            return columns
        else:
            return _transposed(columns)
    else:
        return numbers


@triton.jit
def _store(pointer, places, inside, k, FOUR: tl.constexpr, BLOCK: tl.constexpr,
           SWAPPED: tl.constexpr):  # fmt: skip
    if FOUR:
        if SWAPPED:
            c = k
        else:
            c = _transposed(k)
        joined = _join((_join(c[0]), _join(c[1]), _join(c[2]), _join(c[3])))
        numbers = tl.reshape(joined, (BLOCK * 16,))
    else:
        numbers = k
    tl.store(pointer + places, numbers.to(pointer.dtype.element_ty), mask=inside)


@triton.jit
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]


@triton.jit
def _sum4(a):
    return a[0] + a[1] + a[2] + a[3]


@triton.jit
def _max4(a):
    return tl.maximum(tl.maximum(a[0], a[1]), tl.maximum(a[2], a[3]))


@triton.jit
def _min4(a):
    return tl.minimum(tl.minimum(a[0], a[1]), tl.minimum(a[2], a[3]))


@triton.jit
def _minus4(a, x):
    return a[0] - x, a[1] - x, a[2] - x, a[3] - x


@triton.jit
def _exp4(a):
    return tl.exp(a[0]), tl.exp(a[1]), tl.exp(a[2]), tl.exp(a[3])


@triton.jit
def _each(a, b, FOUR: tl.constexpr):
    """Products of two vectors, entry by entry."""
    if FOUR:
        return a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]
    else:
        return a * b


@triton.jit
def _add(a, b, FOUR: tl.constexpr):
    """Sum of two vectors."""
    if FOUR:
        return a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]
    else:
        return a + b


@triton.jit
def _less(a, b, FOUR: tl.constexpr):
    """Difference of two vectors."""
    if FOUR:
        return a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]
    else:
        return a - b


@triton.jit
def _every(k, m, FOUR: tl.constexpr):
    """Products of two matrices, entry by entry."""
    if FOUR:
        return (
            _each(k[0], m[0], FOUR),
            _each(k[1], m[1], FOUR),
            _each(k[2], m[2], FOUR),
            _each(k[3], m[3], FOUR),
        )
    else:
        return k * m


@triton.jit
def _along_rows(k, v, FOUR: tl.constexpr):
    """sum_j K_ij v_j."""
    if FOUR:
        return _dot(k[0], v), _dot(k[1], v), _dot(k[2], v), _dot(k[3], v)
    else:
        return tl.sum(k * v, axis=2, keep_dims=True)


@triton.jit
def _along_columns(k, u, FOUR: tl.constexpr):
    """sum_i K_ij u_i."""
    if FOUR:
        return _along_rows(_transposed(k), u, FOUR)
    else:
        return tl.sum(k * u, axis=1, keep_dims=True)


@triton.jit
def _outer(u, v, FOUR: tl.constexpr):
    """u_i v_j."""
    if FOUR:
        return (
            (u[0] * v[0], u[0] * v[1], u[0] * v[2], u[0] * v[3]),
            (u[1] * v[0], u[1] * v[1], u[1] * v[2], u[1] * v[3]),
            (u[2] * v[0], u[2] * v[1], u[2] * v[2], u[2] * v[3]),
            (u[3] * v[0], u[3] * v[1], u[3] * v[2], u[3] * v[3]),
        )
    else:
        return u * v


@triton.jit
def _less_outer(s, u, v, FOUR: tl.constexpr):
    """s_ij - u_i v_j."""
    if FOUR:
        return (
            _less_scaled(s[0], u[0], v),
            _less_scaled(s[1], u[1], v),
            _less_scaled(s[2], u[2], v),
            _less_scaled(s[3], u[3], v),
        )
    else:
        return s - u * v


@triton.jit
def _less_scaled(a, x, b):
    return a[0] - x * b[0], a[1] - x * b[1], a[2] - x * b[2], a[3] - x * b[3]


@triton.jit
def _reciprocal(x, APPROXIMATE: tl.constexpr):
    if APPROXIMATE:  # one instruction, within a unit in the last place; x is never extreme
        return tl.inline_asm_elementwise(
            "rcp.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    else:
        return 1.0 / x


@triton.jit
def _inverse(x, FOUR: tl.constexpr, APPROXIMATE: tl.constexpr):
    """1 / x, entry by entry; 1 in the padding, where x is 0."""
    if FOUR:
        p = _reciprocal(x[0] * x[1], APPROXIMATE)
        q = _reciprocal(x[2] * x[3], APPROXIMATE)
        return p * x[1], p * x[0], q * x[3], q * x[2]
    else:
        return 1.0 / tl.where(x == 0, 1.0, x)


@triton.jit
def _plus(x, EPS: tl.constexpr, FOUR: tl.constexpr):
    """Adds eps, but not in the padding, where x is 0."""
    if FOUR:
        return x[0] + EPS, x[1] + EPS, x[2] + EPS, x[3] + EPS
    else:
        return tl.where(x == 0, 0.0, x + EPS)


@triton.jit
def _rescaled(x, sums, EPS: tl.constexpr, FOUR: tl.constexpr, APPROXIMATE: tl.constexpr):
    """The scaling after a half step: x before it, `sums` of P without the factor x."""
    if EPS == 0:
        return _inverse(sums, FOUR, APPROXIMATE)
    else:  # the sums of P are x times these, and eps is added to those
        whole = _plus(_each(x, sums, FOUR), EPS, FOUR)
        return _each(x, _inverse(whole, FOUR, APPROXIMATE), FOUR)


@triton.jit
def _iterated(k, u, v, EPS: tl.constexpr, FOUR: tl.constexpr, APPROXIMATE: tl.constexpr):
    v = _rescaled(v, _along_columns(k, u, FOUR), EPS, FOUR, APPROXIMATE)
    u = _rescaled(u, _along_rows(k, v, FOUR), EPS, FOUR, APPROXIMATE)
    return u, v


@triton.jit
def _log_softmax4(a):
    a = _minus4(a, _max4(a))
    return _minus4(a, tl.log(_sum4(_exp4(a))))


@triton.jit
def _log_softmax(x, AXIS: tl.constexpr):
    # The padding is -inf, and stays so.
    top = tl.max(x, axis=AXIS, keep_dims=True)
    x = x - tl.where(top > -float("inf"), top, 0.0)
    total = tl.sum(tl.exp(x), axis=AXIS, keep_dims=True)
    return x - tl.log(tl.where(total > 0, total, 1.0))


@triton.jit
def _log_rows(x, FOUR: tl.constexpr):
    if FOUR:
        return _log_softmax4(x[0]), _log_softmax4(x[1]), _log_softmax4(x[2]), _log_softmax4(x[3])
    else:
        return _log_softmax(x, 2)


@triton.jit
def _log_columns(x, FOUR: tl.constexpr):
    if FOUR:
        return _transposed(_log_rows(_transposed(x), FOUR))
    else:
        return _log_softmax(x, 1)


@triton.jit
def _less_column_maxima(x, FOUR: tl.constexpr):
    if FOUR:
        c = _transposed(x)
        return _transposed(
            (
                _minus4(c[0], _max4(c[0])),
                _minus4(c[1], _max4(c[1])),
                _minus4(c[2], _max4(c[2])),
                _minus4(c[3], _max4(c[3])),
            )
        )
    else:
        top = tl.max(x, axis=1, keep_dims=True)
        return x - tl.where(top > -float("inf"), top, 0.0)


@triton.jit
def _range(x, FOUR: tl.constexpr):
    """The largest distance of a logit below its column maximum, in all matrices of the block."""
    if FOUR:
        least = tl.minimum(
            tl.minimum(_min4(x[0]), _min4(x[1])), tl.minimum(_min4(x[2]), _min4(x[3]))
        )
        return -tl.min(least)
    else:
        return -tl.min(tl.where(x > -float("inf"), x, 0.0))


@triton.jit
def _exp(x, FOUR: tl.constexpr):
    if FOUR:
        return _exp4(x[0]), _exp4(x[1]), _exp4(x[2]), _exp4(x[3])
    else:
        return tl.exp(x)


@triton.jit
def _row_sums(k, FOUR: tl.constexpr):
    if FOUR:
        return _sum4(k[0]), _sum4(k[1]), _sum4(k[2]), _sum4(k[3])
    else:
        return tl.sum(k, axis=2, keep_dims=True)


@triton.jit
def _column_sums(k, FOUR: tl.constexpr):
    if FOUR:
        return _row_sums(_transposed(k), FOUR)
    else:
        return tl.sum(k, axis=1, keep_dims=True)


@triton.jit
def _by_columns(k, v, FOUR: tl.constexpr):
    """K_ij v_j."""
    if FOUR:
        return (
            _each(k[0], v, FOUR),
            _each(k[1], v, FOUR),
            _each(k[2], v, FOUR),
            _each(k[3], v, FOUR),
        )
    else:
        return k * v


@triton.jit
def _less_by_rows(g, q, a, FOUR: tl.constexpr):
    """g_ij - a_i Q_ij."""
    if FOUR:
        return (
            _less_scaled(g[0], a[0], q[0]),
            _less_scaled(g[1], a[1], q[1]),
            _less_scaled(g[2], a[2], q[2]),
            _less_scaled(g[3], a[3], q[3]),
        )
    else:
        return g - a * q


@triton.jit
def _less_by_columns(g, q, b, FOUR: tl.constexpr):
    """g_ij - b_j Q_ij."""
    if FOUR:
        return _transposed(_less_by_rows(_transposed(g), _transposed(q), b, FOUR))
    else:
        return g - b * q


@triton.jit
def _base(z, EPS: tl.constexpr, FOUR: tl.constexpr, APPROXIMATE: tl.constexpr):
    """The matrix to be scaled, and its softmax, which the backward pass needs.

    Eq. 9 scales K = exp(logits).  The released variant scales softmax + eps, its first half step.
    """
    k = _exp(z, FOUR)
    softmax = k
    if EPS > 0:
        sums = _column_sums(k, FOUR)
        softmax = _by_columns(k, _inverse(sums, FOUR, APPROXIMATE), FOUR)
        if FOUR:
            k = (
                _plus(softmax[0], EPS, FOUR),
                _plus(softmax[1], EPS, FOUR),
                _plus(softmax[2], EPS, FOUR),
                _plus(softmax[3], EPS, FOUR),
            )
        else:
            k = _plus(softmax, EPS, FOUR)
    return k, softmax


@triton.jit
def _start(k, EPS: tl.constexpr, n: tl.constexpr, N: tl.constexpr, BLOCK: tl.constexpr,
           REAL: tl.constexpr, APPROXIMATE: tl.constexpr):  # fmt: skip
    """The scalings before the first whole iteration."""
    if n == 4:
        one = tl.full((BLOCK,), 1.0, REAL)
        u = (one, one, one, one)
        v = (one, one, one, one)
    else:
        u = tl.full((BLOCK, N, 1), 1.0, REAL)
        v = tl.full((BLOCK, 1, N), 1.0, REAL)
    if EPS > 0:
        u = _rescaled(u, _row_sums(k, n == 4), EPS, n == 4, APPROXIMATE)
    return u, v


# Otherwise Triton compiles once more for counts that are 1, or a multiple of 16.
@triton.jit(do_not_specialize=["count", "iterations"])
def sinkhorn_forward(z_pointer, p_pointer, count, iterations, n: tl.constexpr, N: tl.constexpr,
                     EPS: tl.constexpr, TAME: tl.constexpr, SWAPPED: tl.constexpr,
                     BLOCK: tl.constexpr, REAL: tl.constexpr,
                     APPROXIMATE: tl.constexpr):  # fmt: skip
    """P of `count` matrices of logits, contiguous (count, n, n); `iterations` >= 1.

    Columns first; SWAPPED: rows first.  EPS > 0: the released variant.  Each program computes BLOCK
    matrices.
    """
    FOUR: tl.constexpr = n == 4
    first = tl.program_id(0).to(tl.int64) * (BLOCK * n * n)
    places, inside = _places(count, n, N, BLOCK, SWAPPED)
    outside: tl.constexpr = 0.0 if FOUR else -float("inf")
    z = _load(z_pointer + first, places, inside, outside, FOUR, BLOCK, SWAPPED, REAL)
    z = _less_column_maxima(z, FOUR)
    if EPS > 0 or _range(z, FOUR) < TAME:
        k, _ = _base(z, EPS, FOUR, APPROXIMATE)
        u, v = _start(k, EPS, n, N, BLOCK, REAL, APPROXIMATE)
        for _ in range(iterations - (EPS > 0)):
            u, v = _iterated(k, u, v, EPS, FOUR, APPROXIMATE)
        p = _every(k, _outer(u, v, FOUR), FOUR)
    else:
        for _ in range(iterations):
            z = _log_rows(_log_columns(z, FOUR), FOUR)
        p = _exp(z, FOUR)
    _store(p_pointer + first, places, inside, p, FOUR, BLOCK, SWAPPED)


@triton.jit
def _plus_outer(s, u, v, FOUR: tl.constexpr):
    """s_ij + u_i v_j."""
    if FOUR:
        return (
            _plus_scaled(s[0], u[0], v),
            _plus_scaled(s[1], u[1], v),
            _plus_scaled(s[2], u[2], v),
            _plus_scaled(s[3], u[3], v),
        )
    else:
        return s + u * v


@triton.jit
def _plus_scaled(a, x, b):
    return a[0] + x * b[0], a[1] + x * b[1], a[2] + x * b[2], a[3] + x * b[3]


@triton.jit
def _kept(a, after, before, EPS: tl.constexpr, FOUR: tl.constexpr,
                   APPROXIMATE: tl.constexpr):  # fmt: skip
    """The part of a gradient that eps passes on to the scaling before a half step."""
    share = _each(_each(a, after, FOUR), _inverse(before, FOUR, APPROXIMATE), FOUR)
    if FOUR:
        return share[0] * EPS, share[1] * EPS, share[2] * EPS, share[3] * EPS
    else:
        return share * EPS


@triton.jit
def _repeated(k, u, v, times, EPS: tl.constexpr, FOUR: tl.constexpr, APPROXIMATE: tl.constexpr):
    for _ in range(times):
        u, v = _iterated(k, u, v, EPS, FOUR, APPROXIMATE)
    return u, v


@triton.jit
def _recorded(k, u, v, TIMES: tl.constexpr, EPS: tl.constexpr, FOUR: tl.constexpr,
              APPROXIMATE: tl.constexpr):  # fmt: skip
    """Every u of TIMES iterations and the one before them; every v too, but only if EPS > 0."""
    us = (u,)
    vs = (v,)
    for _ in tl.static_range(TIMES):
        u, v = _iterated(k, u, v, EPS, FOUR, APPROXIMATE)
        us = us + (u,)
        if EPS > 0:
            vs = vs + (v,)
    return us, vs, u, v


@triton.jit
def _back(k, s, a, c, us, vs, TIMES: tl.constexpr, EPS: tl.constexpr, FOUR: tl.constexpr,
          APPROXIMATE: tl.constexpr):  # fmt: skip
    """Go back over the recorded iterations: s = dL/dK, a = dL/d log u, c = -dL/d log v."""
    for step in tl.static_range(TIMES):
        u = us[TIMES - step]
        old_u = us[TIMES - step - 1]
        if EPS > 0:
            v = vs[TIMES - step]
        else:
            v = _inverse(_along_columns(k, old_u, FOUR), FOUR, APPROXIMATE)
        # The row step, Q = diag(u) K diag(v) ...
        au = _each(a, u, FOUR)
        s = _less_outer(s, au, v, FOUR)
        c = _add(c, _each(_along_columns(k, au, FOUR), v, FOUR), FOUR)
        # ... and the column step, Q = diag(old_u) K diag(v).
        cv = _each(c, v, FOUR)
        s = _plus_outer(s, old_u, cv, FOUR)
        onward = _each(_along_rows(k, cv, FOUR), old_u, FOUR)
        if EPS > 0:  # with eps, a step's new scaling depends on the old one
            a = _add(onward, _kept(a, u, old_u, EPS, FOUR, APPROXIMATE), FOUR)
            c = _kept(c, v, vs[TIMES - step - 1], EPS, FOUR, APPROXIMATE)
        else:
            a = onward
            c = _zero(c, FOUR)
    return s, a, c


@triton.jit
def _lot_back(k, s, a, c, u, v, before, EPS: tl.constexpr, FOUR: tl.constexpr,
              APPROXIMATE: tl.constexpr):  # fmt: skip
    """Go back over the LOT iterations that follow the first `before`."""
    u, v = _repeated(k, u, v, before, EPS, FOUR, APPROXIMATE)
    us, vs, u, v = _recorded(k, u, v, LOT, EPS, FOUR, APPROXIMATE)
    return _back(k, s, a, c, us, vs, LOT, EPS, FOUR, APPROXIMATE)


@triton.jit
def _zero(x, FOUR: tl.constexpr):
    if FOUR:
        zero = tl.zeros_like(x[0])
        return zero, zero, zero, zero
    else:
        return tl.zeros_like(x)


@triton.jit
def _through_logarithms(z, g, iterations, FOUR: tl.constexpr):
    """dL/d logits where u and v would overflow: recomputes every iteration from the start."""
    for back in range(iterations):
        x = z
        for _ in range(iterations - 1 - back):
            x = _log_rows(_log_columns(x, FOUR), FOUR)
        columns = _log_columns(x, FOUR)
        p = _exp(_log_rows(columns, FOUR), FOUR)
        if back == 0:
            g = _every(g, p, FOUR)
        g = _less_by_rows(g, p, _row_sums(g, FOUR), FOUR)
        g = _less_by_columns(g, _exp(columns, FOUR), _column_sums(g, FOUR), FOUR)
    return g


@triton.jit(do_not_specialize=["count"])
def sinkhorn_backward(z_pointer, g_pointer, out_pointer, count, iterations: tl.constexpr,
                      n: tl.constexpr, N: tl.constexpr, EPS: tl.constexpr, TAME: tl.constexpr,
                      SWAPPED: tl.constexpr, BLOCK: tl.constexpr, REAL: tl.constexpr,
                      APPROXIMATE: tl.constexpr):  # fmt: skip
    """dL/d logits from the logits and g = dL/dP; arguments as of `sinkhorn_forward`."""
    FOUR: tl.constexpr = n == 4
    first = tl.program_id(0).to(tl.int64) * (BLOCK * n * n)
    places, inside = _places(count, n, N, BLOCK, SWAPPED)
    outside: tl.constexpr = 0.0 if FOUR else -float("inf")
    z = _load(z_pointer + first, places, inside, outside, FOUR, BLOCK, SWAPPED, REAL)
    g = _load(g_pointer + first, places, inside, 0.0, FOUR, BLOCK, SWAPPED, REAL)
    z = _less_column_maxima(z, FOUR)
    if EPS > 0 or _range(z, FOUR) < TAME:
        # From the last iteration: first the remainder, then lots of LOT iterations.
        WHOLE: tl.constexpr = iterations - (EPS > 0)
        LOTS: tl.constexpr = ((WHOLE - 1) * (WHOLE > 1)) // LOT
        REST: tl.constexpr = WHOLE - LOTS * LOT
        k, softmax = _base(z, EPS, FOUR, APPROXIMATE)
        u0, v0 = _start(k, EPS, n, N, BLOCK, REAL, APPROXIMATE)
        u, v = _repeated(k, u0, v0, LOTS * LOT, EPS, FOUR, APPROXIMATE)
        us, vs, u, v = _recorded(k, u, v, REST, EPS, FOUR, APPROXIMATE)
        s = _every(g, _outer(u, v, FOUR), FOUR)
        gp = _every(s, k, FOUR)
        a = _row_sums(gp, FOUR)
        b = _column_sums(gp, FOUR)
        c = _less(_zero(b, FOUR), b, FOUR)
        s, a, c = _back(k, s, a, c, us, vs, REST, EPS, FOUR, APPROXIMATE)
        for lot in range(LOTS):
            before = (LOTS - 1 - lot) * LOT
            s, a, c = _lot_back(k, s, a, c, u0, v0, before, EPS, FOUR, APPROXIMATE)
        if EPS > 0:  # back over the released variant's first row step and its softmax
            s = _less_outer(s, _each(a, u0, FOUR), v0, FOUR)
            sp = _every(s, softmax, FOUR)
            out = _less_by_columns(sp, softmax, _column_sums(sp, FOUR), FOUR)
        else:
            out = _every(s, k, FOUR)
    else:
        out = _through_logarithms(z, g, iterations, FOUR)
    _store(out_pointer + first, places, inside, out, FOUR, BLOCK, SWAPPED)
