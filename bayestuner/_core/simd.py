"""The two innermost loops of scoring, written as vector instructions.

Numba has no vector types, and LLVM's own vectoriser keeps neither sixteen sums in registers nor a fixed order of operations. Both hold here
by construction, so that a cell's result has the same bits wherever it lies in a tile.

The functions take whole arrays and offsets into their contiguous data, and check nothing. Where compilation is switched off, functions of
the same names in plain numpy take their place; their docstrings say what is computed.
"""

from __future__ import annotations

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

ROWS = 4  # rows of the factor taken at a time
WIDE = bool(binding.get_host_cpu_features().get("avx512f", False))
LANES = 8 if WIDE else 4
VECTORS = 4 if WIDE else 2  # of LANES columns: with ROWS rows, the sums that fit into the registers

COLUMNS = LANES * VECTORS  # cells that `posterior_strip` takes at a time; `covariance_tile` takes LANES cells and LANES observations

F64, I64, I32 = ir.DoubleType(), ir.IntType(64), ir.IntType(32)
VECTOR = ir.VectorType(F64, LANES)
UNDEFINED = ir.Constant(VECTOR, ir.Undefined)


def _load(builder, pointer):
    loaded = builder.load(builder.bitcast(pointer, VECTOR.as_pointer()))
    loaded.align = 8
    return loaded


def _store(builder, value, pointer):
    builder.store(value, builder.bitcast(pointer, VECTOR.as_pointer())).align = 8


def _lanes(indices):
    return ir.Constant(ir.VectorType(I32, len(indices)), list(indices))


def _broadcast(builder, scalar):
    """A vector whose lanes are all `scalar`."""
    return builder.shuffle_vector(builder.insert_element(UNDEFINED, scalar, I32(0)), UNDEFINED, _lanes([0] * LANES))


def _fma(builder, x, y, z):
    name = f"llvm.fma.v{LANES}f64"
    function = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(VECTOR, [VECTOR] * 3), name)
    return builder.call(function, [x, y, z])


def _pointer(context, builder, array_type, array, offset):
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])


def _strip(builder, w, k, k_row, p, p_row, t, beta, n_blocks, mean, variance, floor):
    """LLVM code of `posterior_strip`; all but k_row, p_row, n_blocks and floor are pointers."""
    zero, columns = I64(0), range(VECTORS)

    def at(pointer, c):
        return builder.gep(pointer, [I64(c * LANES)])

    entry = builder.block
    rows, inner, after, done = (builder.append_basic_block(name) for name in ("rows", "inner", "after", "done"))
    start = [_load(builder, at(variance, c)) for c in columns]
    builder.branch(rows)

    builder.position_at_end(rows)
    block, w_at = builder.phi(I64), builder.phi(I64)
    m, v = [builder.phi(VECTOR) for _ in columns], [builder.phi(VECTOR) for _ in columns]
    for phi, value in ((block, zero), (w_at, zero)):
        phi.add_incoming(value, entry)
    for c in columns:
        m[c].add_incoming(ir.Constant(VECTOR, [0.0] * LANES), entry)
        v[c].add_incoming(start[c], entry)
    first = builder.mul(block, I64(ROWS))
    last = builder.add(first, I64(ROWS))
    sums = []
    for r in range(ROWS):
        i = builder.add(first, I64(r))
        offset, base = _broadcast(builder, builder.load(builder.gep(t, [i]))), builder.gep(p, [builder.mul(i, p_row)])
        sums.append([builder.fadd(offset, _load(builder, at(base, c))) for c in columns])
    builder.branch(inner)

    builder.position_at_end(inner)
    a = builder.phi(I64)
    a.add_incoming(zero, rows)
    before = [[builder.phi(VECTOR) for _ in columns] for _ in range(ROWS)]
    base = builder.gep(k, [builder.mul(a, k_row)])
    x = [_load(builder, at(base, c)) for c in columns]
    factors = builder.gep(w, [builder.add(w_at, builder.mul(a, I64(ROWS)))])
    total = []
    for r in range(ROWS):
        factor = _broadcast(builder, builder.load(builder.gep(factors, [I64(r)])))
        total.append([_fma(builder, factor, x[c], before[r][c]) for c in columns])
    following = builder.add(a, I64(1))
    a.add_incoming(following, inner)
    for r in range(ROWS):
        for c in columns:
            before[r][c].add_incoming(sums[r][c], rows)
            before[r][c].add_incoming(total[r][c], inner)
    builder.cbranch(builder.icmp_signed("<", following, last), inner, after)

    builder.position_at_end(after)
    m_next, v_next = list(m), list(v)
    for r in range(ROWS):
        b = _broadcast(builder, builder.load(builder.gep(beta, [builder.add(first, I64(r))])))
        for c in columns:
            m_next[c] = _fma(builder, b, total[r][c], m_next[c])
            v_next[c] = _fma(builder, builder.fneg(total[r][c]), total[r][c], v_next[c])
    block_next = builder.add(block, I64(1))
    block.add_incoming(block_next, after)
    w_at.add_incoming(builder.add(w_at, builder.mul(last, I64(ROWS))), after)
    for c in columns:
        m[c].add_incoming(m_next[c], after)
        v[c].add_incoming(v_next[c], after)
    builder.cbranch(builder.icmp_signed("<", block_next, n_blocks), rows, done)

    builder.position_at_end(done)
    lowest = _broadcast(builder, floor)
    for c in columns:
        _store(builder, m_next[c], at(mean, c))
        _store(builder, builder.select(builder.fcmp_ordered(">", v_next[c], lowest), v_next[c], lowest), at(variance, c))


def _transposed(builder, vectors):
    """LANES vectors of LANES entries, transposed by swapping ever larger halves."""
    step = 1
    while step < LANES:
        out = list(vectors)
        for i in range(LANES):
            if i & step == 0:
                low = [lane if lane & step == 0 else lane - step + LANES for lane in range(LANES)]
                high = [lane + step if lane & step == 0 else lane + LANES for lane in range(LANES)]
                out[i] = builder.shuffle_vector(vectors[i], vectors[i + step], _lanes(low))
                out[i + step] = builder.shuffle_vector(vectors[i], vectors[i + step], _lanes(high))
        vectors = out
        step *= 2
    return vectors


def _tile(builder, product, tables, n, groups, table_at, first_code, n_groups, out, trend, width):
    """LLVM code of `covariance_tile`; all but n, n_groups and width are pointers."""
    zero = I64(0)
    entry = builder.block
    loop, done = builder.append_basic_block("groups"), builder.append_basic_block("joined")
    builder.branch(loop)
    builder.position_at_end(loop)
    g = builder.phi(I64)
    g.add_incoming(zero, entry)
    parts, sums, new_parts, new_sums = [], [], [], []
    for _ in range(LANES):
        part, total = builder.phi(VECTOR), builder.phi(VECTOR)
        part.add_incoming(ir.Constant(VECTOR, [1.0 if product else 0.0] * LANES), entry)
        total.add_incoming(ir.Constant(VECTOR, [0.0] * LANES), entry)
        parts.append(part)
        sums.append(total)
    begin = builder.load(builder.gep(table_at, [g]))
    double = builder.mul(n, I64(2))
    for cell in range(LANES):
        code = builder.sext(builder.load(builder.gep(groups, [builder.add(builder.mul(first_code[cell], n_groups), g)])), I64)
        entry_at = builder.gep(tables, [builder.add(begin, builder.mul(code, double))])
        joined = _load(builder, entry_at)
        new_parts.append(builder.fmul(parts[cell], joined) if product else builder.fadd(parts[cell], joined))
        new_sums.append(builder.fadd(sums[cell], _load(builder, builder.gep(entry_at, [n]))))
    following = builder.add(g, I64(1))
    g.add_incoming(following, loop)
    for cell in range(LANES):
        parts[cell].add_incoming(new_parts[cell], loop)
        sums[cell].add_incoming(new_sums[cell], loop)
    builder.cbranch(builder.icmp_signed("<", following, n_groups), loop, done)
    builder.position_at_end(done)
    if product:
        new_parts = [builder.fadd(part, total) for part, total in zip(new_parts, new_sums, strict=True)]
    for i, row in enumerate(_transposed(builder, new_parts)):
        _store(builder, row, builder.gep(out, [builder.mul(width, I64(i))]))
    if not product:
        for i, row in enumerate(_transposed(builder, new_sums)):
            _store(builder, row, builder.gep(trend, [builder.mul(width, I64(i))]))


def _compiled_strip():
    @intrinsic
    def posterior_strip(
        typing_context, w, w_at, k, k_at, k_row, p, p_at, p_row, t, t_at, beta, beta_at, n_blocks, mean, variance, at, floor
    ):  # fmt: skip
        signature = types.void(w, w_at, k, k_at, k_row, p, p_at, p_row, t, t_at, beta, beta_at, n_blocks, mean, variance, at, floor)

        def generate(context, builder, signature, given):
            def pointer(array, offset):
                return _pointer(context, builder, signature.args[array], given[array], given[offset])

            _strip(
                builder, pointer(0, 1), pointer(2, 3), given[4], pointer(5, 6), given[7], pointer(8, 9), pointer(10, 11), given[12],
                pointer(13, 15), pointer(14, 15), given[16],
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, generate

    return posterior_strip


def _plain_strip(w, w_at, k, k_at, k_row, p, p_at, p_row, t, t_at, beta, beta_at, n_blocks, mean, variance, at, floor):
    """Mean and variance at COLUMNS cells, from a packed factor.

    With v = t + p + W k:  mean = beta . v,  variance = max(variance - v . v, floor), both at flat offset `at`. W comes in blocks of ROWS
    rows, each a run of columns (ROWS entries a column) as far as its diagonal; k and p begin at k_at and p_at and have rows k_row and p_row
    entries apart (0: the same row for all).
    """
    w, k, p, m, v = w.reshape(-1), k.reshape(-1), p.reshape(-1), mean.reshape(-1), variance.reshape(-1)
    cells = np.arange(COLUMNS)
    m[at + cells] = 0.0
    for block in range(n_blocks):
        last = (block + 1) * ROWS
        rows = w[w_at : w_at + last * ROWS].reshape(last, ROWS)
        w_at += last * ROWS
        for r in range(ROWS):
            i = block * ROWS + r
            total = t.reshape(-1)[t_at + i] + p[p_at + i * p_row + cells]
            for a in range(last):
                total = total + rows[a, r] * k[k_at + a * k_row + cells]
            m[at + cells] += beta.reshape(-1)[beta_at + i] * total
            v[at + cells] -= total * total
    v[at + cells] = np.maximum(v[at + cells], floor)


def _compiled_tile(product):
    @intrinsic
    def covariance_tile(
        typing_context, tables, tables_at, n, groups, table_at, first, last, n_groups, out, out_at, trend, trend_at, width
    ):  # fmt: skip
        signature = types.void(tables, tables_at, n, groups, table_at, first, last, n_groups, out, out_at, trend, trend_at, width)

        def generate(context, builder, signature, given):
            def pointer(array, offset):
                return _pointer(context, builder, signature.args[array], given[array], given[offset] if offset else I64(0))

            end = builder.sub(given[6], I64(1))
            rows = [builder.add(given[5], I64(c)) for c in range(LANES)]
            rows = [builder.select(builder.icmp_signed("<", row, end), row, end) for row in rows]
            _tile(
                builder, product, pointer(0, 1), given[2], pointer(3, 0), pointer(4, 0), rows, given[7], pointer(8, 9), pointer(10, 11),
                given[12],
            )  # fmt: skip
            return context.get_dummy_value()

        return signature, generate

    return covariance_tile


def _plain_tile(product):
    def covariance_tile(tables, tables_at, n, groups, table_at, first, last, n_groups, out, out_at, trend, trend_at, width):
        """Join, for LANES listed rows from `first` on (the last one repeated) and LANES observations, the tables of all groups of knobs.

        An entry of `tables`, at table_at[g] + 2 n code, is n parts of the correlation and n of the trend. In the product form `out` gets
        the product of the parts plus the sum of the trends; else `out` the sum of the parts and `trend` that of the trends. Both are
        stored with observations `width` entries apart.
        """
        flat = tables.reshape(-1)
        observations = np.arange(LANES)
        for c in range(LANES):
            part, total = np.full(LANES, 1.0 if product else 0.0), np.zeros(LANES)
            for g in range(n_groups):
                at = tables_at + table_at[g] + groups[min(first + c, last - 1), g] * 2 * n + observations
                part = part * flat[at] if product else part + flat[at]
                total = total + flat[at + n]
            out.reshape(-1)[out_at + c + observations * width] = part + total if product else part
            if not product:
                trend.reshape(-1)[trend_at + c + observations * width] = total

    return covariance_tile


if config.DISABLE_JIT:  # type: ignore[attr-defined] # set at run time
    posterior_strip, product_tile, sum_tile = _plain_strip, _plain_tile(True), _plain_tile(False)
else:
    posterior_strip, product_tile, sum_tile = _compiled_strip(), _compiled_tile(True), _compiled_tile(False)
