"""Vectors of chapter ``identity``."""

from __future__ import annotations

import hashlib
from typing import Any

from btard.conformance.vectors.cases import Chapter, VectorError, operation
from btard.conformance.vectors.edwards import (
    BASE,
    NEUTRAL,
    SMALL_ORDER,
    add,
    challenge,
    forge,
    holds,
    holds_times_eight,
    little,
    multiply,
    negated,
    number,
    pack,
    second_encodings,
    secret_scalar,
    unpack,
)
from btard.protocol.encoding import tagged_hash
from btard.protocol.identity import (
    COFACTOR_PROBE,
    DIGEST_BYTES,
    GROUP_ORDER,
    SEED_BYTES,
    Identity,
    admissible,
    verify,
)

FLAGS = {
    "not-clamped": "multiplies the base point by the hash of the seed without setting and clearing its bits",
    "wrong-length": "takes a seed, key, digest or signature of another length, cut or padded",
    "random-nonce": "signs with another nonce than RFC 8032's: a repeated run gives other bytes",
    "other-scheme": "hashes the digest once more, adds a context, or hashes R, key and digest in another order",
    "second-encoding": "takes a point's encoding with y ≥ p, or with the highest bit set where x = 0",
    "off-curve": "takes 32 bytes that encode no point",
    "small-order": "takes a key or an R of small order",
    "mixed-order": "takes a key on the curve without asking whether it lies in the prime-order subgroup",
    "order-2l": "compares only x after the multiplication by L: points of order 2L pass (CVE-2025-69277)",
    "great-s": "takes S ≥ L: anybody can turn one signature into another",
    "cofactor": "multiplies the equation by 8: takes an R outside of the prime-order subgroup",
    "equation-only": "checks the equation with leniently decoded points, and nothing else",
    "not-checked": "takes a signature that does not satisfy the equation",
}


@operation("identity.peer_id", "`seed`: bytes", "bytes: the peer id; refused if the seed has not 32 bytes")
def compute_peer_id(given: dict[str, Any]) -> str:
    """ID-1."""
    return owner(given["seed"]).peer_id.hex()


@operation("identity.admissible", "`key`: bytes", "whether the key may be in a roster")
def compute_admissible(given: dict[str, Any]) -> bool:
    """ID-2."""
    return admissible(bytes.fromhex(given["key"]))


@operation("identity.sign", "`seed`, `digest`: bytes", "bytes: the signature; refused if the digest has not 32 bytes")
def compute_sign(given: dict[str, Any]) -> str:
    """ID-3."""
    digest = bytes.fromhex(given["digest"])
    if len(digest) != DIGEST_BYTES:
        raise VectorError("only digests of 32 bytes are signed")
    return owner(given["seed"]).sign(digest).hex()


@operation("identity.verify", "`key`, `digest`, `signature`: bytes of any lengths", "whether the signature is valid")
def compute_verify(given: dict[str, Any]) -> bool:
    """ID-4 to ID-6."""
    return verify(*(bytes.fromhex(given[name]) for name in ("key", "digest", "signature")))


def owner(seed: str) -> Identity:
    """Who has this seed; raises :class:`VectorError`."""
    if len(seed) != 2 * SEED_BYTES:
        raise VectorError("a seed has 32 bytes")
    return Identity(bytes.fromhex(seed))


SEED = bytes(range(32))
DIGEST = tagged_hash("btard/example", b"abc")
SECRET = secret_scalar(SEED)
KEY_POINT = multiply(SECRET, BASE)
KEY = pack(KEY_POINT)
NONCE = number(hashlib.sha512(b"nonce").digest()) % GROUP_ORDER
COMMITMENT_POINT = multiply(NONCE, BASE)
COMMITMENT = pack(COMMITMENT_POINT)
"""An R whose logarithm, the nonce, is known."""
HONEST = forge(SECRET, KEY, NONCE, COMMITMENT, DIGEST)
"""A valid signature, though with another nonce than that of RFC 8032."""


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("identity", FLAGS)
    for add_some in (add_ids, add_keys, add_signing, add_valid, add_lengths, add_flips, add_forged, add_lent_keys):
        add_some(made)
    return made


def add_ids(made: Chapter) -> None:
    """ID-1."""
    for name, seed in (("counting", SEED), ("zeros", bytes(32)), ("ones", b"\xff" * 32)):
        bare = number(hashlib.sha512(seed).digest()[:32]) % GROUP_ORDER
        made.right(name, "identity.peer_id", "ID-1", seed=seed.hex())
        made.trap(
            f"{name}-clamped", "identity.peer_id", "ID-1", "not-clamped", pack(multiply(bare, BASE)).hex(),
            seed=seed.hex(),
        )  # fmt: skip
    for length in (0, 31, 33, 64):
        made.refused(f"{length}-bytes", "identity.peer_id", "ID-1", "wrong-length", seed=(SEED * 2)[:length].hex())


BAD_KEYS: dict[str, dict[str, bytes]] = {
    "small-order": {f"{k}-t": pack(SMALL_ORDER[k]) for k in range(8)},
    "mixed-order": {f"a-plus-{k}-t": pack(add(KEY_POINT, SMALL_ORDER[k])) for k in range(1, 8)},
    "order-2l": {f"{k}-b-plus-4-t": pack(add(multiply(k, BASE), SMALL_ORDER[4])) for k in (1, 2, 3, GROUP_ORDER - 1)},
    "second-encoding": {f"second-encoding-{k}": data for k, data in enumerate(second_encodings())},
    "off-curve": {f"y-{y}": little(y) for y in range(20) if unpack(little(y)) is None} | {"all-ones": b"\xff" * 32},
    "wrong-length": {"empty": b"", "31-bytes": KEY[:31], "33-bytes": KEY + b"\0", "64-bytes": KEY + KEY},
}
"""By mistake: keys that nobody may have."""


def add_keys(made: Chapter) -> None:
    """ID-2."""
    keys = {"seed-counting": KEY, "base-point": pack(BASE), "minus-base-point": pack(negated(BASE))}
    for name, key in {**keys, "seed-zeros": Identity(bytes(32)).peer_id}.items():
        made.right(name, "identity.admissible", "ID-2", key=key.hex())
    for flag, bad in BAD_KEYS.items():
        for name, key in bad.items():
            made.trap(name, "identity.admissible", "ID-2", flag, True, key=key.hex())


def add_signing(made: Chapter) -> None:
    """ID-3."""
    for name, digest in (("example", DIGEST), ("zeros", bytes(32)), ("ones", b"\xff" * 32)):
        case = {"seed": SEED.hex(), "digest": digest.hex()}
        made.right(name, "identity.sign", "ID-3", **case)
        for other, signature in other_signatures(digest).items():
            flag = "random-nonce" if other == "nonce" else "other-scheme"
            made.trap(f"{name}-{other}", "identity.sign", "ID-3", flag, signature.hex(), **case)
    for length in (0, 31, 33, 64):
        made.refused(
            f"{length}-bytes", "identity.sign", "ID-3", "wrong-length", seed=SEED.hex(), digest=bytes(length).hex()
        )


def other_signatures(digest: bytes) -> dict[str, bytes]:
    """Signatures of other schemes that are easily taken for RFC 8032's."""
    prefix = hashlib.sha512(SEED).digest()[32:]
    hashed = hashlib.sha512(digest).digest()
    context = b"SigEd25519 no Ed25519 collisions" + bytes([0, 0])
    h = number(hashlib.sha512(KEY + COMMITMENT + digest).digest()) % GROUP_ORDER
    return {
        "nonce": forge(SECRET, KEY, NONCE, COMMITMENT, digest),
        "hashed-first": signed(prefix, hashed),
        "context": signed(prefix, digest, context),
        "key-first": COMMITMENT + little((NONCE + h * SECRET) % GROUP_ORDER),
    }


def signed(prefix: bytes, message: bytes, context: bytes = b"") -> bytes:
    """The deterministic signature of RFC 8032, with ``context`` in front of both hashes."""
    nonce = number(hashlib.sha512(context + prefix + message).digest()) % GROUP_ORDER
    commitment = pack(multiply(nonce, BASE))
    h = number(hashlib.sha512(context + commitment + KEY + message).digest()) % GROUP_ORDER
    return commitment + little((nonce + h * SECRET) % GROUP_ORDER)


def add_valid(made: Chapter) -> None:
    """ID-6: what must be taken."""
    keys = {"counting": SEED, "zeros": bytes(32), "ones": b"\xff" * 32}
    for name, seed in keys.items():
        peer = Identity(seed)
        case = {"key": peer.peer_id.hex(), "digest": DIGEST.hex(), "signature": peer.sign(DIGEST).hex()}
        made.right(name, "identity.verify", "ID-6", **case)
    made.right("own-nonce", "identity.verify", "ID-6", **case_of(HONEST))
    short = forge(SECRET, KEY, 1, pack(BASE), DIGEST)
    made.right("nonce-1", "identity.verify", "ID-6", **case_of(short))
    base = forge(1, pack(BASE), NONCE, COMMITMENT, DIGEST)
    made.right("base-point-as-key", "identity.verify", "ID-6", **case_of(base, pack(BASE)))


def case_of(signature: bytes, key: bytes = KEY, digest: bytes = DIGEST) -> dict[str, str]:
    """The input of ``identity.verify``."""
    return {"key": key.hex(), "digest": digest.hex(), "signature": signature.hex()}


def add_lengths(made: Chapter) -> None:
    """ID-4: lengths. What is signed here is valid, but for its length."""
    for length in (0, 31, 33, 64):
        message = (DIGEST * 2)[:length]
        signature = forge(SECRET, KEY, NONCE, COMMITMENT, message)
        made.trap(
            f"digest-of-{length}", "identity.verify", "ID-4", "wrong-length", holds(KEY, message, signature),
            **case_of(signature, digest=message),
        )  # fmt: skip
    moved = forge(SECRET, KEY, NONCE, COMMITMENT, bytes(33))
    others = {
        "empty": (b"", DIGEST),
        "63-bytes": (HONEST[:63], DIGEST),
        "65-bytes": (HONEST + b"\0", DIGEST),
        "byte-of-the-digest": (moved + b"\0", bytes(32)),
        "128-bytes": (HONEST + HONEST, DIGEST),
    }
    for name, (signature, digest) in others.items():
        case = case_of(signature, digest=digest)
        made.trap(f"signature-{name}", "identity.verify", "ID-4", "wrong-length", True, **case)
    for name, key in (("31-bytes", KEY[:31]), ("33-bytes", KEY + b"\0"), ("empty", b"")):
        made.trap(f"key-{name}", "identity.verify", "ID-4", "wrong-length", True, **case_of(HONEST, key))


def add_flips(made: Chapter) -> None:
    """ID-6: one bit changed, or another key, digest or half."""
    for place in (0, 5, 254, 255, 256, 300, 507, 508):
        made.trap(
            f"flipped-signature-{place}", "identity.verify", "ID-6", "not-checked", True, **case_of(flip(HONEST, place))
        )
    for place in (0, 128, 255):
        case = case_of(HONEST, digest=flip(DIGEST, place))
        made.trap(f"flipped-digest-{place}", "identity.verify", "ID-6", "not-checked", True, **case)
    other = Identity(bytes(32))
    wrong = {
        "other-key": case_of(HONEST, other.peer_id),
        "other-signer": case_of(other.sign(DIGEST)),
        "minus-key": case_of(HONEST, pack(negated(KEY_POINT))),
        "minus-r": case_of(forge(SECRET, KEY, NONCE, pack(negated(COMMITMENT_POINT)), DIGEST)),
        "minus-s": case_of(COMMITMENT + little(GROUP_ORDER - number(HONEST[32:]))),
        "halves-swapped": case_of(HONEST[32:] + HONEST[:32]),
        "s-big-endian": case_of(COMMITMENT + HONEST[:31:-1]),
        "s-zero": case_of(COMMITMENT + bytes(32)),
        "all-zero": case_of(bytes(64)),
        "r-zero": case_of(bytes(32) + HONEST[32:]),
        "r-off-curve": case_of(forge(SECRET, KEY, NONCE, little(2), DIGEST)),
        "all-ones": case_of(b"\xff" * 64),
    }
    for name, case in wrong.items():
        made.trap(name, "identity.verify", "ID-6", "not-checked", True, **case)


def flip(data: bytes, place: int) -> bytes:
    """``data`` with one bit turned; bits count from the lowest of the first byte."""
    return little_of(number(data) ^ 1 << place, len(data))


def little_of(value: int, length: int) -> bytes:
    """``length`` bytes, little-endian."""
    return value.to_bytes(length, "little")


def add_forged(made: Chapter) -> None:
    """ID-5 and ID-6: crafted signatures under an honest key. Each satisfies what a lenient verifier asks for."""
    s = number(HONEST[32:])
    for k in (1, 2, 7, 14):
        great = COMMITMENT + little(s + k * GROUP_ORDER)
        made.trap(f"s-plus-{k}-l", "identity.verify", "ID-5", "great-s", holds(KEY, DIGEST, great), **case_of(great))
    made.trap("r-is-o-great-s", "identity.verify", "ID-5", "great-s", True, **case_of(neutral_signature(GROUP_ORDER)))
    barely = COMMITMENT + little(GROUP_ORDER)
    made.trap("s-is-l", "identity.verify", "ID-5", "great-s", True, **case_of(barely))
    for k, point in enumerate(SMALL_ORDER):
        small = forge(SECRET, KEY, 0, pack(point), DIGEST)
        lenient = holds(KEY, DIGEST, small) if point == NEUTRAL else holds_times_eight(KEY, DIGEST, small)
        made.trap(f"r-is-{k}-t", "identity.verify", "ID-5", "small-order", lenient, **case_of(small))
    for k, data in enumerate(second_encodings()):
        if unpack(data) in SMALL_ORDER:
            second = forge(SECRET, KEY, 0, data, DIGEST)
            lenient = holds_times_eight(KEY, DIGEST, second)
            made.trap(f"second-r-{k}", "identity.verify", "ID-5", "second-encoding", lenient, **case_of(second))
    for k in range(1, 8):
        shifted = forge(SECRET, KEY, NONCE, pack(add(COMMITMENT_POINT, SMALL_ORDER[k])), DIGEST)
        lenient = holds_times_eight(KEY, DIGEST, shifted)
        made.trap(f"r-plus-{k}-t", "identity.verify", "ID-6", "cofactor", lenient, **case_of(shifted))
    key, digest, probe = COFACTOR_PROBE
    lenient = holds_times_eight(key, digest, probe)
    made.trap("chapters-probe", "identity.verify", "ID-6", "cofactor", lenient, **case_of(probe, key, digest))


def neutral_signature(extra: int) -> bytes:
    """R = O, and the S that fits it, which everybody who has the secret can write, plus ``extra``."""
    h = challenge(pack(NEUTRAL), KEY, DIGEST)
    return pack(NEUTRAL) + little(h * SECRET % GROUP_ORDER + extra)


def add_lent_keys(made: Chapter) -> None:
    """ID-4: keys that may not be in a roster, each with a signature that a lenient verifier takes."""
    for k in range(1, 8):
        key = pack(add(KEY_POINT, SMALL_ORDER[k]))
        digest = agreeable(k, key)
        signature = forge(SECRET, key, NONCE, COMMITMENT, digest)
        made.trap(
            f"key-plus-{k}-t", "identity.verify", "ID-4", "mixed-order", holds(key, digest, signature),
            **case_of(signature, key, digest),
        )  # fmt: skip
    for k, point in enumerate(SMALL_ORDER):
        key = pack(point)
        digest = agreeable(k, key)
        signature = forge(0, key, NONCE, COMMITMENT, digest)
        made.trap(
            f"key-is-{k}-t", "identity.verify", "ID-4", "small-order", holds(key, digest, signature),
            **case_of(signature, key, digest),
        )  # fmt: skip
    zero = pack(NEUTRAL) + bytes(32)
    lenient = holds(pack(NEUTRAL), DIGEST, zero)
    made.trap("neutral-everywhere", "identity.verify", "ID-4", "equation-only", lenient, **case_of(zero, pack(NEUTRAL)))
    for k, key in enumerate(second_encodings()):
        if unpack(key) == NEUTRAL:
            lenient = holds(key, DIGEST, zero)
            made.trap(f"second-key-{k}", "identity.verify", "ID-4", "second-encoding", lenient, **case_of(zero, key))
    add_both_mixed(made)


def add_both_mixed(made: Chapter) -> None:
    """ID-4: a key and an R outside of the prime-order subgroup whose small parts cancel, and some whose do not."""
    key, shifted = pack(add(KEY_POINT, SMALL_ORDER[1])), [pack(add(COMMITMENT_POINT, point)) for point in SMALL_ORDER]
    for k in range(1, 8):
        digest = next(d for d in digests() if (challenge(shifted[k], key, d) + k) % 8 == 0)
        signature = forge(SECRET, key, NONCE, shifted[k], digest)
        made.trap(
            f"small-parts-cancel-{k}", "identity.verify", "ID-4", "equation-only", holds(key, digest, signature),
            **case_of(signature, key, digest),
        )  # fmt: skip
    left_over = forge(SECRET, key, NONCE, shifted[1], bytes(32))
    lenient = holds_times_eight(key, bytes(32), left_over)
    made.trap("both-mixed", "identity.verify", "ID-4", "cofactor", lenient, **case_of(left_over, key, bytes(32)))


def agreeable(order: int, key: bytes) -> bytes:
    """A digest for which the small part of a key, ``order``·T, vanishes from the equation."""
    return next(digest for digest in digests() if challenge(COMMITMENT, key, digest) * order % 8 == 0)


def digests() -> list[bytes]:
    """Enough digests to find one with a wanted remainder of h."""
    return [tagged_hash("btard/example", bytes([k])) for k in range(256)]
