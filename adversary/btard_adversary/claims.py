"""What an aggregation rule promises: how far its result may be from the mean of the honest vectors.

A claim allows a distance, given n peers, at most b of them Byzantine, and the honest vectors. Two forms are common:
``radius`` measures the honest spread by its largest distance from the mean, ``kappa`` by the mean square. Their
factors are written as arithmetic in n, b and h = n − b, so a claim can come from a command line or a file.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from btard.protocol.arithmetic import Float64
from btard.protocol.model import ProtocolError

MOST_CHARACTERS: Final = 200
"""Longest expression that is read."""
GREATEST_EXPONENT: Final = 64.0
"""Largest exponent: claims are formulas of low degree, and a tower of powers is a typing error."""

Sizes = Callable[[int, int], bool]
"""Whether (n, b) is inside the domain of a claim."""


class ClaimError(ProtocolError, ValueError):
    """A claim that cannot be read; the message says what is wrong in one sentence."""


# -- Expressions --------------------------------------------------------------------------------

OPERATORS: Final[dict[type[ast.AST], Callable[..., Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


@dataclass(frozen=True)
class Expression:
    """Arithmetic in n, b and h, for example ``4*(1+b/(n-2*b))**2``; anything else is refused when it is made.

    Raises :class:`ClaimError` for text that is not such arithmetic. Nothing of the text is ever run as code.
    """

    text: str

    def __post_init__(self) -> None:
        """Read the text once, so that a wrong one is refused here."""
        check(parse(self.text), self.text)

    def __call__(self, n: int, b: int) -> float:
        """The value; infinite where the formula has none (division by zero, overflow, a negative or complex value)."""
        names = {"n": float(n), "b": float(b), "h": float(n - b)}
        try:
            value = evaluate(parse(self.text), names)
        except (ZeroDivisionError, OverflowError):
            return math.inf
        return value if isinstance(value, float) and value >= 0 else math.inf


def parse(text: str) -> ast.expr:
    """The syntax tree of an expression. Raises :class:`ClaimError`."""
    if len(text) > MOST_CHARACTERS:
        raise ClaimError(f"an expression has at most {MOST_CHARACTERS} characters, this one has {len(text)}")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ClaimError(f"'{text}' is not an arithmetic expression") from None


def check(node: ast.expr, text: str) -> None:
    """Refuse everything but numbers, n, b, h and the operators + − * / **. Raises :class:`ClaimError`."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        check(node.left, text)
        check(node.right, text)
    elif isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        check(node.operand, text)
    elif isinstance(node, ast.Name):
        if node.id not in ("n", "b", "h"):
            raise ClaimError(f"'{node.id}' in '{text}' is unknown: a claim is arithmetic in n, b and h")
    elif not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        raise ClaimError(f"'{ast.unparse(node)}' in '{text}' is not allowed: a claim is arithmetic in n, b and h")


def evaluate(node: ast.expr, names: dict[str, float]) -> Any:
    """The value of a checked tree, in floats, so that no power grows without limit; complex if the formula is."""
    if isinstance(node, ast.Constant):
        return float(str(node.value))
    if isinstance(node, ast.Name):
        return names[node.id]
    if isinstance(node, ast.UnaryOp):
        return OPERATORS[type(node.op)](evaluate(node.operand, names))
    assert isinstance(node, ast.BinOp)
    left, right = evaluate(node.left, names), evaluate(node.right, names)
    if isinstance(node.op, ast.Pow) and not (isinstance(right, float) and abs(right) <= GREATEST_EXPONENT):
        raise OverflowError
    return OPERATORS[type(node.op)](left, right)


# -- Claims -------------------------------------------------------------------------------------


def minority(n: int, b: int) -> bool:
    """The domain of most claims: fewer than half of the vectors are Byzantine."""
    return n > 2 * b


@dataclass(frozen=True)
class Claim:
    """An upper bound on the distance of a rule's result from the honest mean."""

    name: str
    """``radius``, ``kappa``, ``diameter``, or a name of its own."""
    allowed: Callable[[int, int, Float64], float]
    """(n, b, honest float64 ``[h, d]``) → greatest distance; infinite where nothing is claimed."""
    formula: str
    """The bound as text, for people."""
    source: str = ""
    applies: Sizes = minority
    """The sizes (n, b) for which the rule makes the claim."""
    text: str = ""
    """What :func:`read_claim` reads back as this claim; empty if it is no expression."""


def spread(honest: Float64) -> float:
    """R: the largest distance of an honest vector, rows of ``honest`` ``[h, d]``, from their mean."""
    return float(np.linalg.norm(honest - honest.mean(axis=0), axis=1).max())


def deviation(honest: Float64) -> float:
    """Root of the mean squared distance from the mean."""
    return float(np.sqrt(np.mean(np.sum((honest - honest.mean(axis=0)) ** 2, axis=1))))


def extent(honest: Float64) -> float:
    """The largest distance between two honest vectors."""
    return float(np.linalg.norm(honest[:, np.newaxis] - honest, axis=2).max())


def radius(factor: str, source: str = "", applies: Sizes = minority) -> Claim:
    """distance <= factor · max_i ‖x_i − mean‖; ``factor`` is an :class:`Expression`."""
    value = Expression(factor)
    formula = f"distance <= ({factor}) * largest honest distance from the mean"
    return Claim("radius", lambda n, b, x: times(value(n, b), spread(x)), formula, source, applies, f"radius:{factor}")


def kappa(factor: str, source: str = "", applies: Sizes = minority) -> Claim:
    """distance² <= κ · mean_i ‖x_i − mean‖², (f, κ)-robustness with f = b; ``factor`` is an :class:`Expression`.

    Source of the definition: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, *Fixing by Mixing*, 2023.
    """
    value = Expression(factor)
    formula = f"distance^2 <= ({factor}) * mean squared honest distance from the mean"

    def allowed(n: int, b: int, honest: Float64) -> float:
        return times(math.sqrt(value(n, b)), deviation(honest))

    return Claim("kappa", allowed, formula, source, applies, f"kappa:{factor}")


def diameter(factor: str, source: str = "", applies: Sizes = minority) -> Claim:
    """distance <= λ · max_ij ‖x_i − x_j‖, (f, λ)-resilience of Farhadkhani et al. 2022."""
    value = Expression(factor)
    formula = f"distance <= ({factor}) * largest distance between honest vectors"
    return Claim(
        "diameter", lambda n, b, x: times(value(n, b), extent(x)), formula, source, applies, f"diameter:{factor}"
    )


def times(factor: float, length: float) -> float:
    """Their product, where an infinite factor wins over a length of 0: nothing is claimed there."""
    return math.inf if factor == math.inf else factor * length


FORMS: Final = {"radius": radius, "kappa": kappa, "diameter": diameter}


def read_claim(text: str) -> Claim:
    """The claim of a text such as ``kappa:4*(1+b/(n-2*b))**2``; without a form in front it is a κ.

    Raises :class:`ClaimError`.
    """
    form, colon, factor = text.partition(":")
    if not colon:
        form, factor = "kappa", text
    if form.strip() not in FORMS:
        raise ClaimError(f"there is no claim '{form.strip()}': known are {', '.join(FORMS)}")
    return FORMS[form.strip()](factor.strip(), "given by the user")


# -- Known claims -------------------------------------------------------------------------------

MIXING: Final = "Allouah et al., Fixing by Mixing, AISTATS 2023"
RATIO: Final = "b/(n-2*b)"

TRIMMED_MEAN: Final = kappa(f"6*{RATIO}*(1+{RATIO})", MIXING)
COORDINATE_MEDIAN: Final = kappa(f"4*(1+{RATIO})**2", MIXING)
GEOMETRIC_MEDIAN: Final = kappa(f"4*(1+{RATIO})**2", MIXING)
SHARP_TRIMMED_MEAN: Final = kappa(RATIO, "derived in baselines.trimmed_mean; no rule has a smaller kappa")
SHARP_MEDIAN: Final = kappa("n/(n-2*b)", "derived in baselines.coordinate_median")
SHARP_ODD_MEDIAN: Final = kappa(
    "(n-1)/(n+1-2*b)", "derived in baselines.coordinate_median", lambda n, b: minority(n, b) and n % 2 == 1
)
KRUM: Final = kappa(f"6*(1+{RATIO})", f"{MIXING}; Krum over the n - b nearest, itself included")
MULTI_KRUM: Final = kappa(
    f"6*(1+{RATIO})", "as for Krum, averaged over the n - b best: the k-th best score is at most the k-th honest one"
)
MINIMUM_DIAMETER: Final = diameter("2*b/(n-b)", "Farhadkhani et al., Byzantine Machine Learning Made Easy, ICML 2022")
MINIMUM_DIAMETER_KAPPA: Final = kappa(
    "8*b**2/(n-b)", "from 2b/(n-b) diameters, whose square is at most 2h times the mean square"
)
MEAN_AROUND_MEDIAN: Final = kappa(
    f"(2*(1+{RATIO})+(1+4*(1+{RATIO})**2)**0.5)**2",
    "from the median's: the n - b values nearest to it are on average no farther from it than the honest ones",
)
SMALLEST_EIGENVALUE: Final = kappa(
    f"4*b/(n-b)*(1+{RATIO})**2", "Allouah et al., On the Privacy-Robustness-Utility Trilemma, ICML 2023"
)


def mixed(claim: Claim) -> Claim:
    """The κ after nearest-neighbour mixing: 8b/(n − b)·(κ + 1). Source: Allouah et al. 2023, Fixing by Mixing."""
    form, _, factor = claim.text.partition(":")
    if form != "kappa":
        raise ClaimError("only a kappa carries over to mixed vectors")
    return kappa(f"8*b/(n-b)*({factor}+1)", f"nearest-neighbour mixing before a rule with its own kappa; {MIXING}")


# -- Rules that carry their claim ---------------------------------------------------------------

ATTRIBUTE: Final = "claim"
RuleType = TypeVar("RuleType", bound=Callable[..., Any])


def claims(claim: Claim) -> Callable[[RuleType], RuleType]:
    """Decorator: the rule makes this claim. ``@claims(kappa("6*(1+b/(n-2*b))"))``."""

    def attach(rule: RuleType) -> RuleType:
        setattr(rule, ATTRIBUTE, claim)
        return rule

    return attach


def claim_of(rule: object) -> Claim | None:
    """The claim that a rule carries, if any."""
    claim = getattr(rule, ATTRIBUTE, None)
    return claim if isinstance(claim, Claim) else None
