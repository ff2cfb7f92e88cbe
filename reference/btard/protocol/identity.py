"""Identity: Ed25519 keys and signatures, with one verdict for every byte string (chapter ``identity``).

Libraries disagree on crafted keys and signatures, and a disagreement would split honest peers. So
the edge cases are decided here, and the library is asked only where all of them agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from nacl.bindings import (
    crypto_core_ed25519_is_valid_point,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import BadSignatureError

from btard.protocol.model import PeerId, ProtocolError

SEED_BYTES = 32
KEY_BYTES = 32
DIGEST_BYTES = 32
SIGNATURE_BYTES = 64
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
"""L, the prime order of the group that the base point generates."""
NEUTRAL_POINT = (1).to_bytes(32, "little")
"""The encoding of the neutral element, the only point of the prime-order subgroup that has small order."""

COFACTOR_PROBE = (
    bytes.fromhex("3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"),
    bytes(32),
    bytes.fromhex("98519eadf35b995233b51b5cd23e9cc5a28b639b5a4af0ec903cb960d81b7819")
    + bytes.fromhex("199a38ecabf5c6c9d107ae4d755a39799edeba4bc13febf2f828bb6d2b27480f"),
)
"""Key of seed 0³², digest 0³², and a signature with R = B + T, T of order 8: valid only with the cofactor."""


class BadKey(ProtocolError):
    """A public key that no peer may have."""


@dataclass(frozen=True, repr=False)
class Identity:
    """A peer's key pair, made from a secret ``seed`` of 32 bytes; equal and printed by its public half.

    Raises ValueError for a seed of another length. Source: ID-1.
    """

    seed: bytes = field(compare=False)
    peer_id: PeerId = field(init=False)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise ValueError(f"a seed has {SEED_BYTES} bytes")
        public, _ = crypto_sign_seed_keypair(self.seed)  # requirement: ID-1
        object.__setattr__(self, "peer_id", public)

    def __repr__(self) -> str:
        return f"Identity({self.peer_id.hex()})"

    def sign(self, digest: bytes) -> bytes:
        """The signature of a 32-byte digest, 64 bytes, deterministic; else ValueError. Source: ID-3."""
        if len(digest) != DIGEST_BYTES:
            raise ValueError(f"only digests of {DIGEST_BYTES} bytes are signed")  # requirement: ID-3
        signed: bytes = crypto_sign(digest, self.seed + self.peer_id)
        return signed[:SIGNATURE_BYTES]


def check_public_key(key: bytes) -> None:
    """Raise :class:`BadKey` unless ``key`` may be a peer id. Source: ID-2."""
    if not admissible(key):
        raise BadKey("a peer id is the canonical encoding of a point of prime order on edwards25519")


@lru_cache(maxsize=4096)
def admissible(key: bytes) -> bool:
    """Whether ``key`` has 32 bytes, is canonical, on the curve, and a point of order L exactly.

    Needs a libsodium without CVE-2025-69277, whose check let points of order 2L pass. Source: ID-2.
    """
    return len(key) == KEY_BYTES and crypto_core_ed25519_is_valid_point(key)  # requirement: ID-2


@lru_cache(maxsize=16384)
def verify(peer_id: PeerId, digest: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is ``peer_id``'s signature of ``digest``; False for any other bytes.

    Never raises. A pure function, cached since signed bytes arrive along several paths.
    Source: ID-4 to ID-6.
    """
    if len(digest) != DIGEST_BYTES or len(signature) != SIGNATURE_BYTES or not admissible(peer_id):
        return False  # requirement: ID-4
    commitment, response = signature[:32], int.from_bytes(signature[32:], "little")
    if response >= GROUP_ORDER or commitment == NEUTRAL_POINT:
        return False  # requirement: ID-5
    return equation_holds(peer_id, digest, signature)  # requirement: ID-6


def equation_holds(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether R equals S·B − H(R, A, M)·A byte for byte, for an admissible key A and canonical S.

    If the library multiplies both sides by the cofactor, R must also lie in the prime-order
    subgroup; with A in it, the two equations are then equivalent.
    """
    if not LIBRARY_COMPARES_BYTES and not crypto_core_ed25519_is_valid_point(signature[:32]):
        return False
    return library_accepts(key, message, signature)


def library_accepts(key: bytes, message: bytes, signature: bytes) -> bool:
    """What libsodium says; ``key`` has 32 and ``signature`` 64 bytes."""
    try:
        crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


LIBRARY_COMPARES_BYTES = not library_accepts(*COFACTOR_PROBE)
"""True for libsodium's releases up to 1.0.22; its main branch multiplies by the cofactor since 2022."""
