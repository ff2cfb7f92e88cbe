"""Runs in which an implementation is tested: drawn from a seed, and made smaller when one fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from random import Random
from typing import Any

from btard.network.links import FaultyLinks, Links
from btard.protocol.encoding import tagged_hash
from btard.protocol.identity import Identity
from btard.protocol.log import Genesis
from btard.protocol.model import BTARD, PROFILES, REDUNDANT_CODE, Configuration, PeerId, ProtocolError
from btard.protocol.mprng import uint64
from btard.protocol.state import initial_replica
from btard.protocol.update import Schedule, Sgd, describe
from btard.training.analytic import Quadratic
from btard.training.registry import known_names

DELAY, GRADIENT_TIME = 1000, 10_000
"""Δ and G in seconds of virtual time."""
SCHEDULES = ("even", "late", "random", "apart", "lossy")
"""When frames arrive, within Δ: after a tenth of Δ; after Δ; after any time; after Δ where one peer is concerned, else
at once; lost, sent again and doubled."""
ATTACKS = (
    # What aggregators, clipping and reports must withstand.
    "sign-flip",
    "mismatched-part",
    "misreported-product",
    "withheld-part",
    "shifted-aggregate",
    "withheld-aggregate",
    "misreported-norm",
    "impossible-aggregate",
    "covered-aggregate",
    "false-content-accusation",
    "false-accuser",
    "random-noise",
    "impossible-report",
    # What the agreed broadcast must withstand.
    "withheld-echo",
    "split-equivocation",
    "withheld-part",
    "partial-send",
    "flood",
    "equivocation",
    "wrong-opening",
    "late-equivocation",
    "withheld-echo-from-one",
    "false-echo",
    "silent",
    "false-complaint",
    "malformed",
    # What messages and judges must withstand.
    "misreported-norm",
    "wrong-hash",
    "shifted-aggregate",
    "missing-opening",
    "leave-before-audit",
    "wrong-state-hash",
    "false-evidence",
    "wrong-log-head",
    "late-opening",
    "replayed-attempt",
    "copied-commitment",
    "non-canonical",
    "replay",
    "forged-sender",
    "oversized",
    "replayed-run",
)
"""What Byzantine peers do in examples, each in turn. If several profiles are tested, each begins at another place, so
that a short series meets most of them; some stand here twice, for another profile."""
LARGE = 6
"""The example with so many peers that counts and arrays take longer forms."""
NO_ATTACK = ""
ATTACKS_GROUP = "btard.attacks"
"""The entry points of attacks; a saved run names one of these, and never code."""
MOST_PEERS, MOST_STEPS, MOST_PARAMETERS = 64, 10_000, 100_000
"""What a saved run may have at most: it may come from anybody."""


class ExampleError(ProtocolError):
    """An example that cannot be read or played; the message is one sentence."""


@dataclass(frozen=True)
class Example:
    """A run: who takes part, what the Byzantine peers do, how the network behaves. All else follows from ``seed``."""

    profile: str = BTARD
    peers: int = 4
    tolerated: int = 1
    byzantine: int = 0
    """How many peers carry out the attack, at most as many as are tolerated."""
    attack: str = NO_ATTACK
    start: int = 0
    """The first step of the attack."""
    validators: int = 1
    steps: int = 3
    dimension: int = 16
    schedule: str = "even"
    compression: int = 1
    """How many times shorter the parts are that a worker of profile redundant-code sends."""
    seats: int = 1
    """How many of the honest seats the implementation takes."""
    leaver: int = 0
    """After which step the implementation's first peer leaves in good order; 0 for never."""
    newcomer: int = 0
    """After which step an honest newcomer asks for a seat; 0 for never."""
    seed: int = 0

    def text(self) -> str:
        """The example in a line."""
        attackers = f"{self.byzantine} × {self.attack} from step {self.start}" if self.byzantine else "no attack"
        comes = f", one comes after step {self.newcomer}" if self.newcomer else ""
        leaves = f"{comes}, one leaves after step {self.leaver}" if self.leaver else comes
        short = f" in parts {self.compression} times shorter" if self.compression > 1 else ""
        return (
            f"{self.profile}, {self.peers} peers, b = {self.tolerated}, {attackers}, "
            f"up to {self.validators} validators, {self.steps} steps of {self.dimension} parameters{short}, "
            f"network {self.schedule}{leaves}, seed {self.seed}"
        )

    @property
    def configuration(self) -> Configuration:
        """What the peers agree on; raises :class:`~btard.protocol.model.ConfigurationError`."""
        return Configuration(
            peers=self.peers,
            tolerated=self.tolerated,
            dimension=self.dimension,
            steps=self.steps,
            gradient_clip=2.0 if self.seed % 3 == 0 else 50.0,  # clips most gradients, or none
            radius_initial=8.0,
            radius_min=0.5,
            radius_max=50.0,
            spread_ratio=2.0,
            validators=self.validators,
            task=self.task.description,
            optimizer=describe(Sgd(Schedule(0.25, self.steps), momentum=0.5)),
            delay=float(DELAY),
            gradient_time=float(GRADIENT_TIME),
            profile=self.profile,
            liars=self.tolerated if self.profile == REDUNDANT_CODE else 0,
            compression=self.compression,
        )

    @property
    def task(self) -> Quadratic:
        """Where gradients come from."""
        return Quadratic(self.dimension, mu=0.5, smoothness=1.0, noise=0.25)

    @property
    def identities(self) -> list[Identity]:
        """The keys of the peers, in roster order."""
        return sorted((self.key(index) for index in range(self.peers)), key=lambda identity: identity.peer_id)

    @property
    def stranger(self) -> Identity:
        """The keys of a newcomer."""
        return self.key(self.peers)

    def key(self, index: int) -> Identity:
        """A key pair that follows from the seed."""
        return Identity(tagged_hash("btard/conformance/key", uint64(self.seed), uint64(index)))

    @property
    def genesis(self) -> Genesis:
        """Record 0."""
        config, parameters = self.configuration, self.task.initial_parameters()
        roster = tuple(identity.peer_id for identity in self.identities)
        return Genesis(config, roster, initial_replica(config, parameters).state_hash)

    def roles(self) -> tuple[list[PeerId], list[PeerId]]:
        """The Byzantine peers, and the implementation's seats among the others, drawn from the seed: anywhere if it is
        even, else those with the lowest ids, which attackers choose as their victims."""
        order = [identity.peer_id for identity in self.identities]
        Random(self.seed).shuffle(order)
        honest = order[self.byzantine :]
        return order[: self.byzantine], (sorted(honest) if self.seed % 2 else honest)[: self.seats]

    def links(self) -> Links:
        """The network."""
        return WholeLinks(self.schedule, self.genesis.roster, self.seed)


class WholeLinks(Links):
    """Links whose every arrival is at a whole second, at most Δ after the sending."""

    def __init__(self, schedule: str, peers: tuple[PeerId, ...], seed: int) -> None:
        super().__init__(DELAY / 10)
        self.schedule, self.random = schedule, Random(seed)
        self.far = peers[seed % len(peers)]
        retry = DELAY / 10
        self.lossy = FaultyLinks(
            retry, DELAY - 1.0, loss=0.2, duplication=0.2, jitter=0.3 * DELAY, retry=retry, seed=seed
        )

    def arrivals(self, now: float, sender: PeerId, receiver: PeerId) -> list[float]:
        """When copies arrive."""
        if self.schedule == "lossy":
            return [float(round(time)) for time in self.lossy.arrivals(now, sender, receiver)]
        return [float(round(now + self.latency_of(sender, receiver)))]

    def latency_of(self, sender: PeerId, receiver: PeerId) -> int:
        """How long one frame takes."""
        match self.schedule:
            case "late":
                return DELAY
            case "random":
                return self.random.randint(1, DELAY)
            case "apart":
                return DELAY if self.far in (sender, receiver) else 1
        return DELAY // 10


# -- Drawing ----------------------------------------------------------------------------------


def draw(number: int, seed: int, profiles: tuple[str, ...], attacks: tuple[str, ...], seats: int = 1) -> Example:
    """Example ``number`` of a series: attacks and networks in turn, so that a short series meets many; sizes by lot.
    The first one of each profile has no attack."""
    random = Random(f"{seed}/{number}")
    profile = profiles[number % len(profiles)]
    tolerated = random.choice((1, 1, 2, 3))
    peers = max(2 * tolerated + 2 + random.choice((0, 0, 1, 2)), tolerated + seats + 2)
    attack = attack_of(number, len(profiles), attacks)
    drawn = Example(
        profile=profile,
        peers=peers,
        tolerated=tolerated,
        byzantine=random.randint(1, tolerated) if attack else 0,
        attack=attack,
        start=random.choice((0, 0, 1, 2)),
        validators=random.randint(1, 3),
        steps=random.randint(3, 5),
        dimension=peers + random.randint(1, 20),
        schedule=SCHEDULES[number % len(SCHEDULES)],
        seats=seats,
        leaver=2 if number % 7 == 5 and peers > 2 * tolerated + 2 else 0,
        seed=random.randrange(1 << 32),
    )
    if number % 7 == 3:  # long enough for a probation
        drawn = replace(drawn, newcomer=1, steps=16)
    if number % 7 == 4:  # liars whom only the closing steps can find, and several honest eyes
        drawn = replace(drawn, start=drawn.steps - 1, seats=seats + 1)
    if number == LARGE:
        drawn = replace(drawn, peers=26, dimension=40, steps=2)
    return coded(drawn, random) if profile == REDUNDANT_CODE else drawn


def attack_of(number: int, profiles: int, attacks: tuple[str, ...]) -> str:
    """The attack of one example."""
    turn, which = divmod(number, profiles)
    if not attacks or turn == 0:
        return NO_ATTACK
    return attacks[(turn - 1 + which * len(attacks) // profiles) % len(attacks)]


def coded(drawn: Example, random: Random) -> Example:
    """An example of profile redundant-code: parts cut into columns, and in every other one peers for two groups."""
    compression = random.choice((1, 2, 3))
    size = 2 * drawn.tolerated + compression
    peers = max(drawn.peers, 2 * size + 1 if random.random() < 0.5 else size + 1)
    larger = replace(drawn, validators=1, compression=compression, peers=peers, dimension=drawn.dimension + peers)
    return larger if playable(larger) else replace(drawn, validators=1)


# -- Shrinking --------------------------------------------------------------------------------


def smaller(example: Example) -> Iterator[Example]:
    """Simpler runs than ``example``, the simplest first."""
    changes: list[dict[str, Any]] = [
        {"byzantine": 0, "attack": NO_ATTACK, "start": 0},
        {"leaver": 0},
        {"newcomer": 0},
        {"schedule": "even"},
        {"peers": 4, "tolerated": 1, "byzantine": min(example.byzantine, 1), "seats": 1},
        {"byzantine": 1},
        {"seats": 1},
        {"validators": 1},
        {"compression": 1},
        {"dimension": example.peers},
        {"start": 0},
        *({"steps": steps} for steps in range(1, example.steps)),
        {"peers": example.peers - 1},
    ]
    for change in changes:
        simpler = replace(example, **change)
        if simpler != example and playable(simpler) and cost(simpler) < cost(example):
            yield simpler


def cost(example: Example) -> tuple[int, ...]:
    """How complicated an example is."""
    return (
        example.byzantine,
        example.peers,
        example.seats,
        example.steps,
        int(example.leaver > 0) + int(example.newcomer > 0),
        SCHEDULES.index(example.schedule),
        example.start,
        example.validators,
        example.compression,
        example.dimension,
    )


def playable(example: Example) -> bool:
    """Whether an example can be played."""
    small = example.peers <= MOST_PEERS and example.steps <= MOST_STEPS and example.dimension <= MOST_PARAMETERS
    fits = small and 0 <= example.byzantine <= example.tolerated and example.seats >= 1 and 0 <= example.seed < 1 << 64
    enough = example.byzantine + example.seats <= example.peers
    known = example.schedule in SCHEDULES and example.profile in PROFILES
    known = known and (not example.attack or example.attack in known_names(ATTACKS_GROUP))
    if not (fits and enough and known and bool(example.attack) == bool(example.byzantine)):
        return False
    try:
        return bool(example.configuration)
    except ProtocolError:
        return False


def shrink(example: Example, fails: Callable[[Example], bool]) -> Example:
    """The smallest run found that ``fails``; ``example`` does."""
    while True:
        simpler = next((candidate for candidate in smaller(example) if fails(candidate)), None)
        if simpler is None:
            return example
        example = simpler


# -- Files ------------------------------------------------------------------------------------


def save(example: Example, path: Path, **beside: Any) -> None:
    """Write an example as JSON, with what is known ``beside``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"example": asdict(example), **beside}, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Example:
    """Read an example; raises :class:`ExampleError`."""
    kinds = {f.name: str(f.type) for f in fields(Example)}
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))["example"]
        wrong = [name for name, value in plain.items() if type(value).__name__ != kinds.get(name)]
    except OSError as error:
        raise ExampleError(f"cannot read '{path}': {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ExampleError(f"'{path}' is no saved run: {error}") from error
    if wrong:
        raise ExampleError(f"'{path}' is no saved run: '{wrong[0]}' is not what a run has there")
    example = Example(**plain)
    if not playable(example):
        raise ExampleError(f"'{path}' holds a run that cannot be played: {example.text()}")
    return example
