"""Replace the imports of the program under test in a module of tests: its names are bound before the tests run."""

from __future__ import annotations

import ast

SOLUTION_MODULES = frozenset(
    {"solution", "candidate", "submission", "your_module", "main_solution", "main", "program", "answer"}
)
"""Module names by which data sets import the program under test."""


class SolutionImports(ast.NodeTransformer):
    """Removes the imports, at the top and in functions, and collects what they bind."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self.found = False
        """Whether there was such an import."""
        self.star = False
        """Whether one imports all names."""
        self.names: list[str] = []
        """The program's names that are imported."""
        self.bindings: dict[str, str] = {}
        """Expressions by the name that the tests use for them, where the program has no such name."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        if node.module not in SOLUTION_MODULES:
            return node
        self.found = True
        for alias in node.names:
            if alias.name == "*":
                self.star = True
                continue
            self.names.append(alias.name)
            if alias.asname not in (None, alias.name):
                self.bindings[str(alias.asname)] = alias.name
        return ast.copy_location(ast.Pass(), node)

    def visit_Import(self, node: ast.Import) -> ast.stmt:
        ours = [alias for alias in node.names if alias.name in SOLUTION_MODULES]
        for alias in ours:
            self.found = True
            self._bind_module(alias.asname or alias.name)
        rest = [alias for alias in node.names if alias not in ours]
        return ast.copy_location(ast.Import(rest) if rest else ast.Pass(), node)

    def _bind_module(self, module: str) -> None:
        """Bind a module, and collect the attributes that the tests read."""
        read = dict.fromkeys(
            node.attr
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == module
            and not node.attr.startswith("__")
        )
        self.names += read
        self.bindings[module] = f"__runners__.module({module!r})"


def without_imports(tree: ast.Module) -> tuple[ast.Module, SolutionImports]:
    """Return a module without its imports of the program under test, and what they bind.

    The bindings come first, because a later import may hide the program's name.
    """
    imports = SolutionImports(tree)
    tree = imports.visit(tree)
    bindings = "\n".join(f"{name} = {expression}" for name, expression in imports.bindings.items())
    first = next((at for at, node in enumerate(tree.body) if not _must_be_first(node)), len(tree.body))
    tree.body[first:first] = ast.parse(bindings).body
    return tree, imports


def _must_be_first(node: ast.stmt) -> bool:
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_docstring or (isinstance(node, ast.ImportFrom) and node.module == "__future__")
