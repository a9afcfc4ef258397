"""exp, log and the normal distribution's tails as branch-free polynomials, so that LLVM turns loops over them into vector code.

numba's own math.exp and math.log are scalar calls. The single-precision functions serve only to rule cells out (`_core.screen`), and tests
bound their errors; the double-precision `exp_negative` is as good as the library's. Coefficients are minimax fits of the relative error.
"""

from __future__ import annotations

import math
import struct

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config
from numba.extending import intrinsic

from bayestuner._core.options import inlined

F32 = np.float32
ONE, HALF, TWO = F32(1.0), F32(0.5), F32(2.0)
LOG2_E = F32(math.log2(math.e))
LN2_HIGH, LN2_LOW = F32(0.693359375), F32(math.log(2.0) - 0.693359375)
LN2 = F32(math.log(2.0))
LOWEST_EXPONENT = F32(-87.0)
TINY = F32(1.2e-38)
TAIL_SCALE = F32(0.4)  # of the substitution t = 1 / (1 + 0.4 a), under which the tails are smooth down to a = inf

# exp(r) on |r| <= ln(2) / 2, relative error 8e-8 and, in double precision, 4e-20; log(1 + f) / f on 1/sqrt(2) <= 1 + f <= sqrt(2), 2e-7
EXP32 = np.array([1.0000000717, 0.99999969199, 0.49998894852, 0.16667574724, 0.041915381975, 0.0082976554354], dtype=np.float32)
EXP64 = np.array([
    1.0, 1.0, 0.5, 0.16666666666666702, 0.041666666666665936, 0.008333333333310084, 0.0013888888889141851, 0.00019841269908154173,
    2.4801586915581425e-05, 2.7557225844340408e-06, 2.755757410950235e-07, 2.511460106759469e-08, 2.0832018414637506e-09,
])  # fmt: skip
LOG32 = np.array(
    [0.9999999453, -0.50000365123, 0.33335058954, -0.24969909097, 0.19900165195, -0.17250828983, 0.16222582614, -0.10106900617],
    dtype=np.float32,
)
# with s = 2 t - 1: Phi(-a) / phi(a) = t p(s), relative error 7e-7; 1 - a Phi(-a) / phi(a) = t^2 q(s), 1e-6
MILLS = np.array(
    [0.708530064, 0.43483758141, 0.13234163559, -0.0091984219386, -0.016449875453, 0.0013671157233, 0.0025561725994, -0.00034978685490,
     -0.00032121121108],
    dtype=np.float32,
)  # fmt: skip
SHORTFALL = np.array(
    [0.45734856457, 0.45373998761, 0.14770207408, -0.041052192765, -0.029704409219, 0.0097050591146, 0.0052581593462, -0.0028624452814,
     -0.00060479041013, 0.00046901737349],
    dtype=np.float32,
)  # fmt: skip


def _bit_cast(numba_type, llvm_type, width, pack, unpack):
    """Reinterpret the bits of a number (of the lowest `width` bits of an integer); in plain Python where nothing is compiled."""
    if config.DISABLE_JIT:  # type: ignore[attr-defined] # set at run time
        result = np.dtype(str(numba_type)).type
        return lambda x: result(struct.unpack(unpack, struct.pack(pack, x))[0])

    @intrinsic
    def cast(typing_context, x):
        def generate(context, builder, signature, arguments):
            bits = arguments[0]
            if isinstance(bits.type, ir.IntType) and bits.type.width > width:  # numba adds two int32 to an int64
                bits = builder.trunc(bits, ir.IntType(width))
            return builder.bitcast(bits, llvm_type)

        return numba_type(x), generate

    return cast


float32_of_bits = _bit_cast(types.float32, ir.FloatType(), 32, "=i", "=f")
bits_of_float32 = _bit_cast(types.int32, ir.IntType(32), 32, "=f", "=i")
float64_of_bits = _bit_cast(types.float64, ir.DoubleType(), 64, "=q", "=d")


@inlined(fast=True)
def exp32(x):
    """exp(x) for x <= 0 in single precision; exp(-87) below that."""
    x = max(x, LOWEST_EXPONENT)
    power = np.floor(x * LOG2_E + HALF)
    r = (x - power * LN2_HIGH) - power * LN2_LOW
    p = EXP32[0] + r * (EXP32[1] + r * (EXP32[2] + r * (EXP32[3] + r * (EXP32[4] + r * EXP32[5]))))
    return p * float32_of_bits((np.int32(power) + np.int32(127)) << np.int32(23))


@inlined(fast=True)
def log32(x):
    """log(x) in single precision for 1.2e-38 <= x < inf; the value at 1.2e-38 below that."""
    bits = bits_of_float32(max(x, TINY)) - np.int32(0x3F3504F3)  # 1/sqrt(2)
    power = bits >> np.int32(23)
    f = float32_of_bits((bits & np.int32(0x7FFFFF)) + np.int32(0x3F3504F3)) - ONE
    p = LOG32[4] + f * (LOG32[5] + f * (LOG32[6] + f * LOG32[7]))
    return np.float32(power) * LN2 + f * (LOG32[0] + f * (LOG32[1] + f * (LOG32[2] + f * (LOG32[3] + f * p))))


@inlined(fast=True)
def tail32(a):
    """Phi(-a) / phi(a) for a >= 0 in single precision."""
    t = ONE / (ONE + TAIL_SCALE * a)
    s = TWO * t - ONE
    p = MILLS[4] + s * (MILLS[5] + s * (MILLS[6] + s * (MILLS[7] + s * MILLS[8])))
    return t * (MILLS[0] + s * (MILLS[1] + s * (MILLS[2] + s * (MILLS[3] + s * p))))


@inlined(fast=True)
def shortfall32(a):
    """h(-a) / phi(a) = 1 - a Phi(-a) / phi(a) for a >= 0 in single precision, without its cancellation."""
    t = ONE / (ONE + TAIL_SCALE * a)
    s = TWO * t - ONE
    p = SHORTFALL[5] + s * (SHORTFALL[6] + s * (SHORTFALL[7] + s * (SHORTFALL[8] + s * SHORTFALL[9])))
    return t * t * (SHORTFALL[0] + s * (SHORTFALL[1] + s * (SHORTFALL[2] + s * (SHORTFALL[3] + s * (SHORTFALL[4] + s * p)))))


@inlined()
def exp_negative(x):
    """exp(x) for x <= 0 to double precision; exp(-708) below that."""
    x = max(x, -708.0)
    power = np.floor(x * 1.4426950408889634 + 0.5)
    r = (x - power * 0.6931471803691238) - power * 1.9082149292705877e-10  # ln 2 in two parts: the first has trailing zeros
    p = EXP64[7] + r * (EXP64[8] + r * (EXP64[9] + r * (EXP64[10] + r * (EXP64[11] + r * EXP64[12]))))
    p = EXP64[0] + r * (EXP64[1] + r * (EXP64[2] + r * (EXP64[3] + r * (EXP64[4] + r * (EXP64[5] + r * (EXP64[6] + r * p))))))
    return p * float64_of_bits((np.int64(power) + 1023) << 52)
