"""What a coalition has heard: signed messages and parts of honest peers, to be used against them."""

from __future__ import annotations

from btard.network.coalition import World
from btard.protocol.channel import AgreedBroadcast, Gather, Request, Scatter
from btard.protocol.messages import Envelope
from btard.protocol.model import PeerId

REMEMBERED = 40
"""How many envelopes of each peer are remembered: those of some steps."""


class Witness(World):
    """A world that remembers what honest peers have signed."""

    def __init__(self, coalition: frozenset[PeerId], gradient_limit: float | None) -> None:
        super().__init__(coalition, gradient_limit)
        self.heard: dict[PeerId, list[Envelope]] = {}
        """By author, the latest last."""
        self.requests = Requests(self)

    def hear(self, author: PeerId, request: Request) -> None:
        """Remember what ``author`` is about to send to everyone, or to a colluder."""
        known = self.heard.setdefault(author, [])
        known += envelopes_of(request)
        del known[:-REMEMBERED]


class Requests(dict[PeerId, Request]):
    """What honest peers are about to send; whatever is entered is heard."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self.witness = witness

    def __setitem__(self, peer: PeerId, request: Request) -> None:
        if self.get(peer) is not request:
            self.witness.hear(peer, request)
        super().__setitem__(peer, request)


def envelopes_of(request: Request) -> list[Envelope]:
    """The signed messages or parts in a request."""
    if isinstance(request, Scatter):
        return [envelope for envelope in request.envelopes if envelope is not None]
    if isinstance(request, (AgreedBroadcast, Gather)) and request.envelope is not None:
        return [request.envelope]
    return []
