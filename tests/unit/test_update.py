"""The canonical update agrees with torch, is the same in blocks, and hashes every bit of its state."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from decimal import Decimal, getcontext

import numpy as np
import pytest
from btard.protocol.arithmetic import Float32
from btard.protocol.update import (
    AdamW,
    Lamb,
    Optimizer,
    OptimizerState,
    RestartedSgd,
    Schedule,
    Sgd,
    Stages,
    Updated,
    UpdateError,
    apply,
    describe,
    from_description,
    power,
    state_hash,
)

DIMENSION = 501
STEPS = 50
SCHEDULE = Schedule(0.01, STEPS, warmup_steps=5, decay_power=2, final_rate=0.001)
OPTIMIZERS: list[Optimizer] = [
    Sgd(SCHEDULE),
    Sgd(SCHEDULE, momentum=0.9),
    Sgd(SCHEDULE, momentum=0.9, nesterov=1, weight_decay=0.01),
    AdamW(SCHEDULE),
    AdamW(SCHEDULE, beta1=0.8, beta2=0.95, epsilon=1e-6, weight_decay=0.1),
]

RESTARTED = RestartedSgd(Stages((0.5, 0.01), (3, 4)))
OTHERS: list[Optimizer] = [Lamb(SCHEDULE, layers=(3, 40)), Lamb(SCHEDULE), RESTARTED]


def vectors(seed: int) -> tuple[Float32, list[Float32]]:
    """Initial parameters and one aggregate per step, of very different sizes per coordinate."""
    source = np.random.default_rng(seed)
    scales = 10.0 ** source.uniform(-3, 1, DIMENSION)
    aggregates = [(source.standard_normal(DIMENSION) * scales).astype(np.float32) for _ in range(STEPS)]
    return source.standard_normal(DIMENSION).astype(np.float32), aggregates


def run(optimizer: Optimizer, parameters: Float32, aggregates: list[Float32]) -> Updated:
    """Parameters and state after all aggregates."""
    state = optimizer.initial_state(len(parameters))
    for aggregate in aggregates:
        parameters, state = apply(optimizer, parameters, aggregate, state)
    return parameters, state


def torch_twin(optimizer: Optimizer, parameter: object) -> object:
    """The optimizer of torch that does the same in exact arithmetic."""
    torch = pytest.importorskip("torch")
    common = {"lr": 1.0, "weight_decay": optimizer.weight_decay}
    if isinstance(optimizer, Sgd):
        nesterov = bool(optimizer.nesterov)
        return torch.optim.SGD([parameter], momentum=optimizer.momentum, nesterov=nesterov, **common)
    betas = (optimizer.beta1, optimizer.beta2)
    return torch.optim.AdamW([parameter], betas=betas, eps=optimizer.epsilon, foreach=False, **common)


@pytest.mark.requirement("UPD-4")
@pytest.mark.requirement("UPD-5")
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_fifty_steps_agree_with_torch(optimizer: Optimizer) -> None:
    torch = pytest.importorskip("torch")
    start, aggregates = vectors(1)
    parameters = torch.nn.Parameter(torch.tensor(start))
    twin = torch_twin(optimizer, parameters)
    for count, aggregate in enumerate(aggregates):
        twin.param_groups[0]["lr"] = optimizer.schedule.rate(count)  # type: ignore[attr-defined]
        parameters.grad = torch.tensor(aggregate)
        twin.step()  # type: ignore[attr-defined]
    ours, state = run(optimizer, start, aggregates)
    theirs = parameters.detach().numpy()
    assert np.linalg.norm(ours - theirs) <= 1e-6 * np.linalg.norm(theirs)
    assert np.abs(ours - theirs).max() <= 1e-6 * np.abs(theirs).max()
    assert state.count == STEPS


def lamb_in_float64(optimizer: Lamb, parameters: Float32, aggregates: list[Float32]) -> Float32:
    """LAMB as the paper states it, in float64."""
    x = parameters.astype(np.float64)
    first, second = np.zeros_like(x), np.zeros_like(x)
    ends = np.cumsum(optimizer.layers)
    for count, aggregate in enumerate(aggregates, start=1):
        first = optimizer.beta1 * first + (1 - optimizer.beta1) * aggregate
        second = optimizer.beta2 * second + (1 - optimizer.beta2) * aggregate.astype(np.float64) ** 2
        mean, spread = first / (1 - optimizer.beta1**count), second / (1 - optimizer.beta2**count)
        change = mean / (np.sqrt(spread) + optimizer.epsilon) + optimizer.weight_decay * x
        for layer in zip(ends - optimizer.layers, ends, strict=True):
            part = slice(*layer)
            ratio = np.linalg.norm(x[part]) / np.linalg.norm(change[part])
            x[part] -= optimizer.schedule.rate(count - 1) * ratio * change[part]
    return x


@pytest.mark.requirement("UPD-6")
def test_lamb_agrees_with_its_formula_in_float64() -> None:
    optimizer = Lamb(SCHEDULE, weight_decay=0.1, layers=(1, 200, 300))
    start, aggregates = vectors(2)
    ours, _ = run(optimizer, start, aggregates)
    theirs = lamb_in_float64(optimizer, start, aggregates)
    assert np.linalg.norm(ours - theirs) <= 1e-5 * np.linalg.norm(theirs)


@pytest.mark.requirement("UPD-6")
@pytest.mark.parametrize(("weight_decay", "epsilon"), [(0.1, 1e-8), (0.0, 1e-6)])
def test_lamb_agrees_with_a_maintained_library(weight_decay: float, epsilon: float) -> None:
    """optax.lamb, where it is installed; the chapter names the version that was compared."""
    optax = pytest.importorskip("optax")
    optimizer = Lamb(SCHEDULE, weight_decay=weight_decay, epsilon=epsilon, layers=(1, 200, 300))
    start, aggregates = vectors(6)
    start[0] = 0.0
    edges = np.cumsum(optimizer.layers)[:-1]
    theirs, rates = np.split(start, edges), np.array([SCHEDULE.rate(count) for count in range(STEPS)])
    twin = optax.lamb(lambda count: rates[int(count)], eps=epsilon, weight_decay=weight_decay)
    state = twin.init(theirs)
    for aggregate in aggregates:
        changes, state = twin.update(np.split(aggregate, edges), state, theirs)
        theirs = optax.apply_updates(theirs, changes)
    ours, _ = run(optimizer, start, aggregates)
    whole = np.concatenate([np.asarray(layer) for layer in theirs])
    assert np.linalg.norm(ours - whole) <= 1e-6 * np.linalg.norm(whole)


@pytest.mark.requirement("UPD-6")
def test_lamb_with_a_zero_layer_takes_a_plain_step_and_refuses_layers_that_do_not_add_up() -> None:
    optimizer = Lamb(Schedule(0.5, 10), layers=(2, 2))
    start = np.array([0, 0, 3, 4], np.float32)
    after, _ = apply(optimizer, start, np.ones(4, np.float32), optimizer.initial_state(4))
    assert np.allclose(after[:2], -0.5, atol=1e-6)
    assert np.allclose(after[2:], start[2:] - 0.5 * 5 / np.sqrt(2), atol=1e-5)
    with pytest.raises(UpdateError, match="layers that add up to d = 5"):
        apply(optimizer, np.zeros(5, np.float32), np.zeros(5, np.float32), optimizer.initial_state(5))
    with pytest.raises(UpdateError, match="positive length"):
        Lamb(SCHEDULE, layers=(0, 4))


@pytest.mark.requirement("UPD-1")
@pytest.mark.requirement("UPD-4")
@pytest.mark.requirement("UPD-5")
@pytest.mark.requirement("UPD-10")
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, RESTARTED], ids=repr)
@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_give_the_same_bits_as_the_whole_vector(optimizer: Optimizer, block: int) -> None:
    start, aggregates = vectors(3)
    aggregates = aggregates[:5]
    whole, state = run(optimizer, start, aggregates)
    starts = range(0, DIMENSION, block)
    parts = [run(optimizer, start[i : i + block], [g[i : i + block] for g in aggregates]) for i in starts]
    assert b"".join(p.tobytes() for p, _ in parts) == whole.tobytes()
    assert b"".join(s.momentum.tobytes() for _, s in parts) == state.momentum.tobytes()
    assert b"".join(s.second_moment.tobytes() for _, s in parts) == state.second_moment.tobytes()


@pytest.mark.requirement("UPD-1")
@pytest.mark.requirement("UPD-4")
def test_every_operation_is_rounded_by_itself() -> None:
    """A fused multiply-add would round momentum·buffer + gradient once and give another float32."""
    keep, buffer, gradient = np.float32(0.9), np.float32(1.0000001), np.float32(-0.9)
    fused = np.float32(np.float64(keep) * np.float64(buffer) + np.float64(gradient))
    optimizer = Sgd(Schedule(1.0, 10), momentum=0.9)
    state = OptimizerState(1, np.array([buffer]), np.zeros(0, np.float32))
    _, after = apply(optimizer, np.zeros(1, np.float32), np.array([gradient]), state)
    assert after.momentum[0] == np.float32(keep * buffer) + gradient
    assert after.momentum[0] != fused


@pytest.mark.requirement("UPD-1")
def test_underflow_is_gradual() -> None:
    optimizer = Sgd(Schedule(0.5, 10, decay_power=0))
    tiny = np.array([1e-38, 1e-44], np.float32)
    after, _ = apply(optimizer, np.zeros(2, np.float32), tiny, optimizer.initial_state(2))
    assert after.tolist() == [-single(5e-39), -single(float(tiny[1]) / 2)]
    assert (after != 0).all()


@pytest.mark.requirement("UPD-10")
def test_a_stage_ends_at_the_mean_of_its_iterates_and_the_next_starts_there() -> None:
    """Against gradient descent by UPD-4, stage by stage; in float64 but for the rounding of sum and quotient."""
    stages = Stages((0.5, 0.25, 0.125), (1, 7, 12))
    start, aggregates = vectors(7)
    point, state = start, RestartedSgd(stages).initial_state(DIMENSION)
    for count, aggregate in enumerate(aggregates):
        stage, before = stages.place(count)
        if before == 0:
            plain, walked = Sgd(Schedule(stages.rates[stage], 100, decay_power=0)), []
            walker, memory = point, plain.initial_state(DIMENSION)
        walker, memory = apply(plain, walker, aggregate, memory)
        walked.append(walker)
        point, state = apply(RestartedSgd(stages), point, aggregate, state)
        if len(walked) < stages.lengths[stage]:
            assert point.tobytes() == walker.tobytes()
            assert np.allclose(state.momentum, np.sum(walked, axis=0, dtype=np.float64), rtol=1e-5, atol=1e-5)
        else:
            assert np.allclose(point, np.mean(walked, axis=0, dtype=np.float64), rtol=1e-5, atol=1e-5)
            assert not state.momentum.any()
    assert state.count == STEPS


@pytest.mark.requirement("UPD-11")
def test_stages_follow_each_other_and_the_last_one_repeats() -> None:
    stages = Stages((0.5, 0.25, 0.125), (2, 3, 4))
    places = [stages.place(count) for count in range(14)]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), *[(2, k % 4) for k in range(9)]]
    assert [stages.rate(count) for count in (1, 2, 5, 1000)] == [0.5, 0.25, 0.125, 0.125]


@pytest.mark.requirement("UPD-11")
@pytest.mark.parametrize(
    ("steps", "rates", "lengths"),
    [(140, (0.5, 0.25, 0.125), (20, 40, 80)), (8, (0.5, 0.25, 0.125), (1, 2, 5)), (2, (0.125,), (2,))],
)
def test_stretched_stages_fill_the_run(steps: int, rates: tuple[float, ...], lengths: tuple[int, ...]) -> None:
    assert RestartedSgd(Stages((0.5, 0.25, 0.125), (10, 20, 40))).over(steps).schedule == Stages(rates, lengths)


@pytest.mark.requirement("UPD-9")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rates", "0.5"),
        ("rates", ""),
        ("rates", "0.5,0"),
        ("rates", "0.5,-1"),
        ("rates", "0.5, 0.1"),
        ("rates", "0.5,inf"),
        ("rates", "0.5,1e400"),
        ("lengths", "3,0"),
        ("lengths", "3,04"),
        ("lengths", "3,4,5"),
        ("lengths", "3,,4"),
        ("total_steps", "7"),
    ],
)
def test_malformed_stages_are_refused(key: str, value: str) -> None:
    settings = dict(describe(RestartedSgd(Stages((0.5, 0.1), (3, 4))))) | {key: value}
    with pytest.raises(UpdateError):
        from_description(settings.items())


@pytest.mark.requirement("UPD-9")
def test_real_settings_are_written_as_decimals_even_if_they_are_whole() -> None:
    """One optimizer has one description, whoever configured it."""
    assert dict(describe(RestartedSgd(Stages((1, 0.5), (2, 3)))))["rates"] == "1.0,0.5"
    assert dict(describe(Sgd(Schedule(1, 10))))["learning_rate"] == "1.0"


@pytest.mark.requirement("UPD-9")
def test_there_are_at_most_64_stages() -> None:
    assert len(Stages((0.1,) * 64, (1,) * 64).rates) == 64
    for count in (0, 65):
        with pytest.raises(UpdateError, match="1 to 64 stages"):
            Stages((0.1,) * count, (1,) * count)


@pytest.mark.requirement("UPD-3")
def test_the_schedule_climbs_then_falls() -> None:
    schedule = Schedule(0.8, 10, warmup_steps=4, decay_power=2, final_rate=0.2)
    rates = [schedule.rate(count) for count in range(12)]
    expected = [0.2, 0.4, 0.6, 0.8] + [0.2 + 0.6 * ((10 - t) / 6) ** 2 for t in range(4, 10)] + [0.2, 0.2]
    assert rates == pytest.approx(expected, rel=1e-15)
    assert Schedule(0.3, 5, decay_power=0).rate(4) == 0.3


@pytest.mark.requirement("UPD-3")
def test_a_stretched_schedule_keeps_its_shape() -> None:
    schedule = Schedule(0.1, 200, warmup_steps=20).over(50)
    assert (schedule.total_steps, schedule.warmup_steps) == (50, 5)
    assert Schedule(0.1, 2, warmup_steps=1).over(1).warmup_steps == 0


@pytest.mark.requirement("UPD-2")
def test_power_is_repeated_multiplication_and_close_to_the_exact_value() -> None:
    assert power(0.9, 0) == 1.0
    assert power(0.9, 1) == 0.9
    assert power(0.9, 5) == (0.9 * 0.9) * (0.9 * 0.9) * 0.9
    getcontext().prec = 60
    for exponent in (10, 1000, 123_457):
        exact = float(Decimal.from_float(0.9999) ** exponent)
        assert power(0.9999, exponent) == pytest.approx(exact, rel=2.0**-52 * exponent)


@pytest.mark.requirement("UPD-7")
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, RESTARTED], ids=repr)
def test_arguments_stay_unchanged_and_results_are_new(optimizer: Optimizer) -> None:
    start, aggregates = vectors(4)
    state = run(optimizer, start, aggregates[:2])[1]
    arguments = (start, aggregates[0], state.momentum, state.second_moment)
    before = [vector.tobytes() for vector in arguments]
    updated, after = apply(optimizer, start, aggregates[0], state)
    assert [vector.tobytes() for vector in arguments] == before
    assert not np.shares_memory(updated, start)
    assert not np.shares_memory(updated, aggregates[0])
    assert not np.shares_memory(after.momentum, state.momentum)
    assert {v.dtype for v in (updated, after.momentum, after.second_moment)} == {np.dtype(np.float32)}


@pytest.mark.requirement("UPD-7")
def test_vectors_that_do_not_fit_are_refused() -> None:
    optimizer = AdamW(SCHEDULE)
    good = np.zeros(3, np.float32)
    state = optimizer.initial_state(3)
    cases = [
        (np.zeros(4, np.float32), good, state),
        (good, np.zeros(1, np.float32), state),
        (good, np.zeros(3), state),
        (good.reshape(1, 3), good.reshape(1, 3), state),
        (good, good, Sgd(SCHEDULE).initial_state(3)),
        (good, good, replace(state, second_moment=np.zeros(2, np.float32))),
    ]
    for parameters, aggregate, remembered in cases:
        with pytest.raises(UpdateError, match="float32 vectors of one length"):
            apply(optimizer, parameters, aggregate, remembered)  # type: ignore[arg-type]


def test_overflow_diverges_without_an_error() -> None:
    optimizer = AdamW(SCHEDULE)
    huge = np.full(2, 3e38, np.float32)
    parameters, state = run(optimizer, np.zeros(2, np.float32), [huge, -huge])
    assert np.isinf(state.second_moment).all()
    assert len(state_hash(parameters, state)) == 32


@pytest.mark.requirement("UPD-8")
def test_the_hash_covers_every_part_of_the_state() -> None:
    one, two = np.ones(2, np.float32), np.ones(3, np.float32)
    base = OptimizerState(1, one, one)
    states = [
        (one, base),
        (one, replace(base, count=2)),
        (one, replace(base, momentum=-one)),
        (one, replace(base, second_moment=-one)),
        (-one, base),
        (two, replace(base, momentum=one[:1])),
        (one, replace(base, momentum=two, second_moment=one[:1])),
        (np.array([1.0, np.nextafter(np.float32(1), np.float32(2))], np.float32), base),
        (np.array([0.0, 1.0], np.float32), base),
        (np.array([-0.0, 1.0], np.float32), base),
    ]
    assert len({state_hash(parameters, state) for parameters, state in states}) == len(states)


@pytest.mark.requirement("UPD-8")
def test_the_hash_is_the_tagged_hash_of_the_written_bytes() -> None:
    state = OptimizerState(3, np.array([1.5], np.float32), np.zeros(0, np.float32))
    data = struct.pack(">QQ", 3, 2) + struct.pack("<2f", 1.0, -2.0)
    data += struct.pack(">Q", 1) + struct.pack("<f", 1.5) + struct.pack(">Q", 0)
    tag = hashlib.sha256(b"btard/state").digest()
    assert state_hash(np.array([1.0, -2.0], np.float32), state) == hashlib.sha256(tag + tag + data).digest()


@pytest.mark.requirement("UPD-8")
def test_every_nan_hashes_alike() -> None:
    patterns = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
    state = Sgd(SCHEDULE).initial_state(1)
    assert len({state_hash(patterns[i : i + 1], state) for i in range(4)}) == 1
    assert state_hash(patterns[:1], state) != state_hash(np.array([np.inf], np.float32), state)


@pytest.mark.requirement("UPD-9")
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *OTHERS], ids=repr)
def test_a_description_reads_back_equal(optimizer: Optimizer) -> None:
    description = describe(optimizer)
    assert list(description) == sorted(description)
    assert all(type(key) is str and type(value) is str for key, value in description)
    assert from_description(description) == optimizer
    assert type(from_description(description)) is type(optimizer)


@pytest.mark.requirement("UPD-9")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "adam"),
        ("beta1", "nan"),
        ("beta1", "1.0"),
        ("beta1", "-0.5"),
        ("beta1", "0x1p-1"),
        ("beta1", " 0.9"),
        ("beta1", "٠.٩"),
        ("beta1", ""),
        ("beta2", "1e400"),
        ("epsilon", "0.0"),
        ("epsilon", "1e-60"),
        ("weight_decay", "inf"),
        ("warmup_steps", "-1"),
        ("warmup_steps", "05"),
        ("warmup_steps", "1_0"),
        ("warmup_steps", "50"),
        ("total_steps", "0"),
        ("total_steps", "99999999999"),
        ("decay_power", "17"),
        ("final_rate", "0.02"),
        ("learning_rate", "0"),
        ("momentum", "0.9"),
        ("layers", ""),
    ],
)
def test_a_malformed_description_is_refused(key: str, value: str) -> None:
    settings = dict(describe(AdamW(SCHEDULE))) | {key: value}
    with pytest.raises(UpdateError):
        from_description(settings.items())


@pytest.mark.requirement("UPD-9")
def test_a_missing_or_repeated_setting_is_refused() -> None:
    description = describe(Sgd(SCHEDULE, momentum=0.9))
    for index in range(len(description)):
        with pytest.raises(UpdateError):
            from_description(description[:index] + description[index + 1 :])
    with pytest.raises(UpdateError, match="every setting once"):
        from_description((*description, ("momentum", "0.9")))


@pytest.mark.parametrize("layers", ["1,,2", ",", "1, 2", "0,3"])
def test_malformed_layers_are_refused(layers: str) -> None:
    settings = dict(describe(Lamb(SCHEDULE))) | {"layers": layers}
    with pytest.raises(UpdateError):
        from_description(settings.items())


# -- A second implementation, one scalar at a time ----------------------------------------------


def single(value: float) -> float:
    """The nearest float32. On the result of one basic operation on float32 values it is exact: 53 >= 2·24 + 2."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def scalar_adamw(optimizer: AdamW, x: float, m: float, v: float, g: float, count: int) -> tuple[float, float, float]:
    """UPD-5 on one coordinate."""
    rate, s = optimizer.schedule.rate(count), single
    b1, b2 = optimizer.beta1, optimizer.beta2
    m = s(s(s(b1) * m) + s(s(1 - b1) * g))
    v = s(s(s(b2) * v) + s(s(1 - b2) * s(g * g)))
    scale = s(s(s(v**0.5) / s((1 - power(b2, count + 1)) ** 0.5)) + s(optimizer.epsilon))
    change = s(s(rate / (1 - power(b1, count + 1))) * s(m / scale))
    kept = s(s(1 - rate * optimizer.weight_decay) * x) if optimizer.weight_decay else x
    return s(kept - change), m, v


def scalar_sgd(optimizer: Sgd, x: float, m: float, g: float, count: int) -> tuple[float, float]:
    """UPD-4 on one coordinate."""
    s, keep = single, single(optimizer.momentum)
    u = s(g + s(s(optimizer.weight_decay) * x)) if optimizer.weight_decay else g
    direction = u
    if keep:
        m = s(s(keep * m) + u)
        direction = s(u + s(keep * m)) if optimizer.nesterov else m
    return s(x - s(s(optimizer.schedule.rate(count)) * direction)), m


def scalar_restarted(optimizer: RestartedSgd, x: float, m: float, g: float, count: int) -> tuple[float, float]:
    """UPD-10 on one coordinate."""
    s, stages = single, optimizer.schedule
    lengths = [*stages.lengths, *[stages.lengths[-1]] * count]
    stage = next(i for i in range(len(lengths)) if count < sum(lengths[: i + 1]))
    y = s(x - s(s(stages.rates[min(stage, len(stages.rates) - 1)]) * g))
    total = s(m + y)
    return (s(total / lengths[stage]), 0.0) if count + 1 == sum(lengths[: stage + 1]) else (y, total)


@pytest.mark.requirement("UPD-1")
@pytest.mark.requirement("UPD-4")
@pytest.mark.requirement("UPD-5")
@pytest.mark.requirement("UPD-10")
@pytest.mark.requirement("UPD-11")
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, RESTARTED], ids=repr)
def test_a_scalar_implementation_gives_the_same_bits(optimizer: Optimizer) -> None:
    start, aggregates = vectors(5)
    ours, state = run(optimizer, start, aggregates)
    for k in range(0, DIMENSION, 25):
        x, m, v = float(start[k]), 0.0, 0.0
        for count, aggregate in enumerate(aggregates):
            if isinstance(optimizer, Sgd):
                x, m = scalar_sgd(optimizer, x, m, float(aggregate[k]), count)
            elif isinstance(optimizer, RestartedSgd):
                x, m = scalar_restarted(optimizer, x, m, float(aggregate[k]), count)
            else:
                x, m, v = scalar_adamw(optimizer, x, m, v, float(aggregate[k]), count)
        assert x == ours[k]
        assert not state.momentum.size or m == state.momentum[k]
        assert not state.second_moment.size or v == state.second_moment[k]


def name_of(optimizer: Optimizer) -> str:
    """The column of the worked example."""
    stages = f" {optimizer.schedule.lengths[0]}" if isinstance(optimizer, RestartedSgd) else ""
    return type(optimizer).__name__ + stages


@pytest.mark.requirement("UPD-4")
@pytest.mark.requirement("UPD-5")
@pytest.mark.requirement("UPD-6")
@pytest.mark.requirement("UPD-8")
@pytest.mark.requirement("UPD-10")
def test_the_worked_example_of_the_chapter() -> None:
    schedule = Schedule(0.1, 4, warmup_steps=1, decay_power=2)
    found = {}
    for optimizer in (
        Sgd(schedule, momentum=0.9, weight_decay=0.01),
        AdamW(schedule, weight_decay=0.01),
        Lamb(schedule, weight_decay=0.01, layers=(2, 1)),
        RestartedSgd(Stages((0.1,), (2,))),
        RestartedSgd(Stages((0.1,), (3,))),
    ):
        aggregates = [np.array(values, np.float32) for values in ([0.5, 0.25, -1], [0.1, -0.3, 0])]
        parameters, state = run(optimizer, np.array([1, -2, 0.5], np.float32), aggregates)
        words = " ".join(f"{word:08x}" for word in parameters.view(np.uint32))
        found[name_of(optimizer)] = (words, state_hash(parameters, state).hex()[:16])
    assert found == {
        "Sgd": ("3f646402 c000bf51 3f303e4b", "1c7a96f5f88cf9b1"),
        "AdamW": ("3f515b24 c005390f 3f2a78d6", "b6327940011daebc"),
        "Lamb": ("3f1cdfe6 c007061c 3f1ae148", "6c44fff02749b324"),
        "RestartedSgd 2": ("3f71eb85 c000a3d8 3f19999a", "b546899386287fe3"),
        "RestartedSgd 3": ("3f70a3d7 bfff5c2a 3f19999a", "dd2488ca41437b8c"),
    }
