"""Keys and signatures: every crafted case gets the verdict of the chapter, whatever the library thinks."""

from __future__ import annotations

import random
from pathlib import Path

import edwards
import pytest
from btard.protocol import identity
from btard.protocol.encoding import tagged_hash
from btard.protocol.identity import BadKey, Identity, check_public_key, verify
from btard.protocol.model import ProtocolError
from edwards import BASE, NEUTRAL, SMALL_ORDER, L, P, add, forge, multiply, pack

SEED = bytes(range(32))
DIGEST = bytes([7]) * 32
SECRET = edwards.secret_scalar(SEED)
KEY_POINT = multiply(SECRET, BASE)
KEY = pack(KEY_POINT)
NONCE = 0x1234567890ABCDEF << 180
R_POINT = multiply(NONCE, BASE)
R = pack(R_POINT)
HONEST = forge(SECRET, KEY, NONCE, R, DIGEST)

RFC_8032 = [  # seed, public key, message, signature: section 7.1, TEST 1 to 3 and TEST SHA(abc)
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b589"
        "09351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


def little(value: int) -> bytes:
    return value.to_bytes(32, "little")


def test_the_group_order_is_that_of_the_rfc() -> None:
    assert identity.GROUP_ORDER == L


def shifted(point: edwards.Point, k: int) -> bytes:
    """``point`` plus a point of small order."""
    return pack(add(point, SMALL_ORDER[k]))


def low_encodings() -> list[bytes]:
    """Every non-canonical encoding of a point: y in [P, 2²⁵⁵), or x = 0 with odd parity."""
    low = [little(y + P | odd << 255) for y in range(19) for odd in (0, 1) if edwards.recover_x(y, odd) is not None]
    return [*low, little(1 | 1 << 255), little(P - 1 | 1 << 255)]


# -- Keys -------------------------------------------------------------------------------------


@pytest.mark.requirement("ID-1")
@pytest.mark.parametrize("seed, key, message, signature", RFC_8032)
def test_rfc_8032_keys_and_signatures(seed: str, key: str, message: str, signature: str) -> None:
    raw_seed, raw_message, raw_signature = map(bytes.fromhex, (seed, message, signature))
    peer = Identity(raw_seed)
    assert peer.peer_id.hex() == key
    assert edwards.sign(raw_seed, raw_message) == raw_signature
    assert identity.equation_holds(peer.peer_id, raw_message, raw_signature)
    assert not identity.equation_holds(peer.peer_id, raw_message + b"x", raw_signature)


@pytest.mark.requirement("ID-1")
def test_an_identity_never_shows_its_seed() -> None:
    peer = Identity(SEED)
    assert SEED.hex() not in repr(peer) and repr(SEED)[2:-1] not in repr(peer)
    assert KEY.hex() in repr(peer)
    assert peer == Identity(SEED) != Identity(bytes(32))
    with pytest.raises(AttributeError):
        peer.peer_id = bytes(32)  # type: ignore[misc]
    with pytest.raises(ValueError, match="32 bytes"):
        Identity(bytes(31))


@pytest.mark.requirement("ID-2")
def test_honest_keys_are_admitted() -> None:
    for k in range(20):
        check_public_key(Identity(bytes([k]) * 32).peer_id)


BAD_KEYS = {
    **{f"small order, {k}T": pack(SMALL_ORDER[k]) for k in range(8)},
    **{f"mixed order, A + {k}T": shifted(KEY_POINT, k) for k in range(1, 8)},
    **{f"order 2L at most, kB + 4T, {k}": pack(add(multiply(k, BASE), SMALL_ORDER[4])) for k in range(1, 4)},
    **{f"not canonical {data.hex()}": data for data in low_encodings()},
    "not on the curve": little(2),
    "all ones": b"\xff" * 32,
    "empty": b"",
    "31 bytes": KEY[:31],
    "33 bytes": KEY + b"\0",
}


@pytest.mark.requirement("ID-2")
@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_bad_keys_are_refused(key: bytes) -> None:
    if len(key) == 32:
        assert not edwards.prime_order(key)
    with pytest.raises(BadKey) as caught:
        check_public_key(key)
    assert isinstance(caught.value, ProtocolError)
    assert not verify(key, DIGEST, HONEST)


# -- Signatures -------------------------------------------------------------------------------


@pytest.mark.requirement("ID-3")
def test_signatures_are_those_of_rfc_8032() -> None:
    for k in range(10):
        digest = bytes([k, 255 - k]) * 16
        signature = Identity(SEED).sign(digest)
        assert signature == edwards.sign(SEED, digest)
        assert verify(KEY, digest, signature)


@pytest.mark.requirement("ID-3")
@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_only_digests_are_signed(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Identity(SEED).sign(bytes(length))


@pytest.mark.requirement("ID-4")
@pytest.mark.parametrize("key", [b"", KEY[:31], KEY + b"\0", b"\0" * 64])
@pytest.mark.parametrize("digest", [b"", DIGEST[:31], DIGEST, DIGEST + b"\0"])
@pytest.mark.parametrize("signature", [b"", HONEST[:32], HONEST[:63], HONEST, HONEST + b"\0", HONEST + DIGEST])
def test_wrong_lengths_are_refused(key: bytes, digest: bytes, signature: bytes) -> None:
    assert not verify(key, digest, signature)
    assert verify(KEY, digest, signature) == (digest == DIGEST and signature == HONEST)


@pytest.mark.requirement("ID-4")
@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_valid_signatures_of_other_things_than_digests_are_refused(length: int) -> None:
    message = bytes(length)
    assert identity.equation_holds(KEY, message, edwards.sign(SEED, message))
    assert not verify(KEY, message, edwards.sign(SEED, message))


@pytest.mark.requirement("ID-4")
def test_bytes_cannot_move_between_signature_and_digest() -> None:
    longer, shorter = bytes(33), bytes(31)
    signed = edwards.sign(SEED, longer) + longer
    assert not verify(KEY, signed[65:], signed[:65])
    signed = edwards.sign(SEED, shorter) + shorter
    assert not verify(KEY, signed[63:], signed[:63])


@pytest.mark.requirement("ID-4")
def test_verify_answers_for_any_bytes() -> None:
    rng = random.Random(8032)
    for _ in range(2000):
        key = rng.choice([KEY, R, rng.randbytes(32), rng.randbytes(rng.randrange(70))])
        digest = rng.choice([DIGEST, rng.randbytes(rng.randrange(70))])
        signature = rng.choice([HONEST, R + rng.randbytes(32), rng.randbytes(64), rng.randbytes(rng.randrange(130))])
        assert verify(key, digest, signature) is ((key, digest, signature) == (KEY, DIGEST, HONEST))


SMALL_R = [*(pack(point) for point in SMALL_ORDER), *low_encodings()]
CRAFTED = {
    "S + L": (KEY, R + little(edwards.number(HONEST[32:]) + L)),
    "S = L": (KEY, R + little(L)),
    "S with its highest bit set": (KEY, HONEST[:63] + bytes([HONEST[63] | 0x80])),
    "S all ones": (KEY, R + b"\xff" * 32),
    "R all zero": (KEY, bytes(32) + HONEST[32:]),
    "everything zero": (KEY, bytes(64)),
    "negated R": (KEY, forge(SECRET, KEY, NONCE, pack((-R_POINT[0] % P, R_POINT[1])), DIGEST)),
    **{f"R of small order {r.hex()}": (KEY, forge(SECRET, KEY, 0, r, DIGEST)) for r in SMALL_R},
    **{f"R + {k}T": (KEY, forge(SECRET, KEY, NONCE, shifted(R_POINT, k), DIGEST)) for k in range(1, 8)},
    **{
        f"A + {k}T": (shifted(KEY_POINT, k), forge(SECRET, shifted(KEY_POINT, k), NONCE, R, DIGEST))
        for k in range(1, 8)
    },
    **{f"A = {k}T": (pack(SMALL_ORDER[k]), forge(0, pack(SMALL_ORDER[k]), NONCE, R, DIGEST)) for k in range(8)},
    "A = 0, R = 0, S = 0": (pack(NEUTRAL), pack(NEUTRAL) + bytes(32)),
}


@pytest.mark.requirement("ID-5")
@pytest.mark.parametrize("key, signature", CRAFTED.values(), ids=CRAFTED.keys())
def test_crafted_signatures_are_refused(key: bytes, signature: bytes) -> None:
    assert not edwards.strict(key, DIGEST, signature)
    assert not verify(key, DIGEST, signature)


@pytest.mark.requirement("ID-5")
def test_the_neutral_r_is_refused_although_the_equation_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    signature = forge(SECRET, KEY, 0, pack(NEUTRAL), DIGEST)
    assert edwards.difference(KEY, DIGEST, signature) == NEUTRAL
    assert not verify(KEY, DIGEST, signature)
    monkeypatch.setattr(identity, "library_accepts", lambda *case: edwards.difference(*case) == NEUTRAL)
    assert not verify.__wrapped__(KEY, DIGEST, signature)  # nor with a library that checks the equation only


@pytest.mark.requirement("ID-6")
def test_signatures_that_need_the_cofactor_are_refused() -> None:
    for k in range(1, 8):
        signature = forge(SECRET, KEY, NONCE, shifted(R_POINT, k), DIGEST)
        assert edwards.cofactored(KEY, DIGEST, signature)
        assert not verify(KEY, DIGEST, signature)


@pytest.mark.requirement("ID-6")
def test_a_key_of_mixed_order_is_refused_even_where_the_equation_holds() -> None:
    """With A + 4T, half of the digests have an even h and verify without the cofactor: A must be checked."""
    key = shifted(KEY_POINT, 4)
    digests = [bytes([k]) * 32 for k in range(16)]
    forged = [forge(SECRET, key, NONCE, R, digest) for digest in digests]
    pairs = list(zip(digests, forged, strict=True))
    assert any(edwards.difference(key, *pair) == NEUTRAL for pair in pairs)
    assert not any(verify(key, *pair) for pair in pairs)


@pytest.mark.requirement("ID-6")
def test_honest_signatures_hold_and_every_flipped_bit_breaks_them() -> None:
    assert edwards.strict(KEY, DIGEST, HONEST) and verify(KEY, DIGEST, HONEST)
    for bit in range(512):
        flipped = bytearray(HONEST)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not verify(KEY, DIGEST, bytes(flipped))
    for bit in range(256):
        flipped = bytearray(DIGEST)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not verify(KEY, bytes(flipped), HONEST)
        flipped = bytearray(KEY)
        flipped[bit // 8] ^= 1 << bit % 8
        assert not verify(bytes(flipped), DIGEST, HONEST)


@pytest.mark.requirement("ID-6")
def test_the_probe_is_valid_only_with_the_cofactor() -> None:
    assert edwards.cofactored(*identity.COFACTOR_PROBE)
    assert edwards.difference(*identity.COFACTOR_PROBE) != NEUTRAL
    assert not verify(*identity.COFACTOR_PROBE)


@pytest.mark.requirement("ID-6")
def test_a_library_that_multiplies_by_the_cofactor_changes_no_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(identity, "library_accepts", edwards.cofactored)
    monkeypatch.setattr(identity, "LIBRARY_COMPARES_BYTES", not edwards.cofactored(*identity.COFACTOR_PROBE))
    assert not identity.LIBRARY_COMPARES_BYTES
    uncached = verify.__wrapped__
    assert uncached(KEY, DIGEST, HONEST)
    assert not any(uncached(key, DIGEST, signature) for key, signature in CRAFTED.values())


def test_no_other_point_of_the_subgroup_has_a_second_encoding() -> None:
    """The chapter's remark: with an admitted key, a non-canonical R can only stand for a point that no
    signature reaches, or for the neutral element."""
    for data in low_encodings():
        point = edwards.unpack(data)
        assert point is not None
        assert point == NEUTRAL or multiply(L, point) != NEUTRAL


def test_the_chapters_worked_examples() -> None:
    chapter = (Path(__file__).parents[2] / "spec" / "identity.md").read_text(encoding="utf-8")
    digest = tagged_hash("btard/example", b"abc")
    signature = edwards.sign(SEED, digest)
    key, _, probe = identity.COFACTOR_PROBE
    for value in (SEED, KEY, digest, signature[:32], signature[32:], key, probe[:32], probe[32:]):
        assert f"`{value.hex()}`" in chapter
    assert key == Identity(bytes(32)).peer_id
    assert probe[:32] in [pack(add(BASE, point)) for point in SMALL_ORDER[1::2]]  # the points of order 8
