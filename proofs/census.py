"""Removals keep the honest majority: an inductive proof in linear integer arithmetic, for every n and b.

Read top to bottom; nothing of the reference is used. State: ``n`` peers in the roster, at most ``b`` of
them faulty, ``m`` validators drawn for a step. A removal takes one faulty peer (convicted or absent:
n − 1, b − 1) or a pair with at least one faulty member (eliminated: n − 2, b − 1). That honest peers are
removed in no other way is assumed here; it is property PROP-2.

Each statement is proven by asking z3 for a counterexample and getting "unsat". Each also comes with a
hypothesis whose loss lets z3 find one: a proof that cannot fail proves nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from z3 import And, BoolRef, If, Int, Or, Solver, sat, unsat

n, b, m, cap = Int("n"), Int("b"), Int("m"), Int("cap")
n_next, b_next = Int("n_next"), Int("b_next")

BOUND = n >= 2 * b + 2
NATURAL = And(n >= 0, b >= 0, cap >= 1)
SINGLE = And(n_next == n - 1, b_next == b - 1)
PAIR = And(n_next == n - 2, b_next == b - 1)
DRAWN = m == If(cap < n - 2 * b - 1, cap, n - 2 * b - 1)


class Statement(NamedTuple):
    """``hypotheses`` imply ``conclusion``; dropping the hypothesis at index ``needed`` breaks the implication."""

    name: str
    text: str
    hypotheses: tuple[BoolRef, ...]
    conclusion: BoolRef
    needed: int


STATEMENTS = (
    Statement(
        "census-bound",
        "n_t >= 2b_t + 2 is kept by every removal (MODEL-1, PROP-3)",
        (NATURAL, Or(SINGLE, PAIR), BOUND),
        n_next >= 2 * b_next + 2,
        needed=2,
    ),
    Statement(
        "census-majority",
        "with m_t = min(m_max, n_t - 2b_t - 1) validators, the honest workers outnumber the faulty peers (MODEL-2)",
        (NATURAL, BOUND, DRAWN),
        n - m - b >= b + 1,
        needed=2,
    ),
    Statement(
        "census-validator",
        "there is always room for at least one validator (MODEL-2)",
        (NATURAL, DRAWN, BOUND),
        m >= 1,
        needed=2,
    ),
    Statement(
        "census-within-step",
        "removals within a step, with the validators already drawn, keep the honest majority of the workers",
        (NATURAL, BOUND, DRAWN, Or(SINGLE, PAIR)),
        n_next - m - b_next >= b_next + 1,
        needed=2,
    ),
)


def counterexample(hypotheses: tuple[BoolRef, ...], conclusion: BoolRef) -> bool:
    """Whether z3 finds values that satisfy the hypotheses and not the conclusion."""
    solver = Solver()
    solver.add(*hypotheses, conclusion == False)  # noqa: E712 - a z3 formula, not a comparison
    answer = solver.check()
    if answer not in (sat, unsat):
        raise RuntimeError("z3 could not decide a linear formula")
    return bool(answer == sat)


def proven(statement: Statement) -> bool:
    """Whether the statement holds."""
    return not counterexample(statement.hypotheses, statement.conclusion)


def can_fail(statement: Statement) -> bool:
    """Whether the statement breaks without the hypothesis that it names as needed."""
    weaker = tuple(h for index, h in enumerate(statement.hypotheses) if index != statement.needed)
    return counterexample(weaker, statement.conclusion)


if __name__ == "__main__":
    for statement in STATEMENTS:
        print(f"{'proven' if proven(statement) else 'REFUTED':8} {statement.name:20} {statement.text}")
