"""Points of edwards25519 in plain Python, to forge what no honest peer signs (chapter ``identity``).

Points are pairs (x, y) on −x² + y² = 1 + d·x²·y² over the field of p = 2²⁵⁵ − 19 elements. Source: RFC 8032,
section 5.1. Slow, and not constant in time.
"""

from __future__ import annotations

import hashlib

from btard.protocol.identity import GROUP_ORDER

Point = tuple[int, int]

FIELD = 2**255 - 19
"""p."""
CURVE = -121665 * pow(121666, -1, FIELD) % FIELD
"""d."""
ROOT_OF_MINUS_ONE = pow(2, (FIELD - 1) // 4, FIELD)
NEUTRAL: Point = (0, 1)
"""O."""


def add(left: Point, right: Point) -> Point:
    """The sum of two points."""
    (x1, y1), (x2, y2) = left, right
    mixed = CURVE * x1 * x2 * y1 * y2 % FIELD
    x = (x1 * y2 + x2 * y1) * pow(1 + mixed, -1, FIELD)
    y = (y1 * y2 + x1 * x2) * pow(1 - mixed, -1, FIELD)
    return x % FIELD, y % FIELD


def negated(point: Point) -> Point:
    """The point that gives O together with ``point``."""
    return -point[0] % FIELD, point[1]


def multiply(scalar: int, point: Point) -> Point:
    """``scalar`` times ``point``."""
    result = NEUTRAL
    for bit in bin(scalar)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def recover_x(y: int, odd: int) -> int | None:
    """The x of this parity that belongs to ``y``, if there is one; 0 has no odd one, and is given for both."""
    square = (y * y - 1) * pow(CURVE * y * y + 1, -1, FIELD) % FIELD
    root = pow(square, (FIELD + 3) // 8, FIELD)
    for x in (root, root * ROOT_OF_MINUS_ONE % FIELD):
        if x * x % FIELD == square:
            return x if x % 2 == odd else -x % FIELD
    return None


def little(value: int) -> bytes:
    """32 bytes, little-endian."""
    return value.to_bytes(32, "little")


def number(data: bytes) -> int:
    """Inverse of :func:`little`, for any length."""
    return int.from_bytes(data, "little")


def pack(point: Point) -> bytes:
    """The canonical encoding."""
    return little(point[1] | point[0] % 2 << 255)


def unpack(data: bytes) -> Point | None:
    """A lenient decoder's point: a y of p or more is reduced, and the parity of x = 0 ignored."""
    y = number(data) % 2**255 % FIELD
    x = recover_x(y, data[31] >> 7)
    return None if x is None else (x, y)


def challenge(commitment: bytes, key: bytes, message: bytes) -> int:
    """h."""
    return number(hashlib.sha512(commitment + key + message).digest()) % GROUP_ORDER


def secret_scalar(seed: bytes) -> int:
    """The secret multiplier that belongs to a seed (RFC 8032, section 5.1.5)."""
    return number(hashlib.sha512(seed).digest()[:32]) % 2**254 // 8 * 8 + 2**254


def forge(secret: int, key: bytes, nonce: int, commitment: bytes, message: bytes) -> bytes:
    """The signature whose S fits ``nonce``, whatever ``key`` and ``commitment`` encode."""
    return commitment + little((nonce + challenge(commitment, key, message) * secret) % GROUP_ORDER)


def rest(key: bytes, message: bytes, signature: bytes) -> Point | None:
    """R + h·A − S·B with everything decoded leniently: O where the equation holds. None: no points."""
    point, commitment = unpack(key), unpack(signature[:32])
    if point is None or commitment is None:
        return None
    claimed = add(commitment, multiply(challenge(signature[:32], key, message), point))
    return add(claimed, negated(multiply(number(signature[32:64]) % GROUP_ORDER, BASE)))


def holds(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a verifier that decodes leniently and asks for nothing but the equation accepts."""
    return rest(key, message, signature) == NEUTRAL


def holds_times_eight(key: bytes, message: bytes, signature: bytes) -> bool:
    """The same with both sides of the equation multiplied by the cofactor."""
    point = rest(key, message, signature)
    return point is not None and multiply(8, point) == NEUTRAL


def find_torsion() -> Point:
    """A point of order 8."""
    for y in range(2, 100):
        x = recover_x(y, 0)
        if x is not None:
            point = multiply(GROUP_ORDER, (x, y))
            if multiply(4, point) != NEUTRAL:
                return point
    raise LookupError


BASE_Y = 4 * pow(5, -1, FIELD) % FIELD
BASE: Point = (recover_x(BASE_Y, 0) or 0, BASE_Y)
"""B."""
TORSION = find_torsion()
"""T."""
SMALL_ORDER = [multiply(k, TORSION) for k in range(8)]
"""The multiples of T."""


def second_encodings() -> list[bytes]:
    """Every encoding of a point that is not canonical: y of p or more, or an odd x = 0."""
    reduced = [(y, odd) for y in range(19) for odd in (0, 1) if recover_x(y, odd) is not None]
    odd_zeros = [little(1 | 1 << 255), little(FIELD - 1 | 1 << 255)]
    return [little(y + FIELD | odd << 255) for y, odd in reduced] + odd_zeros
