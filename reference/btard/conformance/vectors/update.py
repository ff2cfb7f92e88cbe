"""Vectors of chapter ``update``."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

import numpy as np

from btard.conformance.vectors.cases import Chapter, operation
from btard.conformance.vectors.forms import number, read_real, read_singles, real, singles
from btard.protocol.arithmetic import Float32, norm
from btard.protocol.encoding import tagged_hash
from btard.protocol.update import (
    CANONICAL_NAN,
    AdamW,
    Lamb,
    Optimizer,
    OptimizerState,
    RestartedSgd,
    Schedule,
    Sgd,
    Stages,
    Updated,
    apply,
    describe,
    from_description,
    power,
    state_hash,
)

FLAGS = {
    "in-float64": "computes in float64 and rounds to float32 at the end",
    "fused": "multiplies and adds in one operation",
    "constant-in-float32": "computes a constant in float32 that is to be computed in float64 and rounded once",
    "library-power": "takes a correctly rounded power, multiplies lowest bit first, or in a loop",
    "other-schedule": "counts from 1, climbs from 0, or lets the decay begin with the warm-up",
    "other-stages": "is one update early or late, starts again with the first stage, or ends after the last",
    "other-decay": "puts weight decay beside the direction instead of into it, or the other way round",
    "other-momentum": "takes the rate into the momentum, damps the gradient, or forgets Nesterov's second term",
    "no-state": "starts from zeros at every update, or forgets to count",
    "no-correction": "leaves a correction of the bias out, or counts one update too few in it",
    "other-order": "does the operations in another order",
    "inner-epsilon": "adds ϵ below the root",
    "other-ratio": "limits LAMB's ratio, or measures something else with it",
    "one-layer": "takes all layers together",
    "other-restart": "starts the next stage at the last iterate, or averages others than the stage's",
    "shapes": "takes vectors of other lengths than the optimizer's",
    "nan-bits": "hashes a NaN with the sign and payload that it happens to have",
    "zeros-alike": "hashes −0 as 0",
    "no-lengths": "leaves the lengths or the count out of the state hash, or an empty vector",
    "little-endian": "writes counts with the least significant byte first, or entries with the most significant one",
    "settings": "takes a missing, unknown or double setting, or an unknown optimizer",
    "range": "takes a setting out of its range",
    "number-form": "takes numbers in other forms: signs, spaces, leading zeros, names, other bases and digits",
    "nearest": "reads a decimal by arithmetic on its digits, and not as the nearest float64",
}


@operation("update.power", "`base`: real number; `exponent`: a whole number", "real number: the power")
def compute_power(given: dict[str, Any]) -> str:
    """UPD-2."""
    return real(power(read_real(given["base"]), given["exponent"]))


@operation(
    "update.rate",
    "`optimizer`: list of pairs (name, value) of text, its description; `count`: updates before this one",
    "real number: the learning rate η of the update",
)
def compute_rate(given: dict[str, Any]) -> str:
    """UPD-3, UPD-11."""
    return real(read_optimizer(given).schedule.rate(given["count"]))


@operation(
    "update.read",
    "`optimizer`: list of pairs (name, value) of text, sorted by name",
    "an object with the settings by name: `name` as text, whole numbers, real numbers, lists of either; refused if it "
    "is no description",
)
def compute_read(given: dict[str, Any]) -> dict[str, Any]:
    """UPD-9."""
    optimizer = read_optimizer(given)
    kind = dict(describe(optimizer))["name"]
    parts: Sequence[Any] = (optimizer, optimizer.schedule)
    settings = {item.name: getattr(part, item.name) for part in parts for item in fields(part)}
    del settings["schedule"]
    return {"name": kind, **{name: plain_setting(value) for name, value in settings.items()}}


@operation(
    "update.apply",
    "`optimizer`: list of pairs (name, value) of text; `parameters`: vector of float32; `aggregates`: list of vectors "
    "of float32, one for each update in a row; `count`, `momentum`, `second_moment` (vectors of float32): the state "
    "before the first of them, where given, else the optimizer's first state",
    "an object with `parameters`, `momentum`, `second_moment` (vectors of float32, each NaN written as `0000c07f`), "
    "`count`, and `state_hash` (bytes), after the last update",
)
def compute_apply(given: dict[str, Any]) -> dict[str, Any]:
    """UPD-1, UPD-4 to UPD-8, UPD-10."""
    parameters = read_singles(given["parameters"])
    state = None
    if "count" in given:
        vectors = (read_singles(given[name]) for name in ("momentum", "second_moment"))
        state = OptimizerState(int(given["count"]), *vectors)
    aggregates = [read_singles(aggregate) for aggregate in given["aggregates"]]
    return outcome(*repeated(read_optimizer(given), parameters, aggregates, state))


@operation(
    "update.state_hash",
    "`parameters`, `momentum`, `second_moment`: vectors of float32; `count`",
    "bytes: the state hash",
)
def compute_state_hash(given: dict[str, Any]) -> str:
    """UPD-8."""
    parameters, *state = (read_singles(given[name]) for name in ("parameters", "momentum", "second_moment"))
    return state_hash(parameters, OptimizerState(int(given["count"]), *state)).hex()


def read_optimizer(given: dict[str, Any]) -> Optimizer:
    """The optimizer of a vector's description."""
    return from_description([(name, value) for name, value in given["optimizer"]])


def plain_setting(value: Any) -> Any:
    """A setting as it stands in a vector."""
    if isinstance(value, tuple):
        return [plain_setting(item) for item in value]
    return real(value) if isinstance(value, float) else value


def repeated(
    optimizer: Optimizer, parameters: Float32, aggregates: Sequence[Float32], state: OptimizerState | None = None
) -> Updated:
    """Several updates in a row."""
    state = state or optimizer.initial_state(len(parameters))
    for aggregate in aggregates:
        parameters, state = apply(optimizer, parameters, aggregate, state)
    return parameters, state


def outcome(parameters: Float32, state: OptimizerState) -> dict[str, Any]:
    """What ``update.apply`` gives."""
    vectors = {"parameters": parameters, "momentum": state.momentum, "second_moment": state.second_moment}
    written = {name: singles(np.where(np.isnan(vector), CANONICAL_NAN, vector)) for name, vector in vectors.items()}
    return {**written, "count": number(state.count), "state_hash": state_hash(parameters, state).hex()}


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("update", FLAGS)
    for add in (
        add_powers, add_rates, add_stages, add_hashes, add_sgd, add_adam, add_lamb, add_restarts, add_edges, add_shapes,
        add_read, add_unread, add_decimals,
    ):  # fmt: skip
        add(made)
    return made


# -- Powers and rates -------------------------------------------------------------------------


def exact_power(base: float, exponent: int) -> float:
    """The mistake of rounding once."""
    return float(Fraction(base) ** exponent)


def loop_power(base: float, exponent: int) -> float:
    """The mistake of the loop."""
    result = 1.0
    for _ in range(exponent):
        result *= base
    return result


def lowest_bit_first(base: float, exponent: int) -> float:
    """The mistake of the other binary method."""
    result = 1.0
    while exponent:
        if exponent % 2:
            result *= base
        base, exponent = base * base, exponent // 2
    return result


def add_powers(made: Chapter) -> None:
    """UPD-2."""
    for base, exponent in ((0.9, 0), (0.9, 1), (0.9, 2), (0.999, 1000), (0.0, 0), (0.0, 3), (0.5, 2000), (1.5, 16)):
        made.right(f"{base}-{exponent}", "update.power", "UPD-2", base=real(base), exponent=exponent)
    for base in (0.9, 0.999, 0.95, 1 / 3):
        for mistake in (exact_power, loop_power, lowest_bit_first):
            exponent = next(k for k in range(3, 500) if power(base, k) != mistake(base, k))
            made.trap(
                f"{mistake.__name__}-{base:.4g}-{exponent}", "update.power", "UPD-2", "library-power",
                real(mistake(base, exponent)), base=real(base), exponent=exponent,
            )  # fmt: skip


SCHEDULE = Schedule(0.3, total_steps=20, warmup_steps=6, decay_power=3, final_rate=0.07)
STEADY = Schedule(0.1, total_steps=100, decay_power=0)


def pairs_of(optimizer: Optimizer) -> list[list[str]]:
    """A description as it stands in a vector."""
    return [list(pair) for pair in describe(optimizer)]


def add_rates(made: Chapter) -> None:
    """UPD-3."""
    case = {"optimizer": pairs_of(Sgd(SCHEDULE))}
    for count in (0, 1, 5, 6, 7, 13, 19, 20, 21, 10**9):
        made.right(f"count-{count}", "update.rate", "UPD-3", count=count, **case)
    for decay in (0, 1, 2, 16):
        other = pairs_of(Sgd(replace(SCHEDULE, decay_power=decay)))
        made.right(f"power-{decay}", "update.rate", "UPD-3", count=12, optimizer=other)
    peak, last = 0.3, 0.07
    mistakes: dict[str, tuple[str, int, float]] = {
        "climb-from-zero": ("other-schedule", 2, peak * 2 / 6),
        "peak-too-early": ("other-schedule", 4, peak),
        "climb-from-final": ("other-schedule", 2, last + (peak - last) * 3 / 6),
        "decay-from-start": ("other-schedule", 12, last + (peak - last) * power(8 / 20, 3)),
        "decay-one-late": ("other-schedule", 12, last + (peak - last) * power(9 / 14, 3)),
        "decay-to-zero": ("other-schedule", 12, peak * power(8 / 14, 3)),
        "never-final": ("other-schedule", 25, last + (peak - last) * power(-5 / 14, 3)),
    }
    for name, (flag, count, mistaken) in mistakes.items():
        made.trap(name, "update.rate", "UPD-3", flag, real(mistaken), count=count, **case)
    add_rate_orders(made)


def add_rate_orders(made: Chapter) -> None:
    """UPD-3: other orders of operations, at the first count where they show."""
    long = Schedule(0.3, total_steps=200, warmup_steps=60, decay_power=3, final_rate=0.07)
    orders: dict[str, tuple[str, Callable[[int], float]]] = {
        "climb-fraction-first": (
            "other-order",
            lambda count: 0.3 * ((count + 1) / 60) if count < 60 else long.rate(count),
        ),
        "weighted": ("other-order", lambda count: weighted((200 - count) / 140) if count >= 60 else long.rate(count)),
        "powers": ("library-power", lambda count: decayed((200 - count) / 140) if count >= 60 else long.rate(count)),
    }
    for name, (flag, mistake) in orders.items():
        count = next(k for k in range(200) if long.rate(k) != mistake(k))
        made.trap(name, "update.rate", "UPD-3", flag, real(mistake(count)), count=count, optimizer=pairs_of(Sgd(long)))


def weighted(remaining: float) -> float:
    """The mistake of mixing both rates by their weights."""
    share = power(remaining, 3)
    return 0.07 * (1 - share) + 0.3 * share


def decayed(remaining: float) -> float:
    """The decayed rate with a correctly rounded power."""
    return 0.07 + (0.3 - 0.07) * exact_power(remaining, 3)


STAGES = Stages(rates=(0.5, 0.25, 0.1), lengths=(3, 2, 4))


def add_stages(made: Chapter) -> None:
    """UPD-11."""
    case = {"optimizer": pairs_of(RestartedSgd(STAGES))}
    for count in (0, 2, 3, 4, 5, 8, 9, 12, 13, 10**9):
        made.right(f"stage-at-{count}", "update.rate", "UPD-11", count=count, **case)
    mistakes = {
        "late": (3, 0.5),
        "early": (2, 0.25),
        "late-again": (5, 0.25),
        "from-the-first": (9, 0.5),
        "over": (9, 0.0),
        "around-twice": (12, 0.25),
    }
    for name, (count, mistaken) in mistakes.items():
        made.trap(f"stage-{name}", "update.rate", "UPD-11", "other-stages", real(mistaken), count=count, **case)


# -- Updates ----------------------------------------------------------------------------------


def vectors_of(count: int, length: int, seed: int) -> list[Float32]:
    """Vectors of entries of both signs and several sizes."""
    made, state = [], seed
    for _ in range(count):
        entries = []
        for _ in range(length):
            state = state * 6364136223846793005 % 2**64 + 1442695040888963407
            entries.append(math.ldexp((state >> 33) % 2**24 - 2**23, (state >> 60) % 5 - 26))
        made.append(np.array(entries, dtype=np.float32))
    return made


START, *AGGREGATES = vectors_of(6, 12, 3)
"""Parameters, and the aggregates of five updates."""
EXAMPLE = np.array([1, -2, 0.5], dtype=np.float32), np.array([[0.5, 0.25, -1], [0.1, -0.3, 0]], dtype=np.float32)
"""The chapter's worked example."""


def apply_case(optimizer: Optimizer, parameters: Float32 = START, count: int = 5) -> dict[str, Any]:
    """The input of ``update.apply``."""
    aggregates = [singles(aggregate) for aggregate in AGGREGATES[:count]]
    return {"optimizer": pairs_of(optimizer), "parameters": singles(parameters), "aggregates": aggregates}


def add_updates(
    made: Chapter, name: str, requirements: str, optimizer: Optimizer, mistakes: dict[str, tuple[str, Optimizer]]
) -> None:
    """The right result after one update and after five, and five with every mistake."""
    for count in (1, 5):
        made.right(f"{name}-{count}", "update.apply", requirements, **apply_case(optimizer, count=count))
    for other, (flag, mistaken) in mistakes.items():
        result = outcome(*repeated(mistaken, START, AGGREGATES))
        made.trap(f"{name}-{other}", "update.apply", requirements, flag, result, **apply_case(optimizer))


@dataclass(frozen=True)
class MistakenSgd(Sgd):
    """Gradient descent with a mistake."""

    mistake: Callable[[Sgd, Float32, Float32, OptimizerState], Updated] = Sgd.update

    def update(self, parameters: Float32, aggregate: Float32, state: OptimizerState) -> Updated:
        """One update, with the mistake."""
        return self.mistake(self, parameters, aggregate, state)


def mistaken(optimizer: Sgd, mistake: Callable[[Sgd, Float32, Float32, OptimizerState], Updated]) -> Optimizer:
    """The same optimizer with a mistake."""
    return MistakenSgd(optimizer.schedule, optimizer.momentum, optimizer.nesterov, optimizer.weight_decay, mistake)


def sgd_in_float64(own: Sgd, x: Float32, g: Float32, state: OptimizerState) -> Updated:
    """The mistake of one rounding at the end."""
    u = g.astype(np.float64) + own.weight_decay * x.astype(np.float64)
    m = own.momentum * state.momentum.astype(np.float64) + u
    p = u + own.momentum * m if own.nesterov else m
    y = x.astype(np.float64) - own.schedule.rate(state.count) * p
    return y.astype(np.float32), replace(state, count=state.count + 1, momentum=m.astype(np.float32))


def sgd_fused(own: Sgd, x: Float32, g: Float32, state: OptimizerState) -> Updated:
    """The mistake of adding products that are not rounded; a product of float32 is exact in float64."""
    wide, mu, omega = np.float64, float(np.float32(own.momentum)), float(np.float32(own.weight_decay))
    u = (x.astype(wide) * omega + g).astype(np.float32)
    m = (state.momentum.astype(wide) * mu + u).astype(np.float32)
    p = (m.astype(wide) * mu + u).astype(np.float32) if own.nesterov else m
    rate = float(np.float32(own.schedule.rate(state.count)))
    return (x - p.astype(wide) * rate).astype(np.float32), replace(state, count=state.count + 1, momentum=m)


def single(value: float) -> Float32:
    """A constant, rounded to float32."""
    return np.array(value, dtype=np.float32)


def sgd_rate_inside(own: Sgd, x: Float32, g: Float32, state: OptimizerState) -> Updated:
    """The mistake of a momentum of steps instead of gradients."""
    u = g + single(own.weight_decay) * x
    m = single(own.momentum) * state.momentum + single(own.schedule.rate(state.count)) * u
    return x - m, replace(state, count=state.count + 1, momentum=m)


def sgd_damped(own: Sgd, x: Float32, g: Float32, state: OptimizerState) -> Updated:
    """The mistake of a moving average."""
    u = g + single(own.weight_decay) * x
    m = single(own.momentum) * state.momentum + single(1.0 - own.momentum) * u
    return x - single(own.schedule.rate(state.count)) * m, replace(state, count=state.count + 1, momentum=m)


def sgd_decoupled(own: Sgd, x: Float32, g: Float32, state: OptimizerState) -> Updated:
    """The mistake of decaying the weights beside the direction."""
    rate = own.schedule.rate(state.count)
    y, after = replace(Sgd(own.schedule, own.momentum, own.nesterov)).update(x, g, state)
    return y - np.float32(rate * own.weight_decay) * x, after


def sgd_forgetful(own: Sgd, x: Float32, g: Float32, state: OptimizerState) -> Updated:
    """The mistake of keeping no momentum."""
    y, after = Sgd.update(own, x, g, own.initial_state(len(x)))
    return y, after


def add_sgd(made: Chapter) -> None:
    """UPD-4."""
    plain = Sgd(SCHEDULE)
    add_updates(made, "sgd", "UPD-4 UPD-1", plain, {"counts-from-one": ("other-schedule", plain_late(plain))})
    add_updates(made, "sgd-decay", "UPD-4 UPD-1", replace(plain, weight_decay=0.01), {
        "no-decay": ("other-decay", plain),
    })  # fmt: skip
    rich = Sgd(SCHEDULE, momentum=0.9, weight_decay=0.01)
    nesterov = replace(rich, nesterov=1)
    for name, optimizer in (("sgd-momentum", rich), ("sgd-nesterov", nesterov)):
        add_updates(made, name, "UPD-4 UPD-1", optimizer, {
            "wide": ("in-float64", mistaken(optimizer, sgd_in_float64)),
            "fused": ("fused", mistaken(optimizer, sgd_fused)),
            "rate-inside": ("other-momentum", mistaken(optimizer, sgd_rate_inside)),
            "damped": ("other-momentum", mistaken(optimizer, sgd_damped)),
            "decoupled": ("other-decay", mistaken(optimizer, sgd_decoupled)),
            "forgetful": ("no-state", mistaken(optimizer, sgd_forgetful)),
            "nesterov-mixed-up": ("other-momentum", rich if optimizer.nesterov else nesterov),
        })  # fmt: skip
    add_examples(made)


def add_examples(made: Chapter) -> None:
    """UPD-4, UPD-5, UPD-6, UPD-10: the chapter's worked example."""
    schedule = Schedule(0.1, total_steps=4, warmup_steps=1, decay_power=2)
    optimizers: dict[str, tuple[str, Optimizer]] = {
        "sgd": ("UPD-4", Sgd(schedule, momentum=0.9, weight_decay=0.01)),
        "adamw": ("UPD-5", AdamW(schedule, weight_decay=0.01)),
        "lamb": ("UPD-6", Lamb(schedule, weight_decay=0.01, layers=(2, 1))),
        "restarted-ended": ("UPD-10", RestartedSgd(Stages((0.1,), (2,)))),
        "restarted-within": ("UPD-10", RestartedSgd(Stages((0.1,), (3,)))),
    }
    parameters, aggregates = EXAMPLE
    case = {"parameters": singles(parameters), "aggregates": [singles(row) for row in aggregates]}
    for name, (requirement, optimizer) in optimizers.items():
        made.right(f"example-{name}", "update.apply", requirement, optimizer=pairs_of(optimizer), **case)


def plain_late(optimizer: Sgd) -> Optimizer:
    """The mistake of a rate one update ahead."""

    def ahead(own: Sgd, x: Float32, g: Float32, state: OptimizerState) -> Updated:
        return x - np.float32(own.schedule.rate(state.count + 1)) * g, replace(state, count=state.count + 1)

    return mistaken(optimizer, ahead)


@dataclass(frozen=True)
class MistakenAdam(AdamW):
    """Adam with one piece replaced: named settings are mistakes."""

    mistake: str = ""

    def moments(self, aggregate: Float32, state: OptimizerState) -> OptimizerState:
        """Moments, in one mistake each with a constant in float32, fused, or of the squared momentum."""
        if self.mistake == "constant-in-float32":
            return blended(
                self, aggregate, state, np.float32(1) - np.float32(self.beta1), np.float32(1) - np.float32(self.beta2)
            )
        if self.mistake == "fused":
            return fused_moments(self, aggregate, state)
        after = super().moments(aggregate, state)
        return replace(after, count=state.count) if self.mistake == "forgets-to-count" else after

    def scale(self, after: OptimizerState) -> Float32:
        """The divisor, in some mistakes another one."""
        v, epsilon = after.second_moment, single(self.epsilon)
        bias = 1.0 - power(self.beta2, max(1, after.count))
        if self.mistake == "inner-epsilon":
            return np.asarray(np.sqrt(v / single(bias) + epsilon))
        if self.mistake == "corrected-first":
            return np.asarray(np.sqrt(v / single(bias)) + epsilon)
        if self.mistake == "no-second-correction":
            return np.asarray(np.sqrt(v) + epsilon)
        if self.mistake == "one-too-few":
            return super().scale(replace(after, count=max(1, after.count - 1)))
        if self.mistake == "root-in-float32":
            return np.asarray(np.sqrt(v) / np.sqrt(single(bias)) + epsilon)
        return super().scale(replace(after, count=max(1, after.count)))

    def update(self, parameters: Float32, aggregate: Float32, state: OptimizerState) -> Updated:
        """One update, with some mistakes in its end."""
        if self.mistake == "in-float64":
            return adam_in_float64(self, parameters, aggregate, state)
        rate = self.schedule.rate(state.count)
        after = self.moments(aggregate, state)
        count = max(1, after.count)
        bias = 1.0 if self.mistake == "no-first-correction" else 1.0 - power(self.beta1, count)
        scale, step_size = self.scale(after), np.float32(rate / bias)
        m = after.momentum
        orders = {
            "corrected-momentum": lambda: np.float32(rate) * ((m / np.float32(bias)) / scale),
            "product-first": lambda: (step_size * m) / scale,
        }
        change = orders.get(self.mistake, lambda: step_size * (m / scale))()
        decay = np.float32(rate * self.weight_decay)
        kept = parameters - decay * parameters if self.mistake == "decay-subtracted" else parameters * (
            np.float32(1.0 - rate * self.weight_decay)
        )  # fmt: skip
        return kept - change, after


def blended(own: AdamW, g: Float32, state: OptimizerState, fresh1: np.float32, fresh2: np.float32) -> OptimizerState:
    """Both moments, with these shares of what is new."""
    m = np.float32(own.beta1) * state.momentum + fresh1 * g
    v = np.float32(own.beta2) * state.second_moment + fresh2 * (g * g)
    return OptimizerState(state.count + 1, m, v)


def fused_moments(own: AdamW, g: Float32, state: OptimizerState) -> OptimizerState:
    """The mistake of adding β·m unrounded to what is new."""
    keep1, keep2 = float(np.float32(own.beta1)), float(np.float32(own.beta2))
    m = (state.momentum.astype(np.float64) * keep1 + g * np.float32(1.0 - own.beta1)).astype(np.float32)
    v = (state.second_moment.astype(np.float64) * keep2 + (g * g) * np.float32(1.0 - own.beta2)).astype(np.float32)
    return OptimizerState(state.count + 1, m, v)


def adam_in_float64(own: AdamW, x: Float32, g: Float32, state: OptimizerState) -> Updated:
    """The mistake of one rounding at the end."""
    rate, count, wide = own.schedule.rate(state.count), state.count + 1, g.astype(np.float64)
    m = own.beta1 * state.momentum.astype(np.float64) + (1 - own.beta1) * wide
    v = own.beta2 * state.second_moment.astype(np.float64) + (1 - own.beta2) * wide * wide
    q = np.sqrt(v) / math.sqrt(1 - power(own.beta2, count)) + own.epsilon
    y = (1 - rate * own.weight_decay) * x.astype(np.float64) - rate / (1 - power(own.beta1, count)) * (m / q)
    return y.astype(np.float32), OptimizerState(count, m.astype(np.float32), v.astype(np.float32))


ADAM_MISTAKES = {
    "in-float64": "in-float64",
    "fused": "fused",
    "constant-in-float32": "constant-in-float32",
    "root-in-float32": "constant-in-float32",
    "inner-epsilon": "inner-epsilon",
    "corrected-first": "other-order",
    "corrected-momentum": "other-order",
    "product-first": "other-order",
    "no-first-correction": "no-correction",
    "no-second-correction": "no-correction",
    "one-too-few": "no-correction",
    "forgets-to-count": "no-state",
    "decay-subtracted": "other-order",
}
"""By name: the mistake."""


def add_adam(made: Chapter) -> None:
    """UPD-5."""
    for name, decay in (("adamw", 0.0), ("adamw-decay", 0.013)):
        optimizer = AdamW(SCHEDULE, epsilon=1e-3, weight_decay=decay)
        mistakes: dict[str, tuple[str, Optimizer]] = {
            other: (flag, MistakenAdam(SCHEDULE, epsilon=1e-3, weight_decay=decay, mistake=other))
            for other, flag in ADAM_MISTAKES.items()
            if decay or other != "decay-subtracted"
        }
        mistakes["other-beta"] = ("constant-in-float32", replace(optimizer, beta2=float(np.float32(0.999))))
        add_updates(made, name, "UPD-5 UPD-1 UPD-2", optimizer, mistakes)
    least = AdamW(STEADY, beta1=0.0, beta2=0.0, epsilon=2.0**-126)
    add_updates(made, "adamw-no-memory", "UPD-5", least, {})


@dataclass(frozen=True)
class MistakenLamb(Lamb):
    """LAMB with a mistake."""

    mistake: str = ""

    def update(self, parameters: Float32, aggregate: Float32, state: OptimizerState) -> Updated:
        """One update, with the mistake."""
        rate, after = self.schedule.rate(state.count), self.moments(aggregate, state)
        change = (after.momentum / np.float32(1.0 - power(self.beta1, after.count))) / self.scale(after)
        decayed = np.float32(self.weight_decay) * parameters
        result, start = parameters.copy(), 0
        if self.mistake != "decay-outside":
            change = change + decayed
        for length in self.layers or (len(parameters),):
            layer = slice(start, start + length)
            step = np.float32(self.factor(rate, parameters[layer], change[layer])) * change[layer]
            result[layer] = parameters[layer] - step
            start += length
        outside = self.mistake == "decay-outside"
        return (result - np.float32(rate) * decayed if outside else result), after

    def factor(self, rate: float, parameters: Float32, change: Float32) -> float:
        """Rate times ratio of one layer."""
        long, short = float(norm(parameters)), float(norm(change))
        if self.mistake == "norms-in-float32":
            long, short = (math.sqrt(float(np.float32(sum(v * v for v in vector)))) for vector in (parameters, change))
        zero = {"zero-without-norm": 0.0}.get(self.mistake, 1.0)
        ratio = long / short if long > 0 and short > 0 else zero
        changes = {
            "at-most-ten": min(ratio, 10.0),
            "at-least-one": max(ratio, 1.0),
            "rounded-ratio": float(np.float32(ratio)),
            "no-ratio": 1.0,
        }
        ratio = changes.get(self.mistake, ratio)
        return float(np.float32(rate) * np.float32(ratio)) if self.mistake == "rounded-ratio" else rate * ratio


def add_lamb(made: Chapter) -> None:
    """UPD-6."""
    names = {
        "decay-outside": "other-decay",
        "norms-in-float32": "other-ratio",
        "at-least-one": "other-ratio",
        "no-ratio": "other-ratio",
        "rounded-ratio": "constant-in-float32",
    }
    for name, layers in (("lamb", ()), ("lamb-layers", (5, 1, 6))):
        optimizer = Lamb(SCHEDULE, epsilon=1e-3, weight_decay=0.013, layers=layers)
        mistakes: dict[str, tuple[str, Optimizer]] = {
            other: (flag, MistakenLamb(SCHEDULE, epsilon=1e-3, weight_decay=0.013, layers=layers, mistake=other))
            for other, flag in names.items()
        }
        if layers:  # in so short layers, rounding a norm or a ratio shows only by chance
            del mistakes["norms-in-float32"], mistakes["rounded-ratio"]
            mistakes["together"] = ("one-layer", replace(optimizer, layers=()))
            mistakes["layers-turned"] = ("one-layer", replace(optimizer, layers=layers[::-1]))
        add_updates(made, name, "UPD-6 UPD-1", optimizer, mistakes)
    optimizer = Lamb(SCHEDULE, epsilon=1e-3, layers=(5, 7))
    starts = {"zero-without-norm": np.zeros(12, dtype=np.float32), "at-most-ten": START * np.float32(1024)}
    for name, start in starts.items():
        wrong = MistakenLamb(SCHEDULE, epsilon=1e-3, layers=(5, 7), mistake=name)
        result = outcome(*repeated(wrong, start, AGGREGATES[:1]))
        case = apply_case(optimizer, start, count=1)
        made.trap(f"lamb-{name}", "update.apply", "UPD-6", "other-ratio", result, **case)


@dataclass(frozen=True)
class MistakenRestarts(RestartedSgd):
    """Restarted gradient descent with a mistake."""

    mistake: str = ""

    def update(self, parameters: Float32, aggregate: Float32, state: OptimizerState) -> Updated:
        """One update, with the mistake."""
        updated, after = super().update(parameters, aggregate, state)
        stage, before = self.schedule.place(state.count)
        length = self.schedule.lengths[stage]
        if before + 1 < length:
            return updated, after
        last = parameters - np.float32(self.schedule.rates[stage]) * aggregate
        total = state.momentum + last
        ends: dict[str, Float32] = {
            "last-iterate": last,
            "without-the-last": state.momentum / np.float32(max(1, length - 1)),
            "times-inverse": total * np.float32(1.0 / length),
            "with-the-first": total / np.float32(length + 1),
            "in-float64": ((state.momentum.astype(np.float64) + last) / length).astype(np.float32),
        }
        kept = replace(after, momentum=total) if self.mistake == "sum-stays" else after
        return ends.get(self.mistake, updated), kept


def add_restarts(made: Chapter) -> None:
    """UPD-10 and UPD-11."""
    optimizer = RestartedSgd(STAGES)
    mistakes: dict[str, tuple[str, Optimizer]] = {
        "last-iterate": ("other-restart", MistakenRestarts(STAGES, "last-iterate")),
        "without-the-last": ("other-restart", MistakenRestarts(STAGES, "without-the-last")),
        "with-the-first": ("other-restart", MistakenRestarts(STAGES, "with-the-first")),
        "sum-stays": ("other-restart", MistakenRestarts(STAGES, "sum-stays")),
        "times-inverse": ("other-order", MistakenRestarts(STAGES, "times-inverse")),
        "in-float64": ("in-float64", MistakenRestarts(STAGES, "in-float64")),
        "stage-late": ("other-stages", RestartedSgd(Stages((0.5, 0.25, 0.1), (4, 2, 4)))),
    }
    add_updates(made, "restarted-sgd", "UPD-10 UPD-11 UPD-1", optimizer, mistakes)
    short = RestartedSgd(Stages((0.5, 0.25), (2, 1)))
    over: dict[str, tuple[str, Optimizer]] = {
        "first-again": ("other-stages", RestartedSgd(Stages((0.5, 0.25, 0.5), (2, 1, 2)))),
        "never-again": ("other-stages", RestartedSgd(Stages((0.5, 0.25, 0.25), (2, 1, 100)))),
    }
    add_updates(made, "restarted-repeats", "UPD-11 UPD-10", short, over)


def add_edges(made: Chapter) -> None:
    """UPD-1, UPD-7: overflow, gradual underflow, negative zero, a state in the middle of a run."""
    rich = Sgd(STEADY, momentum=0.5)
    great = {"parameters": singles([3e38, -3e38]), "aggregates": [singles([-3e38, 3e38])] * 3}
    made.right("overflow", "update.apply", "UPD-7 UPD-1", optimizer=pairs_of(Sgd(Schedule(5.0, 9))), **great)
    nan = {"parameters": singles([1.0, 2.0]), "aggregates": ["0000807f" + singles([1.0]), "000080ff" + singles([1.0])]}
    made.right("becomes-nan", "update.apply", "UPD-8 UPD-1", optimizer=pairs_of(rich), **nan)
    made.right("becomes-nan-adam", "update.apply", "UPD-8 UPD-1", optimizer=pairs_of(AdamW(STEADY)), **nan)
    small = {"parameters": singles([3 * 2.0**-149, 0.0]), "aggregates": [singles([2.0**-146, -(2.0**-149)])]}
    optimizer = Sgd(Schedule(0.25, 9, decay_power=0))
    made.right("subnormal", "update.apply", "UPD-1", optimizer=pairs_of(optimizer), **small)
    zeros = {"parameters": singles([-0.0, 0.0, -0.0]), "aggregates": [singles([0.0, -0.0, -0.0])]}
    made.right("negative-zeros", "update.apply", "UPD-1", optimizer=pairs_of(optimizer), **zeros)
    made.right("nothing", "update.apply", "UPD-4", optimizer=pairs_of(optimizer), parameters="", aggregates=[""])
    for name, kind, later in (
        ("sgd", Sgd(SCHEDULE, momentum=0.9), 7),
        ("adamw", AdamW(SCHEDULE), 2**40),
        ("lamb", Lamb(SCHEDULE, layers=(6, 6)), 11),
        ("restarted-sgd", RestartedSgd(STAGES), 4),
    ):
        m, v, empty = AGGREGATES[3], np.abs(AGGREGATES[4]), np.zeros(0, dtype=np.float32)
        state = {"momentum": singles(m), "second_moment": singles(v if isinstance(kind, AdamW) else empty)}
        case = {**apply_case(kind, count=2), **state}
        fresh = outcome(*repeated(kind, START, AGGREGATES[:2]))
        made.trap(f"continued-{name}", "update.apply", "UPD-7", "no-state", fresh, count=later, **case)


def add_shapes(made: Chapter) -> None:
    """UPD-7."""
    full, empty = singles(START), ""
    states: dict[str, tuple[Optimizer, str, str]] = {
        "sgd-with-momentum": (Sgd(STEADY), full, empty),
        "sgd-without-momentum": (Sgd(STEADY, momentum=0.5), empty, empty),
        "sgd-with-second-moment": (Sgd(STEADY, momentum=0.5), full, full),
        "sgd-long-momentum": (Sgd(STEADY, momentum=0.5), full + "00000000", empty),
        "adamw-without-moments": (AdamW(STEADY), empty, empty),
        "adamw-without-second": (AdamW(STEADY), full, empty),
        "adamw-short-second": (AdamW(STEADY), full, full[:-8]),
        "restarted-without-sum": (RestartedSgd(STAGES), empty, empty),
        "restarted-with-second": (RestartedSgd(STAGES), full, full),
    }
    for name, (optimizer, momentum, second) in states.items():
        case = {**apply_case(optimizer, count=1), "count": 3, "momentum": momentum, "second_moment": second}
        made.refused(name, "update.apply", "UPD-7", "shapes", **case)
    lengths = {
        "short-aggregate": full[:-8],
        "long-aggregate": full + "00000000",
        "no-aggregate": "",
        "one-entry": full[:8],
    }
    for name, aggregate in lengths.items():
        for kind, optimizer in (("sgd", Sgd(STEADY)), ("adamw", AdamW(STEADY))):
            case = {**apply_case(optimizer), "aggregates": [aggregate]}
            made.refused(f"{kind}-{name}", "update.apply", "UPD-7", "shapes", **case)
    later = {**apply_case(Sgd(STEADY)), "aggregates": [full, full[:-8]]}
    made.refused("second-aggregate-short", "update.apply", "UPD-7", "shapes", **later)
    for layers in ((5, 6), (5, 8), (13,)):
        made.refused(
            f"layers-{sum(layers)}-{len(layers)}", "update.apply", "UPD-6", "shapes",
            **apply_case(Lamb(STEADY, layers=layers), count=1),
        )  # fmt: skip


# -- State hash -------------------------------------------------------------------------------


def add_hashes(made: Chapter) -> None:
    """UPD-8."""
    x, m, v = singles([1.0, -2.0]), singles([0.5, 0.25]), singles([3.0, 4.0])
    for name, (first, second) in {"no-state": ("", ""), "momentum": (m, ""), "both": (m, v)}.items():
        for count in (0, 1, 258, 2**53 + 1):
            case = {"parameters": x, "count": number(count), "momentum": first, "second_moment": second}
            made.right(f"{name}-{count}", "update.state_hash", "UPD-8", **case)
    case = {"parameters": x, "count": 258, "momentum": m, "second_moment": ""}
    written = [(258).to_bytes(8, "big"), *(framed(digits) for digits in (x, m, ""))]
    turned = b"".join(struct.pack(">f", value) for value in (1.0, -2.0))
    wrong: dict[str, tuple[str, list[bytes]]] = {
        "count-turned": ("little-endian", [(258).to_bytes(8, "little"), *written[1:]]),
        "entries-turned": ("little-endian", [written[0], written[1][:8] + turned, *written[2:]]),
        "lengths-turned": ("little-endian", [written[0], *(framed(d, "little") for d in (x, m, ""))]),
        "bytes-counted": ("no-lengths", [written[0], (8).to_bytes(8, "big"), *written[1:]]),
        "no-lengths": ("no-lengths", [written[0], bytes.fromhex(x), bytes.fromhex(m)]),
        "no-empty-vector": ("no-lengths", written[:3]),
        "no-count": ("no-lengths", written[1:]),
        "moments-first": ("other-order", [written[0], written[2], written[1], written[3]]),
        "count-last": ("other-order", [*written[1:], written[0]]),
    }
    for name, (flag, parts) in wrong.items():
        mistaken = tagged_hash("btard/state", *parts).hex()
        made.trap(name, "update.state_hash", "UPD-8", flag, mistaken, **case)
    for name, bits in {
        "negative": "0000c0ff",
        "payload": "0100c07f",
        "signalling": "0100807f",
        "all-ones": "ffffffff",
    }.items():
        spoiled = {**case, "parameters": x[:8] + bits, "momentum": bits + m[8:]}
        parts = [written[0], *(framed(digits) for digits in (x[:8] + bits, bits + m[8:], ""))]
        mistaken = tagged_hash("btard/state", *parts).hex()
        made.trap(f"nan-{name}", "update.state_hash", "UPD-8", "nan-bits", mistaken, **spoiled)
    zeros = {**case, "parameters": singles([-0.0, 1.0])}
    mistaken = compute_state_hash({**case, "parameters": singles([0.0, 1.0])})
    made.trap("negative-zero", "update.state_hash", "UPD-8", "zeros-alike", mistaken, **zeros)
    moved = {**case, "parameters": x + m, "momentum": ""}
    made.trap("moved-entries", "update.state_hash", "UPD-8", "no-lengths", compute_state_hash(case), **moved)


def framed(digits: str, order: Any = "big") -> bytes:
    """A vector as the state hash takes it."""
    return (len(digits) // 8).to_bytes(8, order) + bytes.fromhex(digits)


# -- Descriptions -----------------------------------------------------------------------------

SGD = dict(describe(Sgd(SCHEDULE, momentum=0.9)))
ADAM = dict(describe(AdamW(SCHEDULE)))
LAMB = dict(describe(Lamb(SCHEDULE, layers=(2, 1))))
RESTARTED = dict(describe(RestartedSgd(STAGES)))


def description(settings: dict[str, str]) -> list[list[str]]:
    """Settings as sorted pairs."""
    return [list(pair) for pair in sorted(settings.items())]


def add_read(made: Chapter) -> None:
    """UPD-9: what must be read."""
    for name, settings in (("sgd", SGD), ("adamw", ADAM), ("lamb", LAMB), ("restarted-sgd", RESTARTED)):
        made.right(name, "update.read", "UPD-9", optimizer=description(settings))
    forms = {
        "whole": {"learning_rate": "1"},
        "leading-zeros": {"learning_rate": "000.50"},
        "twenty-digits": {"learning_rate": "1" + "0" * 19, "final_rate": "0." + "1" * 20},
        "exponent": {"learning_rate": "25e-3", "final_rate": "1e-3"},
        "three-digits-of-exponent": {"final_rate": "1e-307"},
        "less-than-the-least": {"final_rate": "1e-999"},
        "zero-exponent": {"learning_rate": "0.5e0"},
        "greatest-count": {"total_steps": "9999999999"},
        "greatest-power": {"decay_power": "16"},
    }
    for name, change in forms.items():
        made.right(f"form-{name}", "update.read", "UPD-9", optimizer=description({**SGD, **change}))
    made.right("no-layers", "update.read", "UPD-9", optimizer=description({**LAMB, "layers": ""}))
    made.right("least-epsilon", "update.read", "UPD-9", optimizer=description({**ADAM, "epsilon": repr(2.0**-126)}))
    stages = {"rates": ",".join(["0.5"] * 64), "lengths": ",".join(["1"] * 64)}
    made.right("64-stages", "update.read", "UPD-9", optimizer=description({**RESTARTED, **stages}))


RANGES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "sgd": (SGD, {
        "momentum": "1.0 1.5", "nesterov": "2 3", "learning_rate": "0 0.0 1e999", "final_rate": "0.31 1e999",
        "warmup_steps": "20 21", "total_steps": "0 6", "decay_power": "17", "weight_decay": "1e999",
    }),
    "adamw": (ADAM, {"beta1": "1.0 1", "beta2": "1.0 2", "epsilon": "0 1e-38 1e999", "weight_decay": "1e309"}),
    "lamb": (LAMB, {"layers": "0 2,0 0,3", "beta1": "1"}),
    "restarted-sgd": (RESTARTED, {"rates": "0.5,0.25,0 0.5,0.25 0.5,0.25,0.1,0.1 1e999,1,1", "lengths": "3,2,0 3,2"}),
}  # fmt: skip
"""By optimizer: usual settings, and values out of range."""


def add_unread(made: Chapter) -> None:
    """UPD-9: what must be refused."""
    for kind, (settings, values) in RANGES.items():
        for name, listing in values.items():
            for index, value in enumerate(listing.split()):
                bad = description({**settings, name: value})
                made.refused(f"{kind}-{name}-{index}", "update.read", "UPD-9", "range", optimizer=bad)
    many = {"rates": ",".join(["0.5"] * 65), "lengths": ",".join(["1"] * 65)}
    none = {"rates": "", "lengths": ""}
    for count, change in (("no", none), ("65", many)):
        bad = description({**RESTARTED, **change})
        made.refused(f"{count}-stages", "update.read", "UPD-9", "range", optimizer=bad)
    for settings in (SGD, ADAM, LAMB, RESTARTED):
        for name in settings:
            rest = {other: value for other, value in settings.items() if other != name}
            made.refused(
                f"{settings['name']}-without-{name}", "update.read", "UPD-9", "settings", optimizer=description(rest)
            )
    wrong = {
        "unknown-setting": description({**SGD, "dampening": "0.0"}),
        "of-another-optimizer": description({**SGD, "beta1": "0.9"}),
        "of-another-schedule": description({**SGD, "rates": "0.1"}),
        "schedule-itself": description({**SGD, "schedule": ""}),
        "layers-of-adamw": description({**ADAM, "layers": ""}),
        "twice": sorted([*description(SGD), ["momentum", "0.9"]]),
        "twice-different": sorted([*description(SGD), ["momentum", "0.5"]]),
        "unknown-optimizer": description({**SGD, "name": "adam"}),
        "capital-name": description({**SGD, "name": "SGD"}),
        "empty-name": description({**SGD, "name": ""}),
        "name-with-space": description({**SGD, "name": "sgd "}),
        "capital-setting": description({**{k: v for k, v in SGD.items() if k != "momentum"}, "Momentum": "0.9"}),
        "nothing": [],
    }
    for name, pairs in wrong.items():
        made.refused(name, "update.read", "UPD-9", "settings", optimizer=pairs)


BAD_DECIMALS = {
    "empty": "", "sign": "+0.1", "minus": "-0.1", "minus-zero": "-0", "space-before": " 0.1", "space-after": "0.1 ",
    "newline": "0.1\n", "no-digits": ".", "point-first": ".1", "point-last": "1.", "two-points": "0.1.0",
    "comma": "0,1",
    "capital-e": "1E-3", "no-exponent": "1e", "no-mantissa": "e-3", "exponent-point": "1e-3.0",
    "long-exponent": "1e-0003",
    "underscore": "0.1_0", "hexadecimal": "0x1p-4", "infinity": "inf", "nan": "nan", "21-digits": "0" * 20 + "1",
    "21-decimals": "0." + "1" * 21, "arabic-digits": "٠.١", "full-width": "０.１", "fraction": "1/10", "suffix": "0.1f",
    "percent": "10%",
}  # fmt: skip
BAD_COUNTS = {
    "empty": "", "sign": "+20", "minus": "-20", "space": " 20", "newline": "20\n", "leading-zero": "020",
    "point": "20.0",
    "exponent": "2e1", "underscore": "2_0", "hexadecimal": "0x14", "11-digits": "10000000000", "double-zero": "00",
    "arabic-digits": "٢٠", "superscript": "2²",
}  # fmt: skip
BAD_LISTS = {
    "space": "2, 1", "comma-last": "2,1,", "comma-first": ",2,1", "comma-alone": ",", "brackets": "[2,1]",
    "semicolon": "2;1", "two-commas": "2,,1", "point": "2.0,1", "leading-zero": "02,1",
}  # fmt: skip


def add_decimals(made: Chapter) -> None:
    """UPD-9: forms of numbers and lists, and their values."""
    settings = {"learning_rate": (SGD, BAD_DECIMALS), "total_steps": (SGD, BAD_COUNTS), "layers": (LAMB, BAD_LISTS)}
    for name, (usual, values) in settings.items():
        for what, value in values.items():
            made.refused(
                f"{name}-{what}", "update.read", "UPD-9", "number-form", optimizer=description({**usual, name: value})
            )
    for what in ("sign", "empty", "point"):
        bad = {**SGD, "decay_power": BAD_COUNTS[what]}
        made.refused(f"decay_power-{what}", "update.read", "UPD-9", "number-form", optimizer=description(bad))
    by_arithmetic = {"0.3": 3 * 0.1, "0.123456789": 123456789 * 1e-9, "1e-7": power(0.1, 7), "0.7": 7 * 0.1}
    for value, mistaken_value in by_arithmetic.items():
        pairs = description({**SGD, "momentum": value})
        mistake = {**compute_read({"optimizer": pairs}), "momentum": real(mistaken_value)}
        made.trap(f"value-{value}", "update.read", "UPD-9", "nearest", mistake, optimizer=pairs)
    beside = {"below": "0.50000000000000005551", "above": "0.50000000000000005552"}  # the middle is …05551115…
    for name, value in beside.items():
        neighbour = math.nextafter(0.5, 1) if name == "below" else 0.5
        pairs = description({**SGD, "momentum": value})
        mistake = {**compute_read({"optimizer": pairs}), "momentum": real(neighbour)}
        made.trap(f"{name}-the-middle", "update.read", "UPD-9", "nearest", mistake, optimizer=pairs)
