"""The tests' independent judge of Ed25519, in plain Python, on the curve that the vectors are forged with.

Slow and not constant time: for tests only. Source: RFC 8032, section 5.1.
"""

from __future__ import annotations

import hashlib

from btard.conformance.vectors.edwards import (
    BASE,
    NEUTRAL,
    SMALL_ORDER,
    Point,
    add,
    forge,
    multiply,
    number,
    pack,
    recover_x,
    secret_scalar,
    unpack,
)
from btard.conformance.vectors.edwards import FIELD as P
from btard.conformance.vectors.edwards import holds_times_eight as cofactored
from btard.conformance.vectors.edwards import rest as difference

__all__ = [
    "BASE", "NEUTRAL", "SMALL_ORDER", "L", "P", "Point", "add", "cofactored", "difference", "forge", "multiply",
    "number", "pack", "prime_order", "recover_x", "secret_scalar", "sign", "strict", "unpack",
]  # fmt: skip

L = 2**252 + 27742317777372353535851937790883648493
"""Written down once more, as RFC 8032 has it."""


def sign(seed: bytes, message: bytes) -> bytes:
    """RFC 8032, section 5.1.6."""
    secret = secret_scalar(seed)
    nonce = number(hashlib.sha512(hashlib.sha512(seed).digest()[32:] + message).digest()) % L
    return forge(secret, pack(multiply(secret, BASE)), nonce, pack(multiply(nonce, BASE)), message)


def prime_order(data: bytes) -> bool:
    """Whether ``data`` is the canonical encoding of a point of order L."""
    point = unpack(data)
    return point not in (None, NEUTRAL) and pack(point) == data and multiply(L, point) == NEUTRAL


def strict(key: bytes, message: bytes, signature: bytes) -> bool:
    """The rule of the chapter, in its longest form: nothing is left to follow from something else."""
    points_fine = prime_order(key) and prime_order(signature[:32])
    return points_fine and number(signature[32:]) < L and difference(key, message, signature) == NEUTRAL
