"""A reference and an answer in one form, where one form has several ways to write it."""

from __future__ import annotations

from guerdon_plugins.verifiers.math.comparing.constants import with_renamed_constants
from guerdon_plugins.verifiers.math.comparing.layouts_of_lists import (
    as_listed_values,
    as_points,
    with_binomial_columns,
)
from guerdon_plugins.verifiers.math.comparing.names import (
    with_constant_of_integration,
    with_names_apart,
    with_the_same_index,
)
from guerdon_plugins.verifiers.math.comparing.numeric import names_in
from guerdon_plugins.verifiers.math.comparing.physical_constants import in_common_constants
from guerdon_plugins.verifiers.math.comparing.quantity_forms import (
    aligned_quantities,
    in_24_hours,
    in_kelvins_of_change,
    in_one_unit,
)
from guerdon_plugins.verifiers.math.comparing.relations import is_label
from guerdon_plugins.verifiers.math.comparing.same_form import in_form_of
from guerdon_plugins.verifiers.math.comparing.trees import substitute, walk
from guerdon_plugins.verifiers.math.nodes import (
    SCALARS,
    Apply,
    Clock,
    Conditional,
    Constant,
    Date,
    Listing,
    NamedSet,
    Node,
    Number,
    Product,
    Quantity,
    Relation,
    Sequence,
    SetBuilder,
    SetOf,
    Sum,
    Symbol,
    Text,
)
from guerdon_plugins.verifiers.math.reading.cycles import permutation
from guerdon_plugins.verifiers.math.reading.phrases import NO_REAL_SOLUTION

_COORDINATES = frozenset("xyz")
_ARBITRARY = frozenset("cCkK")
"""Letters for an arbitrary constant in a reference; ``a`` is often given."""
_CONSTANTS = _ARBITRARY | frozenset("aA")


def aligned(reference: Node, answer: Node) -> tuple[Node, Node]:
    """Both nodes, the answer rewritten in the reference's form if it says the same in another one."""
    if not isinstance(reference, Number) and not isinstance(answer, Number):
        reference, answer = with_names_apart(reference, answer)
        answer = with_the_same_index(reference, answer)
    answer = _with_arbitrary_factor(reference, _with_arbitrary_letter(reference, answer))
    if isinstance(reference, Relation) != isinstance(answer, Relation):
        reference, answer = _without_reals(reference), _without_reals(answer)
    answer = _with_bound_letter(_with_argument(reference, answer), reference)
    answer = _in_polar_letters(reference, answer)
    if isinstance(reference, Text) and reference.words.startswith("permutation "):
        answer = _as_cycles(answer)
    if _is_change(reference) or _is_change(answer):
        reference, answer = in_kelvins_of_change(reference), in_kelvins_of_change(answer)
    answer = _with_parameter(reference, answer)
    answer = _with_imaginary_unit(reference, answer)
    reference = as_listed_values(reference, answer)
    reference, answer = with_binomial_columns(reference, answer)
    for change in (as_points, in_form_of):
        reference, answer = change(reference, answer), change(answer, reference)
    reference = in_one_unit(reference, answer)
    answer = in_one_unit(answer, reference)
    match reference, answer:
        case Clock(), Clock():
            return in_24_hours(reference, answer)
        case Date(), Date():
            year = answer.year if reference.year and answer.year else reference.year
            return reference, Date(year, answer.month, answer.day)
        case (Relation(operands=(name, Quantity() as value), operators=("=",)), _) if is_label(name):
            return _aligned_values(reference, value, answer)
        case (Relation(operands=(name, value), operators=("=",)), Quantity()) if is_label(name):
            return aligned_quantities(value, answer)
        case (Quantity(), Relation(operands=(name, value), operators=("=",))) if is_label(name):
            return aligned_quantities(reference, value)
        case (_, Relation(operands=(name, Quantity() as value), operators=("=" | "≈",))) if is_label(name):
            return (
                aligned_quantities(reference, value)
                if isinstance(reference, SCALARS)
                else (reference, answer)
            )
        case (Quantity(), _) | (_, Quantity()):
            return aligned_quantities(reference, answer)
        case (Text() as said, SetOf(items=())) if said == NO_REAL_SOLUTION:
            return reference, reference  # the reference says that numbers are real here
        case (Relation(), Relation()) | (Relation(), _) | (_, Relation()):
            reference, answer = in_common_constants(reference, answer)
            return reference, with_renamed_constants(reference, answer)
    if isinstance(reference, SCALARS) and isinstance(answer, SCALARS):
        reference, answer = in_common_constants(reference, answer)
        return reference, with_constant_of_integration(reference, with_renamed_constants(reference, answer))
    return reference, answer


def _aligned_values(reference: Node, value: Quantity, answer: Node) -> tuple[Node, Node]:
    """Align ``d = 5 m`` with a value that may have its label too."""
    match answer:
        case Relation(operands=(name, given), operators=("=",)) if is_label(name):
            value_aligned, given_aligned = aligned_quantities(value, given)
            label = reference.operands[0] if isinstance(reference, Relation) else name
            return Relation((label, value_aligned), ("=",)), Relation((name, given_aligned), ("=",))
        case _ if isinstance(answer, SCALARS):
            return aligned_quantities(value, answer)
    return reference, answer


def _as_cycles(node: Node) -> Node:
    """Read ``(123)(45)`` against a permutation as cycles of digits."""
    factors = node.factors if isinstance(node, Product) else (node,)
    cycles = [
        [int(digit) for digit in str(factor.value)]
        for factor in factors
        if isinstance(factor, Number) and factor.value.denominator == 1 and factor.value > 0
    ]
    return (permutation(cycles) if len(cycles) == len(factors) else None) or node


def _is_change(node: Node) -> bool:
    r"""Return whether a node is the value of a change such as ``\Delta T``."""
    match node:
        case Relation(
            operands=(Symbol(name=name) | Product(factors=(Symbol(name=name), *_)), Quantity()),
            operators=("=" | "≈",),
        ):
            return name.startswith("Delta")
    return False


def _in_polar_letters(reference: Node, answer: Node) -> Node:
    r"""Return ``r = 2\sin\theta`` with the reference's letter for the distance, ``\rho``."""
    if not isinstance(reference, Relation) or not isinstance(answer, Relation):
        return answer
    left, right = names_in(Sum(reference.operands)), names_in(Sum(answer.operands))
    if (
        "theta" in left & right
        and {*(left - right), *(right - left)} == {"r", "rho"}
        and len(left) == len(right)
    ):
        renamed: Node = substitute(answer, *(("r", Symbol("rho")) if "r" in right else ("rho", Symbol("r"))))
        return renamed
    return answer


def _with_parameter(reference: Node, answer: Node) -> Node:
    """Return ``(x, y, z) = (t, t, t)`` with the reference's letter for the parameter: ``(k, k, k)``."""
    match reference, answer:
        case (
            Relation(operands=(Sequence(), Sequence() as wanted), operators=("=",)),
            Relation(operands=(Sequence(), Sequence() as given), operators=("=",)),
        ):
            left, right = (set().union(*map(names_in, point.items)) for point in (wanted, given))
            if len(left) == len(right) == 1 and left != right and not (left | right) & _COORDINATES:
                renamed: Node = substitute(answer, right.pop(), Symbol(left.pop()))
                return renamed
    return answer


def _with_imaginary_unit(reference: Node, answer: Node) -> Node:
    """Return ``2 - 3j`` as ``2 - 3i`` against a complex number: engineers call the unit j."""
    if not isinstance(answer, Sum | Product | Symbol) or names_in(answer) != {"j"}:
        return answer
    unit = Constant("i")
    if unit in walk(answer) or unit not in walk(reference) or names_in(reference):
        return answer
    renamed: Node = substitute(answer, "j", unit)
    return renamed


def _with_arbitrary_letter(reference: Node, answer: Node) -> Node:
    """Return ``f(x) = cx`` with the letter that the reference calls an arbitrary constant: ``f(x) = ax``."""
    match reference:
        case Conditional(
            value=Relation(operators=("=",)) as said,
            condition=Relation(operands=(Symbol(name=wanted), NamedSet(name="R")), operators=("∈",)),
        ) if isinstance(answer, Relation) and answer.operators == ("=",):
            given = names_in(answer) - names_in(said)
            if len(given) == 1 and wanted in names_in(said) and wanted not in names_in(answer):
                renamed: Node = substitute(answer, given.pop(), Symbol(wanted))
                return renamed
    return answer


def _with_arbitrary_factor(reference: Node, answer: Node) -> Node:
    """Return ``P(x) = a(x-1)(x+1)`` with the reference's letter for the factor of all of it: ``P(x) = c(x^2-1)``."""
    match reference, answer:
        case (
            Relation(operands=(Apply() as function, left), operators=("=",)),
            Relation(operands=(Apply() as other, right), operators=("=",)),
        ) if function == other:
            names = names_in(left) - names_in(right), names_in(right) - names_in(left)
            if len(names[0]) == len(names[1]) == 1:
                (wanted,), (given,) = names
                if (
                    wanted in _ARBITRARY
                    and given in _CONSTANTS
                    and _scales(left, wanted)
                    and _scales(right, given)
                ):
                    scaled: Node = substitute(answer, given, Symbol(wanted))
                    return scaled
    return answer


def _with_bound_letter(answer: Node, reference: Node) -> Node:
    """Return ``{y | y > 1}`` with the reference's letter, ``{x | x > 1}``, if neither set has another one."""
    if not isinstance(answer, SetBuilder) or not isinstance(reference, SetBuilder):
        return answer
    wanted, given = (
        {item.name for item in walk(side) if isinstance(item, Symbol)} for side in (reference, answer)
    )
    if len(wanted) == len(given) == 1 and wanted != given:
        renamed: Node = substitute(answer, given.pop(), Symbol(wanted.pop()))
        return renamed
    return answer


def _scales(node: Node, letter: str) -> bool:
    """Return whether a letter is a factor of a whole expression, and occurs nowhere else in it."""
    match node:
        case Product(factors=factors):
            rest = [factor for factor in factors if factor != Symbol(letter)]
            return len(rest) == len(factors) - 1 and not any(letter in names_in(factor) for factor in rest)
        case Sum(terms=terms):
            return all(_scales(term, letter) for term in terms)
    return node == Symbol(letter)


def _without_reals(node: Node) -> Node:
    r"""Return ``f(x) = cx`` without ``c \in \mathbb{R}``, "for any constant c": letters are real anyway."""
    match node:
        case (
            Conditional(value=Relation() as said, condition=Relation() as member)
            | Listing(items=(Relation() as said, Relation() as member))
        ) if member.operators == ("∈",) and member.operands[1] == NamedSet("R"):
            used = any(names_in(member) <= names_in(side) for side in said.operands[1:])
            return said if "=" in said.operators and used else node
    return node


def _with_argument(reference: Node, answer: Node) -> Node:
    """Return ``f(n) = n`` as ``f(x) = x`` where the reference calls the argument ``x``."""
    match reference, answer:
        case (
            Relation(operands=(Apply(name=name, arguments=(Symbol(name=wanted),)), _), operators=("=",)),
            Relation(operands=(Apply(name=other, arguments=(Symbol(name=given),)), body), operators=("=",)),
        ) if name == other and wanted != given and wanted.islower() and given.islower():
            if wanted not in names_in(body):
                renamed: Node = substitute(answer, given, Symbol(wanted))
                return renamed
    return answer
