"""Ed25519 in plain Python: the tests' independent judge, and a forge for crafted signatures.

Slow and not constant time: for tests only. Points are pairs ``(x, y)`` on −x² + y² = 1 + d·x²·y²
over the field of 2²⁵⁵ − 19. Source: RFC 8032, section 5.1.
"""

from __future__ import annotations

import hashlib

Point = tuple[int, int]

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL: Point = (0, 1)


def add(p: Point, q: Point) -> Point:
    (x1, y1), (x2, y2) = p, q
    product = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P
    return x, y


def multiply(scalar: int, point: Point) -> Point:
    result = NEUTRAL
    while scalar > 0:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def recover_x(y: int, odd: int) -> int | None:
    """The x of this parity that belongs to ``y``, or None. (x = 0 is returned for either parity.)"""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    for root in (x, x * ROOT_OF_MINUS_ONE % P):
        if root * root % P == square:
            return root if root & 1 == odd else -root % P
    return None


def pack(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def unpack(data: bytes) -> Point | None:
    """Leniently: a y of P or more is reduced, a parity that x = 0 cannot have is ignored."""
    y = number(data) % 2**255 % P
    x = recover_x(y, data[31] >> 7)
    return None if x is None else (x, y)


def number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    return number(hashlib.sha512(r + key + message).digest()) % L


def secret_scalar(seed: bytes) -> int:
    return number(hashlib.sha512(seed).digest()[:32]) % 2**254 // 8 * 8 + 2**254


def forge(secret: int, key: bytes, nonce: int, r: bytes, message: bytes) -> bytes:
    """A signature under any encodings of key and R; honest when they are ``secret``·B and ``nonce``·B."""
    return r + ((nonce + challenge(r, key, message) * secret) % L).to_bytes(32, "little")


def sign(seed: bytes, message: bytes) -> bytes:
    """RFC 8032, section 5.1.6."""
    secret = secret_scalar(seed)
    nonce = number(hashlib.sha512(hashlib.sha512(seed).digest()[32:] + message).digest()) % L
    return forge(secret, pack(multiply(secret, BASE)), nonce, pack(multiply(nonce, BASE)), message)


def difference(key: bytes, message: bytes, signature: bytes) -> Point | None:
    """R + h·A − S·B with everything decoded leniently, or None if that is impossible."""
    a, r = unpack(key), unpack(signature[:32])
    if a is None or r is None:
        return None
    h = challenge(signature[:32], key, message)
    x, y = multiply(number(signature[32:]) % L, BASE)
    return add(add(r, multiply(h, a)), (-x % P, y))


def cofactored(key: bytes, message: bytes, signature: bytes) -> bool:
    """The equation with both sides multiplied by 8."""
    rest = difference(key, message, signature)
    return rest is not None and multiply(8, rest) == NEUTRAL


def prime_order(data: bytes) -> bool:
    """Whether ``data`` is the canonical encoding of a point of order L."""
    point = unpack(data)
    return point not in (None, NEUTRAL) and pack(point) == data and multiply(L, point) == NEUTRAL


def strict(key: bytes, message: bytes, signature: bytes) -> bool:
    """The rule of the chapter, in its longest form: nothing is left to follow from something else."""
    points_fine = prime_order(key) and prime_order(signature[:32])
    return points_fine and number(signature[32:]) < L and difference(key, message, signature) == NEUTRAL


def find_torsion() -> Point:
    """A generator of the eight points whose order divides 8."""
    for y in range(2, 100):
        x = recover_x(y, 0)
        if x is not None and multiply(4 * L, (x, y)) != NEUTRAL:
            return multiply(L, (x, y))
    raise LookupError


BASE_Y = 4 * pow(5, -1, P) % P
BASE: Point = (recover_x(BASE_Y, 0) or 0, BASE_Y)
TORSION = find_torsion()
SMALL_ORDER = [multiply(k, TORSION) for k in range(8)]
