"""Actions: the ways in which an attacker departs from the protocol, each a small conduct that acts in one step.

An attacker plays the honest protocol through a chain of them (:class:`Player`): each gets what the one before it
would do. So any of them compose, with each other and with the named attacks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from btard.network.coalition import BrokenAttack, Recruiter, Seating
from btard.protocol.arithmetic import Float32, Float64, admissible_gradient
from btard.protocol.broadcast import Answer, Frame, Offer, Relay, encode_frame
from btard.protocol.encoding import encode, expand, tagged_hash
from btard.protocol.identity import Identity
from btard.protocol.messages import (
    Accusation,
    Aggregate,
    Commit,
    Echo,
    Envelope,
    Message,
    Phase,
    Report,
    Reveal,
    Slot,
    seal,
)
from btard.protocol.model import BTARD, MAJORITY_VOTE, PeerId, ProtocolError
from btard.protocol.mprng import combine, commitment, draw_validators, private_opening, uint64
from btard.protocol.state import Attempt, Conduct, Later, Plan, State
from btard.protocol.verification import Transcript, report_of
from btard.training.registry import described, find_by_name, known_names

from btard_adversary.attacks.aggregation import covering, reach
from btard_adversary.attacks.base import Attack
from btard_adversary.attacks.membership import Idler
from btard_adversary.attacks.protocol import Posted, Poster
from btard_adversary.mutations import BYTES, HEADERS, STRANGER, Context, catalogue, flipped, mutated
from btard_adversary.script import ALL, ANY, Action, ScriptError
from btard_adversary.witness import Witness

ONCE = 1 << 40
"""A period so long that an attack acts in its first step only."""
OFFERED = 1.5
"""When a certificate is offered, in units of Δ after the echo."""
RELAY, CERTIFICATE = "signatures of a relay", "a certificate"
"""What can be forged."""
NOISE = "random bytes"
"""The way to corrupt a frame that knows nothing about it."""


PLACE_OF = {Phase.BALLOT: Phase.SCATTER, Phase.TALLY: Phase.GATHER}
"""The phases of profile majority-vote by the names that scripts call them."""


class Deviation(Poster):
    """An honest peer but for one action. ``first_roster``: by which the action names peers."""

    def __init__(self, seating: Seating, action: Action, first_roster: Sequence[PeerId]) -> None:
        super().__init__(replace(seating, start=action.step, period=ONCE))
        self.action, self.first_roster = action, first_roster

    @property
    def me(self) -> PeerId:
        """The attacker."""
        return self.seating.peer

    def acts(self, state: State) -> bool:
        """Whether the action is due in this step and attempt."""
        return super().acts(state) and self.action.attempt in (ANY, state.attempt)

    @property
    def present(self) -> tuple[PeerId, ...]:
        """Who takes part in the present phase, as far as a coalition can tell; ascending."""
        return tuple(sorted({*self.world.requests, *self.world.coalition}))

    def aims_at(self, recipient: PeerId) -> bool:
        """Whether ``recipient`` is one of the action's recipients."""
        if not self.action.to or recipient not in self.first_roster:
            return not self.action.to
        return bool(self.action.to >> self.first_roster.index(recipient) & 1)

    def victim(self) -> PeerId:
        """The honest member that the action is aimed at."""
        honest = [peer for peer in self.first_roster if peer not in self.world.coalition]
        return honest[self.action.victim % len(honest)]

    def concerns(self, frame: Frame) -> bool:
        """Whether the action is about ``frame``, one of my own."""
        return self.is_due(frame) and kind_of(frame) == self.action.frame

    def is_due(self, frame: Frame) -> bool:
        """Whether ``frame`` is of the action's step, attempt and phase."""
        slot, action = frame.echo.slot if isinstance(frame, Relay) else frame.slot, self.action
        phase = PLACE_OF.get(slot.phase, slot.phase).name
        return slot.step == action.step and action.attempt in (ANY, slot.attempt) and action.phase in ("", phase)

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """The altered frames where the action is about this one, else the honest one."""
        if self.aims_at(recipient) and self.concerns(honest):
            return self.put(recipient, honest)
        return (honest,)

    def put(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """What to put on the link to ``recipient`` instead of ``honest``."""
        return (honest,)

    def context(self, run: bytes, slot: Slot, log_head: bytes, roster: tuple[PeerId, ...]) -> Context:
        """What mutations may take values from."""
        victim = self.victim()
        heard = self.world.heard if isinstance(self.world, Witness) else {}
        others = sorted(self.world.coalition - {self.me})
        colluder = others[self.action.victim % len(others)] if others else b""
        return Context(self.me, run, slot, log_head, roster, victim, self.world.message_of(victim), colluder, heard)


def kind_of(frame: Frame) -> str:
    """``message``, ``echo``, ``relay``, ``offer``, ``ask`` or ``answer``."""
    if not isinstance(frame, Envelope):
        return type(frame).__name__.lower()
    return "echo" if frame.slot.phase.agreed and frame.slot.part == 1 else "message"


# -- What is said -----------------------------------------------------------------------------------


class Alter(Deviation):
    """Change one field of an agreed message. To everyone: it is what I say. To some: a second version."""

    def say(self, state: State, slot: Slot, honest: Message) -> Message:
        """The altered message, if everyone gets it."""
        if self.action.to or not self.acts(state) or self.action.frame != "message":
            return honest
        if self.action.phase and slot.phase.name != self.action.phase:
            return honest
        context = self.context(state.run, slot, state.head, state.roster)
        return mutated(honest, self.action.field, self.action.how, context)

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """As changed; whoever changes its echo for everyone does not pass the true one on."""
        for_all = self.action.frame == "echo" and not self.action.to
        if for_all and isinstance(honest, Relay) and honest.echo.sender == self.me and self.is_due(honest):
            return ()
        return super().post(recipient, honest)

    def put(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """The second version for its recipients; echoes are not said, so all of theirs are changed here."""
        said_already = not self.action.to and self.action.frame == "message"
        if said_already or not isinstance(honest, Envelope) or honest.message is None:
            return (honest,)
        context = self.context(honest.run, honest.slot, honest.log_head, self.present)
        changed = mutated(honest.message, self.action.field, self.action.how, context)
        return (honest,) if changed == honest.message else (self.resealed(honest, body_of(changed)),)


def body_of(message: Message) -> bytes:
    """The body of a message."""
    return encode(message.to_item())


BESIDE = "beside"
"""What is changed goes out beside the honest frame, not in its place."""


class Resign(Deviation):
    """Change an envelope as a whole, and sign it."""

    def put(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """The changed envelope."""
        if not isinstance(honest, Envelope):
            return (honest,)
        changed = self.resealed(HEADERS[self.action.how](honest))
        return (honest, changed) if self.action.field == BESIDE else (changed,)


SOON, LATE = "at once", "when the phase is over"
WHEN = (SOON, LATE)
"""When a second version follows the first."""
LATE_BY = 40.0
"""How long after the first it leaves if it is late, in units of Δ."""
CONTRADICTED: dict[type[Any], tuple[str, str]] = {
    Commit: ("commitment", "zeros"),
    Aggregate: ("aggregate_hash", "zeros"),
    Reveal: ("opening", "zeros"),
    Report: ("norms", "double"),
    Echo: ("vector", "change a colluder"),
}
"""How the second version of a message differs from the first."""


class Contradict(Deviation):
    """Send a second signed version of the same message or echo behind the first."""

    def put(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """Both versions."""
        if not isinstance(honest, Envelope):
            return (honest,)
        second = self.resealed(honest, self.otherwise(honest))
        return honest, second if self.action.how == SOON else Later(second, LATE_BY)

    def otherwise(self, honest: Envelope) -> bytes:
        """The body of the second version."""
        message, change = honest.message, CONTRADICTED.get(type(honest.message))
        if message is None or change is None:
            return flipped(honest.body)
        return body_of(mutated(message, *change, self.context(honest.run, honest.slot, honest.log_head, self.present)))


class Twin(Deviation):
    """A second honest copy under my key, with coins of its own, that talks to the recipients."""

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """What the copy says, from the step of the action to the end of that step."""
        mine = isinstance(honest, Envelope) and honest.sender == self.me and self.is_due(honest)
        if not mine or not isinstance(honest, Envelope) or not self.aims_at(recipient) or not self.action.to:
            return (honest,)
        return (self.copied(honest),)

    def copied(self, honest: Envelope) -> Envelope:
        """The copy's message in place of mine."""
        message = honest.message
        if isinstance(message, Commit):
            bound = commitment(honest.run, honest.slot.step, honest.slot.attempt, self.me, self.coins(honest))
            return self.resealed(honest, body_of(replace(message, commitment=bound)))
        if isinstance(message, Reveal):
            return self.resealed(honest, body_of(replace(message, opening=self.coins(honest))))
        return honest

    def coins(self, envelope: Envelope) -> bytes:
        """The copy's opening."""
        secret = tagged_hash("btard/adversary/twin", self.me)
        return private_opening(secret, envelope.run, envelope.slot.step, envelope.slot.attempt)


# -- What goes on the links --------------------------------------------------------------------------


class Drop(Deviation):
    """Send nothing."""

    def put(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """Nothing."""
        return ()


ROUND = 4.0
"""Length of a round of the fallback, in units of Δ (chapter ``broadcast``)."""
DELAYS: dict[str, Callable[[int], float | None]] = {
    "Δ": lambda tolerated: 1.0,
    "2 Δ": lambda tolerated: 2.0,
    "a round": lambda tolerated: ROUND,
    "till shortly before the fallback ends": lambda tolerated: tolerated * ROUND - 1.5,
    "till the fallback all but ends": lambda tolerated: tolerated * ROUND - 0.15,
    "until the next phase": lambda tolerated: None,
}
"""How long something is held back, in units of Δ, from b_t; a relay leaves when the fallback begins."""


FOR_EVER = "for others for ever"
"""What an action does to the frames for others than its recipients: without it, they get theirs in time."""
EARLIER = ("", "phase before", "body of an earlier step")
"""Which earlier message is sent again: the first of its phase, the one before, or a body of the first in a new
envelope."""
NAMES = ("", "stranger")
"""In whose name something is sent: the victim's, or a stranger's."""


class Patient(Deviation):
    """One that holds something back."""

    tolerated = 0
    """b_t, as my own protocol has told me."""

    def say(self, state: State, slot: Slot, honest: Message) -> Message:
        """The honest message."""
        self.tolerated = state.tolerated
        return honest

    def wait(self, how: str) -> float | None:
        """For how long, in units of Δ; None until the next phase."""
        wait = DELAYS[how](self.tolerated) if how in DELAYS else None
        return wait if wait is None else max(wait, 0.0)


class Delay(Patient):
    """Send it later, and to others than the recipients in time or never."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.kept: dict[PeerId, list[Frame]] = {}

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """What is due now, and what was kept until now."""
        if self.concerns(honest):
            if not self.aims_at(recipient):
                return () if self.action.field else (honest,)
            wait = self.wait(self.action.how)
            if wait is not None:
                return (Later(honest, wait),)
            self.kept.setdefault(recipient, []).append(honest)
            return ()
        if not isinstance(honest, Envelope) or kind_of(honest) != "message":
            return (honest,)
        return (honest, *self.kept.pop(recipient, ()))


class Repeat(Deviation):
    """Send it three times."""

    def put(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """Three copies."""
        return (honest,) * 3


@dataclass
class History:
    """What an honest peer in my place would have sent to each recipient."""

    first: dict[tuple[PeerId, Phase], Envelope] = field(default_factory=dict)
    """Its first envelope of each phase."""
    latest: dict[PeerId, Envelope] = field(default_factory=dict)

    def add(self, recipient: PeerId, frame: Frame) -> None:
        """Remember an envelope."""
        if isinstance(frame, Envelope):
            self.first.setdefault((recipient, frame.slot.phase), frame)
            self.latest[recipient] = frame


class Replay(Deviation):
    """Send an earlier message of mine: beside the right one, or in its place."""

    history: History | None = None
    """Of the player that I belong to."""

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """The earlier frame where the action says so."""
        known = self.history
        if (
            known is None
            or not isinstance(honest, Envelope)
            or not self.aims_at(recipient)
            or not self.concerns(honest)
        ):
            return (honest,)
        if self.action.field == "phase before":
            old = known.latest.get(recipient)
        else:
            old = known.first.get((recipient, honest.slot.phase))
        if old is None:
            return (honest,)
        again = self.resealed(honest, old.body) if self.action.field == "body of an earlier step" else old
        return (again,) if self.action.how == "instead" else (honest, again)


class SignAs(Deviation):
    """Send it in the victim's name, with my signature."""

    def put(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """The message in another name, beside mine or in its place."""
        if not isinstance(honest, Envelope):
            return (honest,)
        name = STRANGER if self.action.field == "stranger" else self.victim()
        forged = replace(honest, sender=name)
        return (forged,) if self.action.how == "instead" else (honest, forged)


class Corrupt(Deviation):
    """Change the bytes on the wire."""

    def put(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """The corrupted bytes."""
        if self.action.how == NOISE:
            place = uint64(self.action.step) + uint64(self.action.victim) + uint64(self.action.attacker)
            return (expand("btard/adversary/random-bytes", place, length=len(encode_frame(honest))),)
        change = BYTES.get(self.action.how)
        return (honest,) if change is None else (change(encode_frame(honest)),)


class Forge(Patient):
    """Claim what others have not signed: relays with signatures of zeros, or a certificate that nobody else holds. A
    forged relay may leave late, and then for the recipients only."""

    def concerns(self, frame: Frame) -> bool:
        """Relays, or echoes and answers, of the phase."""
        return self.is_due(frame) and kind_of(frame) in (("relay",) if self.action.how == RELAY else ("echo", "answer"))

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """The forged frame; an echo is followed by the offer of a certificate."""
        if not self.concerns(honest) or not (self.aims_at(recipient) or self.action.field):
            return (honest,)
        if isinstance(honest, Relay):
            return self.relayed(recipient, honest)
        if isinstance(honest, Answer):
            return (honest._replace(signatures=(bytes(64),) * len(self.present)),)
        return (
            (honest, Later(Offer(honest.slot._replace(part=0)), OFFERED)) if isinstance(honest, Envelope) else (honest,)
        )

    def relayed(self, recipient: PeerId, honest: Relay) -> Iterable[Posted]:
        """A relay that names signers who have not signed."""
        others = [peer for peer in self.present if peer not in (honest.echo.sender, recipient)]
        chain = dict.fromkeys(others[: max(1, (len(self.present) - 1) // 2 - 1)], bytes(64))
        forged = Relay(honest.echo, tuple(sorted(chain.items())))
        if not self.action.field:
            return (forged,)
        return (Later(forged, self.wait(self.action.field) or 0.0),) if self.aims_at(recipient) else ()


class Refuse(Deviation):
    """Do not open where the randomness would draw no colluder as a validator."""

    def put(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """The opening if the draw is a lucky one."""
        openings = [m.opening for p in self.world.requests if isinstance(m := self.world.message_of(p), Reveal)]
        mine = honest.message if isinstance(honest, Envelope) else None
        if not isinstance(mine, Reveal):
            return (honest,)
        drawn = draw_validators(combine([*openings, mine.opening]), self.action.step + 3, self.present, 1)
        return (honest,) if not self.world.coalition.isdisjoint(drawn) else ()


# -- What is computed ----------------------------------------------------------------------------------

BEYOND = "beyond the norm"
VALUES: dict[str, Callable[[Any, int, float], Any]] = {
    "negate": lambda vector, at, size: -vector,
    "zeros": lambda vector, at, size: vector * 0,
    "one ulp": lambda vector, at, size: moved(vector, at, lambda x: np.nextafter(x, np.float32(np.inf))),
    "one entry": lambda vector, at, size: moved(vector, at, lambda x: x + size),
    "shift a little": lambda vector, at, size: vector + np.float32(size * 1e-3),
    "shift somewhat": lambda vector, at, size: vector + np.float32(size * 1e-2),
    "shift more": lambda vector, at, size: vector + np.float32(size * 2e-2),
    "shift": lambda vector, at, size: vector + np.float32(size),
    "huge": lambda vector, at, size: vector * np.float32(1e6),
    BEYOND: lambda vector, at, size: vector * np.float32(1e3),
    "a part beyond the norm": lambda vector, at, size: np.append(vector[:-4], vector[-4:] * np.float32(1e3)),
    "not a number": lambda vector, at, size: moved(vector, at, lambda x: np.float32(np.nan)),
    "infinite": lambda vector, at, size: moved(vector, at, lambda x: np.float32(np.inf)),
}
"""Ways to change a vector; ``at``: an index; ``size``: a typical length."""


def moved(vector: Any, at: int, change: Any) -> Any:
    """``vector`` with one entry changed."""
    made = np.array(vector)
    if len(made):
        made[at % len(made)] = change(made[at % len(made)])
    return made


class Gradient(Deviation):
    """Commit, send and stand by another gradient."""

    def gradient(self, state: State, honest: Float32) -> Float32:
        """The changed gradient; within the norm that is admitted, but for one way to change it."""
        if not self.acts(state) or self.action.how not in VALUES:
            return honest
        with np.errstate(all="ignore"):
            changed = VALUES[self.action.how](honest, self.action.victim, 1.0)
        limit = self.world.gradient_limit
        changed = np.asarray(changed, dtype=np.float32)
        return changed if limit is None or self.action.how.endswith(BEYOND) else admissible_gradient(changed, limit)


class AlterAggregate(Deviation):
    """Announce and send another aggregate."""

    def aggregate(self, state: State, attempt: Attempt, inputs: Float32, honest: Float32) -> Float32:
        """The changed aggregate."""
        part = attempt.part_of(self.me)
        if part is None or not self.acts(state) or self.action.how not in VALUES:
            return honest
        with np.errstate(all="ignore"):
            changed = VALUES[self.action.how](honest, self.action.victim, reach(state, attempt, part, honest))
        return np.asarray(changed, dtype=np.float32)


class Deny(Deviation):
    """Report about the gradient that is due, whatever later actions make of it: only its aggregators can tell."""

    due: Float32 | None = None

    def gradient(self, state: State, honest: Float32) -> Float32:
        """Remembered."""
        if self.acts(state):
            self.due = honest
        return honest

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        """The true numbers about it."""
        return report_of(transcript, self.due) if self.acts(state) and self.due is not None else honest


NEARBY = "from nearby"
"""The way to cover a part up that also says that it lies near enough."""


class Cover(Deviation):
    """Misreport s about the parts of the other colluders, so that their sums pass C2; or also that their parts, and
    mine, are near to my gradient, so that they pass C3 as far as the coalition can help it."""

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        """What is missing for Σ s = 0 on their parts, as far as a report can say so (VER-2)."""
        if not self.acts(state) or transcript.profile == MAJORITY_VOTE:  # there it has nothing to report
            return honest
        near = self.action.how == NEARBY and transcript.profile == BTARD
        colluders = [peer for peer in transcript.workers if peer in self.world.coalition]
        forgers = [peer for peer in colluders if near or peer != self.me]
        said = honest.copy()
        if near:
            forged = [transcript.workers.index(peer) for peer in forgers]
            limits = state.config.distance_ratio * transcript.radii
            said[1, forged] = np.minimum(honest[1], limits)[forged]
        helpers = len(colluders) - (not near) if self.action.attacker == ALL else 1
        return covering(self.world, transcript, said, forgers, max(helpers, 1))


LIES = ("last step", "two steps ago", "two steps ago, whoever is my target")
"""Which step an accusation is about; a validator that accuses of a lie two steps ago accuses its target, or not."""


class Accuse(Deviation):
    """Accuse the victim of a lie in the last step, or the step before."""

    def accusations(self, state: State, plan: Plan, honest: tuple[Accusation, ...]) -> tuple[Accusation, ...]:
        """One more accusation."""
        kept = super().accusations(state, plan, honest)
        if not self.acts(state):
            return kept
        back = 2 if self.action.how in LIES[1:] else 1
        accused = plan.targets.get(self.me, self.victim()) if self.action.how == LIES[1] else self.victim()
        if accused in self.world.coalition or state.step < back:
            return kept
        return tuple(sorted({*kept, Accusation(accused, state.step - back)}))


class Leave(Deviation):
    """Leave in good order."""

    def leaves(self, state: State) -> bool:
        """After the step of the action."""
        return self.acts(state)


IDLE, LAZY, TWICE = "idle", "lazy", "two commitments"
BROUGHT = (IDLE, LAZY, TWICE, "honest")
"""How a brought key behaves on probation. Unless told otherwise it commits to nothing that was computed; or it computes
in every other step, or signs two commitments, or does all that is due."""


class Lazy(Conduct):
    """A key on probation that computes in every other step."""

    def labour(self, state: State, honest: bytes) -> bytes:
        """The hash, or no commitment."""
        return b"" if state.step % 2 else honest


BEHIND: dict[str, type[Conduct]] = {"": Idler, IDLE: Idler, LAZY: Lazy}


class Bring(Deviation):
    """Bring a key that asks for a seat."""

    key: Identity | None = None

    def recruits(self, state: State) -> Sequence[tuple[Identity, Conduct]]:
        """The key, once, at the first step boundary from the action's step on."""
        if self.key is not None or state.step < self.action.step:
            return ()
        self.key = Identity(tagged_hash("btard/adversary/brought", self.me, uint64(self.action.step)))
        return [(self.key, BEHIND.get(self.action.how, Conduct)())]

    def say(self, state: State, slot: Slot, honest: Message) -> Message:
        """A second commitment of my key, beside the one that others bring."""
        if self.key is None or self.action.how != TWICE or not isinstance(honest, Commit) or slot.step == 0:
            return honest
        where = Slot(slot.step - 1, 0, Phase.PROBATION)
        letter = seal(self.key, state.run, where, state.run, tagged_hash("btard/adversary/second", self.me))
        others = [one for one in honest.letters if (one.sender, one.slot) != (letter.sender, where)]
        return replace(honest, letters=tuple(sorted((*others, letter), key=lambda one: (one.sender, one.slot))))


VERBS: dict[str, type[Deviation]] = {
    "alter": Alter,
    "resign": Resign,
    "contradict": Contradict,
    "twin": Twin,
    "drop": Drop,
    "delay": Delay,
    "repeat": Repeat,
    "replay": Replay,
    "sign as": SignAs,
    "corrupt": Corrupt,
    "refuse": Refuse,
    "forge": Forge,
    "gradient": Gradient,
    "aggregate": AlterAggregate,
    "deny": Deny,
    "cover": Cover,
    "accuse": Accuse,
    "leave": Leave,
    "bring": Bring,
    "attack": Deviation,
}
"""Kinds of action by name; ``attack`` is a named attack from a step on."""


def conduct_of(action: Action, seating: Seating, first_roster: Sequence[PeerId]) -> Conduct:
    """The conduct that carries out ``action``; raises :class:`ScriptError` for an unknown one."""
    if action.do == "attack":
        return seated_attack(action.how, replace(seating, start=action.step))
    if action.do not in VERBS:
        raise ScriptError(f"nobody can '{action.do}'")
    return VERBS[action.do](seating, action, first_roster)


def seated_attack(name: str, seating: Seating) -> Conduct:
    """A named attack in its place; raises :class:`ScriptError` for what is none."""
    factory = find_by_name("btard.attacks", "attack", name)
    if not callable(factory):
        raise ScriptError(f"'{name}' is a {type(factory).__name__}, not an attack")
    try:
        made = factory(seating)
    except Exception as error:
        raise ScriptError(f"attack '{name}' cannot be seated: {described(error)}") from error
    if not isinstance(made, Conduct):
        raise ScriptError(f"'{name}' gives a {type(made).__name__}, not an attack")
    return made


TRIPPED = (ProtocolError, ValueError, LookupError, AttributeError, TypeError, StopIteration)
"""What a part of a chain raises if it does not expect what the others have done."""


class Player(Conduct):
    """An attacker: the honest protocol through a chain of conducts, which grows as actions are added. A part that trips
    over what another one has done is skipped."""

    def __init__(self, seating: Seating) -> None:
        self.seating, self.world = seating, seating.world
        self.chain: list[Conduct] = [Attack(seating)]
        self.brought: list[Conduct] = []
        """Those of the chain that are somebody's own attacks."""
        self.history = History()

    def act(self, action: Action, first_roster: Sequence[PeerId]) -> None:
        """Add an action to the chain."""
        part = conduct_of(action, self.seating, first_roster)
        if isinstance(part, Replay):
            part.history = self.history
        if ":" in action.how and action.do == "attack":
            self.brought.append(part)
        self.chain.append(part)

    def through(self, method: str, *arguments: Any) -> Any:
        """What the chain makes of the last of ``arguments``, the honest value."""
        *about, value = arguments
        for part in self.chain:
            with self.forgiving(part):
                value = getattr(part, method)(*about, value)
        return value

    @contextmanager
    def forgiving(self, part: Conduct) -> Iterator[None]:
        """Skip a part that trips over what others have done; somebody's own attack that acts alone is broken."""
        try:
            yield
        except TRIPPED as error:
            if part in self.brought and len(self.chain) == 2 and not isinstance(error, ProtocolError):
                raise BrokenAttack(f"attack {type(part).__name__} failed: {described(error)}") from error

    def gradient(self, state: State, honest: Float32) -> Float32:
        """Through the chain."""
        return self.through("gradient", state, honest)  # type: ignore[no-any-return]

    def aggregate(self, state: State, attempt: Attempt, inputs: Float32, honest: Float32) -> Float32:
        """Through the chain."""
        return self.through("aggregate", state, attempt, inputs, honest)  # type: ignore[no-any-return]

    def report(self, state: State, transcript: Transcript, honest: Float64) -> Float64:
        """Through the chain."""
        return self.through("report", state, transcript, honest)  # type: ignore[no-any-return]

    def accusations(self, state: State, plan: Plan, honest: tuple[Accusation, ...]) -> tuple[Accusation, ...]:
        """Through the chain."""
        return self.through("accusations", state, plan, honest)  # type: ignore[no-any-return]

    def leaves(self, state: State) -> bool:
        """Whether any part of the chain leaves."""
        return any(part.leaves(state) for part in self.chain)

    def petitions(self, state: State) -> bool:
        """Attackers that have left stay out."""
        return False

    def recruits(self, state: State) -> Sequence[tuple[Identity, Conduct]]:
        """The keys that parts of the chain bring into the run."""
        return [recruit for part in self.chain if isinstance(part, Recruiter) for recruit in part.recruits(state)]

    def say(self, state: State, slot: Slot, honest: Message) -> Message:
        """Through the chain, less the evidence against myself that I come to see."""
        notices = honest.notices
        others = tuple(proof for proof in notices.evidence if proof[0].sender != self.seating.peer)
        if others != notices.evidence:
            honest = replace(honest, notices=notices._replace(evidence=others))  # type: ignore[arg-type]
        return self.through("say", state, slot, honest)  # type: ignore[no-any-return]

    def post(self, recipient: PeerId, honest: Frame) -> Iterable[Posted]:
        """Every frame through the chain; bytes, and what leaves later, go as they are."""
        frames: list[Posted] = [honest]
        for part in self.chain:
            frames = [changed for frame in frames for changed in self.posted(part, recipient, frame)]
        self.history.add(recipient, honest)
        return frames

    def posted(self, part: Conduct, recipient: PeerId, frame: Posted) -> list[Posted]:
        """What one part of the chain puts on a link; a frame that it cannot make sense of passes."""
        put = [frame]
        if not isinstance(frame, (bytes, Later)):
            with self.forgiving(part):
                put = list(part.post(recipient, frame))
        return put


def ways(action: Action) -> Collection[str]:
    """Which ``how`` an action may have."""
    return {
        "alter": {how for changes in catalogue().values() for how in changes},
        "resign": HEADERS,
        "contradict": WHEN,
        "corrupt": {*BYTES, NOISE},
        "delay": {*DELAYS, ""},
        "replay": ("instead", "beside", ""),
        "sign as": ("instead", "beside", ""),
        "gradient": VALUES,
        "aggregate": VALUES,
        "accuse": {*LIES, ""},
        "cover": ("", NEARBY),
        "bring": ("", *BROUGHT),
        "forge": (RELAY, CERTIFICATE),
        "attack": {*known_names("btard.attacks"), *([action.how] if ":" in action.how else [])},
    }.get(action.do, (action.how,))


FRAMES = ("message", "echo", "relay", "offer", "ask", "answer")
"""What an action may be about."""


def parts_of(action: Action) -> Collection[str]:
    """Which ``field`` an action may have."""
    return {
        "alter": {field for _, field in catalogue()},
        "delay": ("", FOR_EVER),
        "forge": ("", *DELAYS),
        "resign": ("", BESIDE),
        "replay": EARLIER,
        "sign as": NAMES,
    }.get(action.do, ("",))
