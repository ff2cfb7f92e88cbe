"""Links in virtual time."""

from __future__ import annotations

from itertools import pairwise

from btard.network.links import FaultyLinks, Links

A, B, C = b"a" * 32, b"b" * 32, b"c" * 32


def times(
    links: Links, now: float = 10.0, sender: bytes = A, receiver: bytes = B, count: int = 500
) -> list[list[float]]:
    """When the copies of many transmissions arrive."""
    return [list(links.arrivals(now, sender, receiver)) for _ in range(count)]


def test_plain_links_take_their_latency() -> None:
    assert times(Links(0.25), count=3) == [[10.25]] * 3


def test_a_cut_peer_neither_sends_nor_hears() -> None:
    for links in (Links(0.25), FaultyLinks(0.25, 1.0)):
        links.cut(11.0, [B])
        assert times(links, 10.9, count=1) == [[11.15]]
        assert times(links, 11.0, A, B, 1) == times(links, 12.0, B, C, 1) == [[]]
        assert times(links, 12.0, A, C, 1) == [[12.25]]
        assert links.lost(B) and not links.lost(A)
        links.cut(20.0, [B])
        assert times(links, 12.0, A, B, 1) == [[]]


def test_whatever_happens_a_copy_arrives_within_the_bound() -> None:
    links = FaultyLinks(0.1, 1.0, loss=0.7, duplication=0.3, jitter=0.9, retry=0.1, seed=3)
    arrived = times(links)
    assert all(10.1 <= time <= 11.0 for copies in arrived for time in copies)
    assert {len(copies) for copies in arrived} == {1, 2}
    assert max(time for copies in arrived for time in copies) == 11.0


def test_loss_delays_and_jitter_reorders() -> None:
    lossy = [time for copies in times(FaultyLinks(0.1, 1.0, loss=0.5, retry=0.2, seed=1)) for time in copies]
    assert 0.4 < lossy.count(10.1) / len(lossy) < 0.6
    jittery = [time for copies in times(FaultyLinks(0.1, 1.0, jitter=0.5, seed=1)) for time in copies]
    assert any(later < earlier for earlier, later in pairwise(jittery))


def test_a_partition_holds_up_what_crosses_it_until_it_heals() -> None:
    links = FaultyLinks(0.1, 1.0, retry=0.05, partitions=((10.0, 10.4, frozenset((A, C))),))
    (across,) = links.arrivals(10.1, A, B)
    assert 10.5 <= across <= 10.6
    assert list(links.arrivals(10.1, A, C)) == [10.2]
    assert list(links.arrivals(10.4, B, A)) == [10.5]


def test_equal_seeds_give_equal_networks() -> None:
    make = lambda seed: times(FaultyLinks(0.1, 1.0, loss=0.3, jitter=0.5, seed=seed))  # noqa: E731
    assert make(4) == make(4) != make(5)
