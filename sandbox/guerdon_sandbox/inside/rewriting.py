"""Changes of a test's source, before it runs in a checker.

It needs only the standard library.
"""

import ast


def changes(source: str) -> list[ast.NodeTransformer]:
    """Return the changes that a source needs."""
    kinds = (IdentityCalls, NumpyComparisons)
    return [kind() for kind in kinds if any(word in source for word in kind.WORDS)]


class IdentityCalls(ast.NodeTransformer):
    """Replaces ``a is b``, ``type(a)`` and ``a.__class__``.

    An object of the candidate has another stand-in after each request.
    """

    WORDS = (" is ", "type(", "__class__")

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        match node:
            case ast.Compare(left=left, ops=[ast.Is() | ast.IsNot() as operator], comparators=[right]) if (
                not any(isinstance(side, ast.Constant) for side in (left, right))
            ):
                call = _runner("same", [left, right], node)
                is_not = isinstance(operator, ast.IsNot)
                return ast.copy_location(ast.UnaryOp(ast.Not(), call), node) if is_not else call
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name(id="type"), args=[value], keywords=[]):
                return _runner("kind_of", [value], node)
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        is_class = node.attr == "__class__" and isinstance(node.ctx, ast.Load)
        return _runner("kind_of", [node.value], node) if is_class else node


class NumpyComparisons(ast.NodeTransformer):
    """Lets the runners check the sizes in numpy's comparisons.

    An empty array has the shape of a number after broadcasting, so it is close to every number.
    """

    WORDS = ("close", "assert_")
    _NAMES = frozenset(("allclose", "isclose"))

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        match node.func:
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in self._NAMES or name.startswith(
                "assert_"
            ):
                node.func = _runner("sized", [node.func], node.func)
        return node


def _runner(name: str, args: list[ast.expr], node: ast.expr) -> ast.expr:
    function = ast.Attribute(ast.Name("__runners__", ast.Load()), name, ast.Load())
    return ast.fix_missing_locations(ast.copy_location(ast.Call(function, args, []), node))
