"""The grammar of commands: fractions, roots, functions, sums and integrals, matrices and cases."""

from __future__ import annotations

import re
from collections.abc import Callable

from guerdon_plugins.verifiers.math.errors import UnreadableError
from guerdon_plugins.verifiers.math.nodes import (
    Apply,
    Call,
    Constant,
    Dots,
    NamedSet,
    Node,
    Number,
    Power,
    Product,
    Quotient,
    Relation,
    SetOf,
    Standing,
    Sum,
    Symbol,
    Text,
    integer,
    negate,
)
from guerdon_plugins.verifiers.math.reading.arithmetic import number
from guerdon_plugins.verifiers.math.reading.environments import EnvironmentParser
from guerdon_plugins.verifiers.math.reading.tokens import Token
from guerdon_plugins.verifiers.math.reading.vocabulary import BIG_OPERATORS, DECORATIONS, FUNCTIONS, SYMBOLS

_INVERSES = {
    "sin": "arcsin",
    "cos": "arccos",
    "tan": "arctan",
    "cot": "arccot",
    "sinh": "arcsinh",
    "cosh": "arccosh",
    "tanh": "arctanh",
}
_DERIVATIVES_OF_FIELDS = {"\\times": "curl", "\\cdot": "divergence"}
_ZETA = {2: 6, 4: 90, 6: 945, 8: 9450, 10: 93555}
r"""The divisors of ``\pi^n`` in ``\zeta(n)``."""
_CONSTANTS: dict[str, Node] = {
    "pi": Constant("pi"),
    "infty": Constant("infinity"),
    "circ": Symbol("circ"),
    "ldots": Dots(),
    "emptyset": SetOf(()),
}


_TWO_POINTS = re.compile(r"([A-Z]'*)([A-Z]'*)")
_WITHOUT_DIRECTION = frozenset(("bar", "overleftrightarrow", "hat"))
"""Marks of a segment, a line and an arc, whose two points have no order; those of vectors and rays do."""
_GREEK_FUNCTIONS = frozenset("psi phi Phi Psi rho sigma eta chi gamma Gamma theta mu".split())  # noqa: SIM905


class CommandParser(EnvironmentParser):
    """Reads the meaning of a command and its arguments."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self._rules: dict[str, Callable[[], Node]] = {
            "frac": self._fraction,
            "binom": self._binomial,
            "sqrt": self._root,
            "surd": self._surd,
            "lfloor": lambda: self._until("\\rfloor", "floor"),
            "lceil": lambda: self._until("\\rceil", "ceil"),
            "log": self._logarithm,
            "ln": lambda: self._apply(lambda argument: Call("log", (argument, Constant("e")))),
            "lg": lambda: self._apply(lambda argument: Call("log", (argument, integer(10)))),
            "exp": lambda: self._apply(lambda argument: Power(Constant("e"), argument)),
            "cis": lambda: self._apply(_cis),
            "cbrt": lambda: self._apply(lambda argument: Call("root", (argument, integer(3)))),
            "sgn": lambda: self._apply(lambda argument: Call("sign", (argument,))),
            "nabla": self._nabla,
            "det": lambda: Standing("det", None, (self._nested(self._factor),)),
        }

    def _command(self, name: str) -> Node:
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if name == "zeta" and self._accept("("):
            return _zeta(self._items(")"))
        if (
            name in SYMBOLS
            and self._peek() == "("
            and (self._has_argument_zero() or (name in _GREEK_FUNCTIONS and self._defines_function()))
        ):
            self._position += 1
            return Apply(name, self._items(")"))
        if (name in SYMBOLS and name != "nabla") or (name == "times" and self._peek(-2) in ("^", "{")):
            return Symbol(name)  # R^\\times, the units of a ring
        if rule := self._rules.get(name):
            return rule()
        if name in BIG_OPERATORS:
            return self._big_operator(name)
        if name in FUNCTIONS or name in ("floor", "ceil", "abs"):
            return self._function_or_name(name)
        if name in DECORATIONS:
            return _decorated(name, self._argument())
        if name in ("angle", "triangle", "measuredangle", "odot"):
            return Symbol(f"{name} {self._next().text}")
        if name.startswith("begin{"):
            return self._environment(name[6:-1])
        if name.startswith("mathbb") and name[6:] in ("R", "Q", "Z", "N", "C"):
            return self._named_set(name[6:])
        if name == "mathbbE" and self._peek() != "=" and (moment := self._expectation("E")):
            return moment
        if name in ("Pr", "mathbbE", "mathbbP", "mathbbV") and (named := self._name_with_arguments(name[-1])):
            return named
        if name.startswith("mathbb") and len(name) == 7:
            return Symbol(f"mathbb {name[6:]}")
        raise UnreadableError(f"unknown command \\{name[:40]}")

    def _named_set(self, name: str) -> Node:
        suffix = ""
        while self._peek() in ("^", "_"):
            if suffix[:1].isdecimal() and self._peek() == "^":
                break  # a power of the group \\mathbb{Z}_2
            power = self._accept("^")
            if not power:
                self._position += 1
            braced = self._accept("{")
            if power and self._peek()[:1].isalnum():
                suffix += "^"  # the plane \mathbb{R}^2; \mathbb{Z}_2 is a group
            suffix += self._next().text
            if braced:
                while not self._accept("}"):
                    suffix += self._next().text
        return NamedSet(name + suffix.replace("\\ge", "≥").replace("\\le", "≤"))

    def _fraction(self) -> Node:
        if self._peek() == "(":
            return Quotient(*self._pair())
        numerator, denominator = self._argument(), self._argument()
        derivative = _derivative(numerator, denominator)
        if derivative is None:
            return Quotient(numerator, denominator)
        if isinstance(derivative, Symbol):
            return derivative
        order, variable = derivative
        return Standing("derivative", variable, (self._nested(self._term), order))

    def _nabla(self) -> Node:
        """Return a derivative of a field: a curl is not a divergence, and neither is a product."""
        start = self._position
        operator = "gradient"
        if self._accept("^") and self._accept_braced("2"):
            operator = "Laplacian"
        elif self._peek() in _DERIVATIVES_OF_FIELDS and self._position == start:
            operator = _DERIVATIVES_OF_FIELDS[self._next().text]
        if not self._starts_factor() or (operator == "gradient" and self._position > start):
            self._position = start
            return Symbol("nabla")
        factors = [self._factor()]
        while self._starts_factor():
            self._implicit(factors)
        return Apply(operator, (factors[0] if len(factors) == 1 else Product(tuple(factors)),))

    def _pair(self) -> tuple[Node, Node]:
        """Return two arguments in ASCII: ``frac(1, 2)``."""
        self._position += 1
        items = self._items(")")
        if len(items) != 2:
            raise UnreadableError(f"{len(items)} arguments where two belong")
        return items[0], items[1]

    def _binomial(self) -> Node:
        if self._peek() == "(":
            return Call("binom", self._pair())
        return Call("binom", (self._argument(), self._argument()))

    def _root(self) -> Node:
        index: Node = integer(2)
        if self._accept("["):
            index = self._nested(self._sum)
            self._expect("]")
        if self._peek() == "(":
            return Call("root", (self._nested(self._primary), index))
        return Call("root", (self._argument(), index))

    def _surd(self) -> Node:
        """Return a root sign, or ``sqrt`` in ASCII: it covers a group or a whole number."""
        if self._kind() == "num":
            return Call("root", (number(self._next()), integer(2)))
        return Call("root", (self._nested(self._primary), integer(2)))

    def _until(self, closer: str, function: str) -> Node:
        inner = self._nested(self._sum)
        self._expect(closer)
        return Call(function, (inner,))

    def _logarithm(self) -> Node:
        if self._accept("_"):
            base = self._nested(self._exponent)
            return self._apply(lambda argument: Call("log", (argument, base)))
        return self._apply(lambda argument: Call("log", (argument,)))

    def _function(self, name: str) -> Node:
        if name in ("max", "min", "gcd", "lcm") and self._peek() in ("(", "\\{"):
            closer = ")" if self._next().text == "(" else "\\}"
            return Call(name, self._items(closer))
        return self._apply(lambda argument: Call(name, (argument,)))

    def _function_or_name(self, name: str) -> Node:
        r"""Return a function, or its name alone as a label: ``\max = 5``."""
        if self._peek() in ("=", "\\approx"):
            return Symbol(name)
        return self._function(name)

    def _apply(self, make: Callable[[Node], Node]) -> Node:
        exponent: Node | None = None
        if self._accept("^"):
            exponent = self._nested(self._exponent)
        argument = self._nested(self._function_argument)
        result = make(argument)
        if exponent is None and isinstance(result, Call) and result.function == "log":
            result = self._logarithm_of_power(result)
        if exponent is None:
            return result
        if exponent == integer(-1) and isinstance(result, Call) and result.function in _INVERSES:
            return Call(_INVERSES[result.function], result.arguments)
        return Power(result, exponent)

    def _logarithm_of_power(self, logarithm: Call) -> Call:
        r"""``\ln (x-10)^2`` is the logarithm of the square; ``\ln (x)^2`` stays the square of the logarithm."""
        argument, *base = logarithm.arguments
        if not isinstance(argument, Sum) or not self._accept("^"):
            return logarithm
        return Call("log", (Power(argument, self._nested(self._exponent)), *base))

    def _function_argument(self) -> Node:
        """Return what a function without brackets applies to: the product up to the next operator or function."""
        if self._peek() in ("(", "{", "[") and self._kind() == "op":
            opened = self._position
            argument = self._primary()
            if self._tokens[opened].text == "{":
                return self._postfix(argument)
            return argument
        if self._peek() == "-":
            self._position += 1
            return negate(self._function_argument())
        factors = [self._factor()]
        while self._starts_factor() and self._peek()[1:] not in FUNCTIONS and self._peek() not in ("(", "["):
            self._implicit(factors)
        if self._peek() == "/" and self._kind(1) == "num" and self._kind(2) in ("end", "op"):
            self._position += 1
            return Quotient(factors[0] if len(factors) == 1 else Product(tuple(factors)), self._factor())
        return factors[0] if len(factors) == 1 else Product(tuple(factors))

    def _big_operator(self, name: str) -> Node:
        if name == "int" and self._peek() == "\\int":  # \\int\\int_D is \\iint_D
            while self._accept("\\int"):
                name = f"i{name}"
        bounds: dict[str, Node] = {}
        while self._peek() in ("_", "^") and self._kind() == "op":
            mark = self._next().text
            if self._accept("{"):
                bounds[mark] = self._nested(self._listing)
                self._expect("}")
            else:
                bounds[mark] = self._nested(self._exponent)
        if name == "int":
            return self._integral(bounds)
        if name.endswith("int"):
            return self._multiple_integral(name, bounds)
        lower = bounds.get("_", Text(""))
        variable = None
        if (
            isinstance(lower, Relation)
            and len(lower.operands) == 2
            and isinstance(lower.operands[0], Symbol | Constant)
        ):
            variable, lower = lower.operands[0].name, lower.operands[1]
        body = self._nested(self._term)
        return Standing(name, variable, (body, lower, bounds.get("^", Text(""))))

    def _integral(self, bounds: dict[str, Node]) -> Node:
        body = self._integrand()
        variable = None
        if self._accept("d"):
            variable = self._next().text
        return Standing("int", variable, (body, bounds.get("_", Text("")), bounds.get("^", Text(""))))

    def _multiple_integral(self, name: str, bounds: dict[str, Node]) -> Node:
        r"""Return an integral over a region, ``\iint_D x\,dA``: the order of its differentials does not count."""
        body = self._integrand()
        differentials = []
        while self._accept("d"):
            differentials.append(self._next().text)
        if not differentials:
            raise UnreadableError(f"a \\{name} without a differential")
        over = Symbol(f"d{' d'.join(sorted(differentials))}")
        return Apply(name, (body, bounds.get("_", Text("")), bounds.get("^", Text("")), over))

    def _integrand(self) -> Node:
        self._integrals += 1
        body = integer(1) if self._peek() == "d" else self._nested(self._sum)
        self._integrals -= 1
        return body


def _order(exponent: Node) -> str:
    return str(exponent.value) if isinstance(exponent, Number) else "n"


def _zeta(arguments: tuple[Node, ...]) -> Node:
    r"""Return ``\zeta(2)`` and its neighbours by their value."""
    match arguments:
        case (Number(value=argument),) if argument in _ZETA:
            return Quotient(Power(Constant("pi"), Number(argument)), integer(_ZETA[int(argument)]))
    return Apply("zeta", arguments)


def _cis(argument: Node) -> Node:
    return Sum((Call("cos", (argument,)), Product((Constant("i"), Call("sin", (argument,))))))


def _decorated(name: str, argument: Node) -> Node:
    if isinstance(argument, Symbol):
        ends = _TWO_POINTS.fullmatch(argument.name) if name in _WITHOUT_DIRECTION else None
        return Symbol(f"{name} {''.join(sorted(ends.groups())) if ends else argument.name}")
    if isinstance(argument, Number):
        raise UnreadableError(f"a numeral under a {name}")
    if name == "bar" and isinstance(argument, Product) and all(map(_is_digit, argument.factors)):
        return Apply("numeral", argument.factors)
    return Call("conjugate", (argument,)) if name == "bar" else Apply(name, (argument,))


def _is_digit(node: Node) -> bool:
    """Return whether a factor under a bar is a digit of a numeral: 10a + b is not 10b + a. Complex numbers are z, w."""
    return isinstance(node, Number) or (
        isinstance(node, Symbol) and len(node.name) == 1 and node.name.islower() and node.name not in "zw"
    )


def _derivative(numerator: Node, denominator: Node) -> Symbol | tuple[Node, str] | None:
    """Read ``dy/dx`` as a name, ``d/dx`` as an operator's order and variable. A plain fraction is ``None``."""
    if not (
        isinstance(denominator, Product)
        and len(denominator.factors) == 2
        and denominator.factors[0] in (Symbol("d"), Symbol("partial"))
    ):
        return None
    below = denominator.factors[1]
    if isinstance(below, Power) and isinstance(below.base, Symbol):
        below = below.base
    if not isinstance(below, Symbol):
        return None
    mark = denominator.factors[0]
    if numerator == mark:
        return integer(1), below.name
    if isinstance(numerator, Power) and numerator.base == mark:
        return numerator.exponent, below.name
    if isinstance(numerator, Product) and len(numerator.factors) == 2:
        head, tail = numerator.factors
        if isinstance(tail, Symbol) and (head == mark or (isinstance(head, Power) and head.base == mark)):
            order = f"^{_order(head.exponent)}" if isinstance(head, Power) else ""
            return Symbol(f"d{order}{tail.name}/d{below.name}")
    return None
