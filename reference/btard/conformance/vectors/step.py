"""Vectors of chapter ``step``."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

from btard.conformance.audit import Auditor, Recomputation, read_genesis
from btard.conformance.tasks import plain_task, read_task
from btard.conformance.vectors.cases import Chapter, Edit, File, Refusal, VectorError, operation
from btard.conformance.vectors.forms import octets, plain_slot, read_slot, reals, singles, texts
from btard.conformance.vectors.recorded import (
    Draft,
    Recorded,
    configuration,
    draft,
    follow,
    genesis_of,
    keys,
    recorded,
    task_of,
)
from btard.protocol.agreed import work_before
from btard.protocol.channel import AppendRecord, Delivery, StepApplied
from btard.protocol.encoding import decode, decode_sequence, encode
from btard.protocol.log import LogError
from btard.protocol.membership import Probation
from btard.protocol.messages import MAX_AGREED_BODY, Envelope, Phase, Slot, content_hash
from btard.protocol.messages import octets as byte_string
from btard.protocol.model import BTARD, REDUNDANT_CODE, PeerId, Roster, validator_count
from btard.protocol.mprng import by_lot, draw_targets, draw_validators
from btard.protocol.state import Peer, Plan, State, initial_state, plan_step
from btard.protocol.step import close
from btard.protocol.verification import profile_of

FLAGS = {
    "unchecked-state": "does not compare the state hash of a majority with the recomputed one",
    "believes-verdicts": "takes the verdicts from the log instead of recomputing the gradients",
    "missing-aggregate": "goes on without an aggregate, or with other bytes than the announced ones",
    "replanned": "draws validators and targets anew when an attempt is void",
    "validators-at-once": "draws validators before step 2, when there is nothing to audit",
    "all-targets": "lets validators be targets, or members that have left",
    "other-pool": "draws targets among all members instead of the workers of step t - 2",
    "too-many-validators": "draws m_max validators even if n - 2b - 1 is less",
    "sorted-validators": "gives targets to the validators in the order of their ids instead of their lots",
    "next-attempt": "goes to another place than the protocol's after a void attempt or a last step",
    "stale": "goes on with the log head, the roster or the bound of the phase before",
    "bare-majority": "closes a run with a mere majority of signed heads",
    "counts-others": "counts entries that carry another log head, or another body, towards the closing record",
    "refuses-silence": "refuses to close a run although n - b have signed",
    "work-of-one": "forgets a term of the work before a message",
    "work-in-retry": "counts the work of a step's first Commit in every Commit",
}


# -- Whole steps -----------------------------------------------------------------------------------


class Replayer(Auditor):
    """An auditor with the task, which notes the state at every step boundary."""

    def serve(self, request: Any) -> Any:
        """As the auditor does; and remember the step."""
        if isinstance(request, StepApplied):
            self.boundaries.append(request.state)
        return super().serve(request)

    def start(self) -> State:
        """The state before step 0."""
        state = super().start()
        self.boundaries = [state]
        return state


def replay(log: bytes, aggregates: bytes, task: dict[str, Any]) -> list[State]:
    """The states at the step boundaries of a log. Raises :class:`LogError`."""
    genesis = read_genesis(log)
    phase, known = profile_of(genesis.configuration).gather, read_task(task)
    bodies = [byte_string(decode(item, len(aggregates))) for _, item in decode_sequence(aggregates, len(aggregates))]
    contents = {content_hash(phase, body): body for body in bodies}
    recomputation = Recomputation(known.gradient, known.initial_parameters(), contents)
    replayer = Replayer(genesis, log, recomputation)
    replayer.replay()
    return replayer.boundaries


def plain_step(before: State, after: State) -> dict[str, Any]:
    """What one step came to."""
    plan, past = plan_step(before), after.history[-1]
    replica = after.replica
    return {
        "step": past.step,
        **plain_plan(plan.validators, plan.targets),
        "workers": texts(past.workers),
        "radii": reals(past.radii) if past.profile == BTARD else None,
        "randomness": after.randomness.hex(),
        "roster": texts(after.roster),
        "tolerated": after.tolerated,
        "parameters": singles(replica.parameters) if replica else None,
        "state_hash": replica.state_hash.hex() if replica else None,
    }


def plain_plan(validators: Roster, targets: dict[PeerId, PeerId]) -> dict[str, Any]:
    """Validators, in the order of their lots, and their targets."""
    pairs = [[validator.hex(), targets[validator].hex()] for validator in validators if validator in targets]
    return {"validators": texts(validators), "targets": pairs}


@operation(
    "step.replay",
    "`log`: bytes of a whole log; `aggregates`: bytes of the file beside it (chapter `log`); `task`: an object with "
    "`name` `quadratic`, `dimension`, `mu`, `smoothness`, `noise` (chapter `conformance`)",
    "`steps`: for every training step, an object of what its applied attempt came to: `step`; `validators`, in the "
    "order of their lots; `targets`: list of [validator, target], in that order; `workers`; `radii`: float64 vector "
    "of the clipping radii by part, null in profiles that have none; `randomness`: r_t; after the step boundary "
    "`roster`, `tolerated`: b_t, `parameters`: float32 vector, and `state_hash`. Or, if an audit with recomputation "
    "refuses the log, `bad_record`",
)
def compute_replay(given: dict[str, Any]) -> dict[str, Any]:
    """STEP-1 to STEP-9, LOG-5."""
    log, aggregates = octets([given["log"], given["aggregates"]])
    try:
        states = replay(log, aggregates, given["task"])
    except LogError as error:
        return {"bad_record": error.record}
    return {"steps": [plain_step(before, after) for before, after in pairwise(states)]}


# -- Parts of a step -----------------------------------------------------------------------------------


@operation(
    "step.plan",
    "`randomness`: r_{t-1}; `step`: t; `roster` and `tolerated` when the step starts; `most`: m_max; `audited`: "
    "workers of the applied attempt of step t - 2, or none",
    "`validators`, in the order of their lots; `targets`: list of [validator, target], in that order; `workers` of the "
    "first attempt",
)
def compute_plan(given: dict[str, Any]) -> dict[str, Any]:
    """STEP-2."""
    roster, audited, randomness = octets(given["roster"]), octets(given["audited"]), bytes.fromhex(given["randomness"])
    count = validator_count(len(roster), given["tolerated"], given["most"])
    validators = draw_validators(randomness, given["step"], roster, count)
    pool = [peer for peer in audited if peer in roster]
    targets = draw_targets(randomness, given["step"], validators, pool)
    workers = Plan(given["step"], validators, targets).workers(roster)
    return {**plain_plan(validators, targets), "workers": texts(workers)}


@operation(
    "step.next",
    "`log`: bytes of a log that goes on (as in `log.follow`)",
    "the agreed phase that follows: `slot`, of part 0; `roster`: whose messages are expected; `tolerated`: b_t; "
    "`head`: the log head that they carry; `index` of its record; `work` before its message (BCAST-3); and of its "
    "step `validators`, `targets` (as in `step.plan`) and `workers` of the attempt. Before "
    "Closing, where nothing depends on them, those that STEP-2 would draw for its step",
)
def compute_next(given: dict[str, Any]) -> dict[str, Any]:
    """STEP-9, STEP-10."""
    asked = follow(bytes.fromhex(given["log"]))
    state, slot = asked[-1]
    started = next(before for before, place in asked if place.step == slot.step)
    plan = plan_step(started)
    shown: dict[str, Any] = {"slot": plain_slot(slot), "roster": texts(state.roster), "tolerated": state.tolerated}
    shown |= {"head": state.head.hex(), "index": state.records, "work": work_before(state, slot)}
    return {**shown, **plain_plan(plan.validators, plan.targets), "workers": texts(plan.workers(state.roster))}


@operation(
    "step.close",
    "`run`: a run id; `roster`; `tolerated`: b_t; `slot` of the Closing messages; `head`: the agreed log head; "
    "`entries`: what was delivered, list of bytes of an envelope or null",
    "the entries of the closing record: list of digests or null; refused, if the run has failed",
)
def compute_close(given: dict[str, Any]) -> list[str | None]:
    """STEP-11."""
    slot, roster = read_slot(given["slot"]), octets(given["roster"])
    base = initial_state(genesis_of(configuration()))
    state = replace(
        base, run=bytes.fromhex(given["run"]), roster=roster, tolerated=given["tolerated"], step=slot.step,
        head=bytes.fromhex(given["head"]),
    )  # fmt: skip
    vector = tuple(
        None if entry is None else Envelope.decode(bytes.fromhex(entry), MAX_AGREED_BODY) for entry in given["entries"]
    )
    closing = close(Peer(None), state)
    next(closing)
    request = closing.send(Delivery(vector))
    if not isinstance(request, AppendRecord):
        raise VectorError("a run closes with a record")
    return [None if entry is None else entry.signed_header.digest.hex() for entry in request.record.entries]


@operation(
    "step.work",
    "`profile`; `liars`, `compression`, `group_size`: s, r_c and r of profile `redundant-code`, else 0, 1 and 0; "
    "`peers`: n, and `tolerated`: b, of the first roster; `members`: how many the roster has now, nobody having been "
    "removed in this step; `now`: b_t; `candidates`: how many; `tried`: how many gradients the trials of the last "
    "agreed phase recomputed; `slot`",
    "how many gradients' time is counted before a message in that slot",
)
def compute_work(given: dict[str, Any]) -> int:
    """BCAST-3."""
    names = ("profile", "liars", "compression", "group_size", "peers", "tolerated")
    config = configuration(**{name: given[name] for name in names}, dimension=32, validators=1)
    base = initial_state(genesis_of(config))
    candidates = tuple(keys(given["candidates"], label=7))
    probation = tuple(Probation(candidate.peer_id, 0, 9) for candidate in candidates)
    roster, slot = base.roster[: given["members"]], read_slot(given["slot"])
    state = replace(
        base, roster=roster, tolerated=given["now"], work=given["tried"], probation=probation, step=slot.step
    )
    return work_before(state, slot)


# -- Vectors ---------------------------------------------------------------------------------------------


RETRIED = ("retry", "redundant-code")
"""Logs in which a step with validators is attempted again: who has which role must not change."""


def chapter() -> Chapter:
    """All vectors of the chapter."""
    made = Chapter("step", FLAGS)
    for add in (add_replays, add_false_replays, add_plans, add_plan_mistakes, add_places, add_closings, add_work):
        add(made)
    return made


REPLAYED = (
    "quiet", "pair", "missed", "equivocation", "silence", "false-accuser", "wrong-gradient", "wrong-report",
    "shifted-aggregate", "impossible-aggregate", "membership", "return", "retry", "majority-vote", "redundant-code",
    "tolerance",
)  # fmt: skip


def shown(log: Recorded) -> dict[str, Any]:
    """The input of ``step.replay``."""
    return {
        "log": log.file,
        "aggregates": log.aggregates,
        "task": plain_task(task_of(log.genesis.configuration.dimension)),
    }


def add_replays(made: Chapter) -> None:
    """STEP-1 to STEP-10: whole runs."""
    for name in REPLAYED:
        most = "STEP-2 STEP-9 STEP-1 STEP-8" if name in RETRIED else "STEP-1 STEP-2 STEP-8 STEP-9"
        made.right(name, "step.replay", f"{most} UPD-6 MPRNG-4 LOG-5", **shown(recorded(name)))


def add_false_replays(made: Chapter) -> None:
    """LOG-5: what only an auditor with the task can see."""
    given = shown(recorded("silence"))
    accepted = compute_replay(plain(given))
    for name, change in (
        ("other-noise", {"noise": given["task"]["mu"]}),
        ("other-curvature", {"mu": given["task"]["smoothness"]}),
    ):
        task = {**given["task"], **change}
        log = recorded("wrong-report")
        made.trap(
            name, "step.replay", "LOG-5", "believes-verdicts", compute_replay(plain(shown(log))),
            **{**shown(log), "task": task},
        )  # fmt: skip
    first, *_, last = map(encode, recorded("silence").contents)
    whole = given["aggregates"]
    for name, edit in (
        ("aggregates-cut", Edit(len(whole.content) - len(last), len(last))),
        ("aggregate-altered", Edit(len(first) - 1, 1, bytes([first[-1] ^ 1]))),
        ("no-aggregates", Edit(0, len(whole.content))),
    ):
        made.trap(
            name, "step.replay", "LOG-5", "missing-aggregate", accepted,
            **{**given, "aggregates": whole.with_edits(edit)},
        )  # fmt: skip
    forged = recorded("prejudice")
    mistaken = compute_replay(plain(shown(recorded("false-accuser"))))
    made.trap("innocent-convicted", "step.replay", "LOG-5", "believes-verdicts", mistaken, **shown(forged))
    made.refused(
        "other-task",
        "step.replay",
        "LOG-5",
        "believes-verdicts",
        **{**given, "task": {**given["task"], "name": "cubic"}},
    )
    add_other_states(made)


def add_other_states(made: Chapter) -> None:
    """LOG-5: a majority that announces another state hash than the recomputed one."""
    log = recorded("silence")
    index = log.index(1, Phase.AGGREGATE, attempt=1)
    spoiled = draft("silence", 1, Phase.COMMIT)
    for place in (0, 1, 3, 4):
        spoiled.say(place, state_hash=bytes(32))
    mistaken = {"bad_record": index}
    given = {**shown(log), "log": spoiled.file}
    made.trap("other-state-hash", "step.replay", "LOG-5 STEP-4", "unchecked-state", mistaken, **given)


def plain(given: dict[str, Any]) -> dict[str, Any]:
    """An input with its files in place."""
    return {name: value.edited.hex() if isinstance(value, File) else value for name, value in given.items()}


# -- Plans ---------------------------------------------------------------------------------------------


def plan_case(peers: int = 7, tolerated: int = 1, most: int = 4, step: int = 5, audited: int = 7) -> dict[str, Any]:
    """An input of ``step.plan``."""
    roster = [identity.peer_id.hex() for identity in keys(peers)]
    past = [identity.peer_id.hex() for identity in keys(audited)]
    counts = {"tolerated": tolerated, "most": most, "step": step}
    return {"randomness": bytes([step % 256] * 32).hex(), "roster": roster, "audited": past, **counts}


def add_plans(made: Chapter) -> None:
    """STEP-2."""
    for name, case in (
        ("step-0", plan_case(step=0, audited=0)),
        ("step-1", plan_case(step=1, audited=0)),
        ("four-validators", plan_case()),
        ("one-validator", plan_case(peers=4, audited=5)),
        ("none-left", plan_case(peers=6, tolerated=2, most=1, audited=6)),
        ("few-targets", plan_case(audited=4)),
        ("nobody-to-audit", plan_case(audited=0)),
        ("all-but-one", plan_case(peers=8, tolerated=0, most=8, audited=8)),
        ("late", plan_case(step=2**40)),
    ):
        made.right(name, "step.plan", "STEP-2 MPRNG-7 MPRNG-8 MODEL-2", **case)


def mistaken_plan(
    case: dict[str, Any], count: int | None = None, pool: list[str] | None = None, **changes: Any
) -> dict[str, Any]:
    """A plan with a mistake: another number of validators, another pool of targets, or other inputs."""
    case = {**case, **changes}
    roster, randomness = octets(case["roster"]), bytes.fromhex(case["randomness"])
    right = validator_count(len(roster), case["tolerated"], case["most"])
    validators = draw_validators(randomness, case["step"], roster, right if count is None else count)
    audited = octets(case["audited"] if pool is None else pool)
    targets = draw_targets(randomness, case["step"], validators, audited)
    workers = Plan(case["step"], validators, targets).workers(roster)
    return {**plain_plan(validators, targets), "workers": texts(workers)}


def add_plan_mistakes(made: Chapter) -> None:
    """STEP-2: what goes wrong."""
    early = plan_case(step=1, audited=0)
    late = draw_validators(bytes([1] * 32), 2, octets(early["roster"]), 4)
    rest = [peer for peer in early["roster"] if bytes.fromhex(peer) not in late]
    drawn = {"validators": texts(late), "targets": [], "workers": rest}
    made.trap("in-step-1", "step.plan", "STEP-2", "validators-at-once", drawn, **early)
    many = plan_case(tolerated=2)
    made.trap("m-max", "step.plan", "STEP-2 MODEL-2", "too-many-validators", mistaken_plan(many, count=4), **many)
    none = plan_case(peers=6, tolerated=2, audited=6)
    made.trap(
        "m-max-of-few", "step.plan", "STEP-2 MODEL-2", "too-many-validators", mistaken_plan(none, count=4), **none
    )
    gone = plan_case(peers=6, most=2, audited=9)
    made.trap("who-has-left", "step.plan", "STEP-2", "all-targets", mistaken_plan(gone), **gone)
    some = plan_case(audited=4)
    made.trap("everyone", "step.plan", "STEP-2", "other-pool", mistaken_plan(some, pool=some["roster"]), **some)
    case = plan_case()
    right = compute_plan(case)
    ordered = sorted(right["validators"])
    pairs = [[validator, target] for validator, (_, target) in zip(ordered, right["targets"], strict=False)]
    made.trap(
        "by-id", "step.plan", "STEP-2", "sorted-validators",
        {**right, "validators": ordered, "targets": pairs}, **case,
    )  # fmt: skip
    auditing = by_lot("btard/target", bytes([5] * 32), 5, octets(case["roster"]))
    among_all = plain_plan(octets(right["validators"]), dict(zip(octets(right["validators"]), auditing, strict=False)))
    made.trap(
        "validators-too", "step.plan", "STEP-2", "all-targets", {**among_all, "workers": right["workers"]}, **case
    )  # fmt: skip


# -- What comes next ---------------------------------------------------------------------------------------


def add_places(made: Chapter) -> None:
    """STEP-9 and STEP-10: the order of phases, attempts and steps."""
    quiet = recorded("quiet")
    for record in quiet.records:
        slot = record.slot
        name = f"before-{slot.step}-{slot.phase.name.lower()}"
        if slot.step != 1:
            made.right(name, "step.next", "STEP-9 STEP-10 BCAST-3", log=quiet.until(record.index))
    for name, step, phase, attempt in (
        ("membership", 3, Phase.COMMIT, 0), ("membership", 7, Phase.COMMIT, 0), ("return", 1, Phase.COMMIT, 0),
        ("tolerance", 2, Phase.COMMIT_VOTE, 0), ("redundant-code", 1, Phase.COMMIT, 1),
        ("wrong-report", 1, Phase.COMMIT, 1),
        ("shifted-aggregate", 1, Phase.COMMIT, 1), ("majority-vote", 2, Phase.AGGREGATE, 0),
    ):  # fmt: skip
        log = recorded(name)
        index = log.index(step, phase, attempt)
        made.right(f"{name}-{step}-{attempt}", "step.next", "STEP-9 STEP-10 BCAST-3", log=log.until(index))
    add_retries(made)


def add_retries(made: Chapter) -> None:
    """STEP-2, STEP-9: what a void attempt changes, and what not."""
    log = recorded("retry")
    cut = log.until(log.index(2, Phase.COMMIT, attempt=1))
    state = follow(cut.edited)[-1].state
    right = compute_next({"log": cut.edited.hex()})
    anew = plan_step(state)
    mistaken = plain_plan(anew.validators, anew.targets) | {"workers": texts(anew.workers(state.roster))}
    made.trap("same-plan", "step.next", "STEP-2 STEP-9", "replanned", {**right, **mistaken}, log=cut)
    for name, wrong in (
        ("first-attempt", Slot(2, 0, Phase.COMMIT)),
        ("goes-on", Slot(2, 0, Phase.AGGREGATE)),
        ("next-step", Slot(3, 0, Phase.COMMIT)),
    ):
        made.trap(name, "step.next", "STEP-9", "next-attempt", {**right, "slot": plain_slot(wrong)}, log=cut)
    add_other_heads(made)
    add_closing_retries(made)


def add_other_heads(made: Chapter) -> None:
    """STEP-9, LOG-3: what the next messages carry, and whose they are."""
    for name, step, phase in (
        ("silence", 1, Phase.COMMIT), ("pair", 1, Phase.AGGREGATE), ("shifted-aggregate", 1, Phase.REPORT),
        ("membership", 6, Phase.REPORT), ("tolerance", 2, Phase.COMMIT_VOTE),
    ):  # fmt: skip
        log = recorded(name)
        index = log.index(step, phase)
        cut = log.until(index + 1)
        right, earlier = compute_next({"log": cut.edited.hex()}), compute_next({"log": log.until(index).edited.hex()})
        stale = {**right, "head": earlier["head"]}
        made.trap(f"head-after-{name}", "step.next", "STEP-9 LOG-3", "stale", stale, log=cut)
        stale = {**right, "roster": earlier["roster"], "tolerated": earlier["tolerated"]}
        made.trap(f"roster-after-{name}", "step.next", "STEP-9 BAN-4", "stale", stale, log=cut)


def add_closing_retries(made: Chapter) -> None:
    """STEP-10: the first closing step is repeated, the second one is not."""
    for name, step, phase, wrong in (
        ("first-closing-commit", 3, Phase.COMMIT, Slot(3, 0, Phase.REVEAL)),
        ("first-closing-reveal", 3, Phase.REVEAL, Slot(4, 0, Phase.COMMIT)),
        ("last-commit", 4, Phase.COMMIT, Slot(4, 1, Phase.COMMIT)),
    ):
        log = draft("quiet", step, phase).silence(1).file
        right = compute_next({"log": log.edited.hex()})
        made.trap(name, "step.next", "STEP-10", "next-attempt", {**right, "slot": plain_slot(wrong)}, log=log)
    log = draft("quiet", 2, Phase.REPORT).file
    right = compute_next({"log": log.edited.hex()})
    made.trap(
        "after-training", "step.next", "STEP-10", "next-attempt",
        {**right, "slot": plain_slot(Slot(3, 0, Phase.CLOSING))}, log=log,
    )  # fmt: skip


# -- Closing -------------------------------------------------------------------------------------------------


def add_closings(made: Chapter) -> None:
    """STEP-11."""
    final = Draft(recorded("quiet"), len(recorded("quiet").records))
    bare = {"run": final.origin.genesis.run.hex(), "roster": texts(final.roster), "tolerated": 2}
    given = {**bare, "slot": plain_slot(final.record.slot), "head": final.origin.heads[-2].hex()}
    everyone = entries_of(final)
    made.right("everyone", "step.close", "STEP-11", **given, entries=everyone)
    wrong = Draft(final.origin, final.index).put(0, log_head=bytes(32)).put(1, encode([0])).put(2, log_head=bytes(32))
    others = entries_of(wrong)
    for name, count in (("one", 1), ("two", 2)):
        entries = others[:count] + everyone[count:]
        mistaken = [Envelope.decode(bytes.fromhex(entry), 1000).signed_header.digest.hex() for entry in entries]
        made.trap(f"{name}-others", "step.close", "STEP-11", "counts-others", mistaken, **given, entries=entries)
        silent: list[str | None] = [None] * count
        heard = [*silent, *everyone[count:]]
        made.trap(f"{name}-silent", "step.close", "STEP-11", "refuses-silence", Refusal(""), **given, entries=heard)
    for name, flag, entries in (
        ("three-silent", "bare-majority", [None] * 3 + everyone[3:]),
        ("three-others", "counts-others", others[:3] + everyone[3:]),
        ("silent-and-other", "counts-others", [*others[:2], None, *everyone[3:]]),
        ("nobody", "bare-majority", [None] * 7),
    ):
        made.refused(name, "step.close", "STEP-11", flag, **given, entries=entries)
    strict = {**given, "tolerated": 0}
    made.refused(
        "one-of-none-tolerated", "step.close", "STEP-11", "bare-majority", **strict, entries=[None, *everyone[1:]]
    )


def entries_of(made: Draft) -> list[Any]:
    """The entries as bytes."""
    return [entry.encode().hex() if isinstance(entry, Envelope) else None for entry in made.entries]


# -- Work ------------------------------------------------------------------------------------------------------

USUAL = {
    "profile": "btard", "liars": 0, "compression": 1, "group_size": 0, "peers": 6, "tolerated": 1, "members": 6,
    "now": 1,
    "candidates": 0, "tried": 0,
}  # fmt: skip
CODED = {**USUAL, "profile": REDUNDANT_CODE, "liars": 1, "group_size": 3, "peers": 8, "members": 8}


def add_work(made: Chapter) -> None:
    """BCAST-3."""
    first, retried = Slot(4, 0, Phase.COMMIT), Slot(4, 1, Phase.COMMIT)
    for name, case, slot, mistaken in (
        ("first-commit", USUAL, first, 1),
        ("retried-commit", USUAL, retried, 2),
        ("aggregate", USUAL, Slot(4, 0, Phase.AGGREGATE), 2),
        ("scatter-after-trials", {**USUAL, "tried": 5}, Slot(4, 0, Phase.SCATTER), 1),
        ("commit-after-trials", {**USUAL, "tried": 5}, first, 2),
        ("one-candidate", {**USUAL, "candidates": 1}, first, 2),
        ("as-many-as-members", {**USUAL, "candidates": 6}, first, 8),
        ("more-than-members", {**USUAL, "candidates": 7}, first, 3),
        ("candidates-in-retry", {**USUAL, "candidates": 4}, retried, 2),
        ("groups-in-commit", CODED, first, 2),
        ("groups-in-aggregate", CODED, Slot(4, 0, Phase.AGGREGATE), 1),
        ("groups-in-retried-aggregate", CODED, Slot(4, 2, Phase.AGGREGATE), 1),
        ("no-groups-in-reveal", CODED, Slot(4, 0, Phase.REVEAL), 3),
        ("no-groups-in-retry", CODED, retried, 3),
        ("smaller-groups", {**CODED, "now": 0}, Slot(4, 0, Phase.AGGREGATE), 3),
        ("fewer-members", {**CODED, "members": 5, "now": 1}, Slot(4, 0, Phase.AGGREGATE), 3),
        ("closing", USUAL, Slot(9, 0, Phase.CLOSING), 2),
    ):
        given = {**case, "slot": plain_slot(slot)}
        flag = "work-in-retry" if slot == retried else "work-of-one"
        made.trap(name, "step.work", "BCAST-3", flag, mistaken, **given)
