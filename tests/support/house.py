"""Reads the order of the house from the source: who imports what, judged without importing anything."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# A part may import the parts to its left, and nothing to its right.
ORDER = [
    "errors",
    "clock",
    "collector",
    "repeating",
    "together",
    "secret",
    "strict_json",
    "ascii_json",
    "arn",
    "tallies",
    "metrics",
    "tracing",
    "outbound",
    "files",
    "identity",
    "policy",
    "compiling",
    "credentials",
    "executions",
    "audit",
    "state",
    "exchange",
    "settings",
    "admin",
    "doors",
    "listening",
    "sharing",
    "telling",
    "upstreams",
    "app",
    "front",
    "dev",
    "cli",
]

# Modules that touch the world. Only composition (app, cli, dev) imports them; everybody else sees a Protocol.
EDGES = frozenset(
    {
        "gateway.outbound.addresses",
        "gateway.outbound.aws",
        "gateway.outbound.aws_endpoints",
        "gateway.outbound.by_ca",
        "gateway.outbound.connection",
        "gateway.outbound.dialling",
        "gateway.outbound.keyfetch",
        "gateway.outbound.otlp",
        "gateway.outbound.pooled",
        "gateway.outbound.syslog",
        "gateway.outbound.tls",
        "gateway.outbound.vault",
        "gateway.identity.jwks",
        "gateway.identity.retrieval",
        "gateway.compiling.afterwards",
        "gateway.compiling.changes",
        "gateway.compiling.folder",
        "gateway.compiling.watch",
        "gateway.credentials.sts",
        "gateway.credentials.vault",
        "gateway.executions.states_calls",
        "gateway.executions.stepfunctions",
        "gateway.audit.files",
        "gateway.audit.heading",
        "gateway.audit.journal",
        "gateway.audit.ledger",
        "gateway.audit.looking",
        "gateway.audit.reading",
        "gateway.audit.recovery",
        "gateway.audit.shipped",
        "gateway.audit.shipping",
        "gateway.audit.signing",
        "gateway.audit.tail",
        "gateway.audit.unfinished",
        "gateway.audit.writer",
        "gateway.state.redis_board",
        "gateway.state.redis_client",
        "gateway.state.redis_faults",
        "gateway.state.redis_rates",
        "gateway.state.redis_reservations",
        "gateway.state.redis_switches",
        "gateway.state.redis_watch",
        "gateway.admin.vault_apply",
        "gateway.admin.vault_login",
        "gateway.admin.vault_session",
        "gateway.state.file_board",
        "gateway.state.file_switches",
        "gateway.state.switch_file",
        "gateway.listening.admin",
        "gateway.listening.server",
    }
)
COMPOSITION = (
    "gateway.sharing",
    "gateway.telling",
    "gateway.upstreams",
    "gateway.app",
    "gateway.front",
    "gateway.cli",
    "gateway.dev",
    "gateway.__main__",
)

# Libraries that reach the outside or carry a technology, and who owns them. What is not named here may be used anywhere.
_SERVES = ("gateway.listening.admin", "gateway.listening.server", *COMPOSITION)
_POLICY_FILES = ("gateway.compiling.changes", "gateway.compiling.folder", "gateway.compiling.watch")
_FILES = ("gateway.files", "gateway.audit", *_POLICY_FILES, *_SERVES)
OWNERS: Mapping[str, tuple[str, ...]] = {
    "aiohappyeyeballs": ("gateway.outbound.addresses", "gateway.outbound.dialling"),
    "authlib": ("gateway.doors",),
    "boto3": ("gateway.dev",),
    "botocore": ("gateway.admin.vault_login", "gateway.dev"),
    "cryptography": ("gateway.audit.signing", "gateway.identity", "gateway.dev"),
    "httptools": ("gateway.listening.protocol", "gateway.outbound.answer_reader"),
    "hvac": ("gateway.admin.vault_login", "gateway.admin.vault_session", "gateway.dev"),
    "jsonschema": ("gateway.policy",),
    "limits": ("gateway.state.redis_rates",),
    "jwt": ("gateway.identity", "gateway.dev"),
    "opentelemetry": ("gateway.outbound.otlp",),
    "prometheus_client": ("gateway.metrics", "gateway.tallies"),
    "pydantic": ("gateway.files", "gateway.policy", "gateway.settings"),
    "redis": ("gateway.state",),
    "referencing": ("gateway.policy",),
    "requests": ("gateway.admin.vault_session", "gateway.outbound.otlp"),
    "starlette": ("gateway.doors", "gateway.listening", *COMPOSITION),
    "uvicorn": ("gateway.listening.protocol", *_SERVES),
    "uvloop": _SERVES,
    "watchfiles": ("gateway.compiling.changes",),
    "yaml": ("gateway.files", "gateway.dev"),
    # Of the standard library:
    "fcntl": (
        "gateway.audit",
        "gateway.outbound.syslog",
        "gateway.state.switch_file",
        "gateway.dev",
        "gateway.cli",
    ),
    "http.client": COMPOSITION,
    "os": (
        "gateway.metrics",
        "gateway.state.agreement",
        "gateway.state.redis_client",
        "gateway.state.switch_file",
        *_FILES,
    ),
    "pathlib": ("gateway.settings", "gateway.state.file_board", "gateway.state.switch_file", *_FILES),
    "shutil": _FILES,
    "signal": _SERVES,
    "socket": ("gateway.outbound", *_SERVES),
    "ssl": (
        "gateway.outbound",
        "gateway.state.redis_client",
        "gateway.state.redis_faults",
        "gateway.listening.admin",
        "gateway.listening.server",
        "gateway.cli.admin_client",
    ),
    "subprocess": COMPOSITION,
    "tempfile": ("gateway.admin.vault_session", *_FILES),
    "urllib.request": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One module of ours. name: dotted, without `__init__`."""

    name: str
    tree: ast.Module


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One name that a module imports.

    module: the dotted module it comes from. name: the object taken out of that module, None when it is the module itself.
    """

    importer: str
    line: int
    module: str
    name: str | None

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module}" + (f".{self.name}" if self.name else "")


def read_house(package: Path) -> tuple[Source, ...]:
    """Parse every module below the package folder."""
    return tuple(
        Source(name=_dotted(path.relative_to(package.parent)), tree=ast.parse(path.read_text()))
        for path in sorted(package.rglob("*.py"))
    )


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def wrong_way(house: tuple[Source, ...]) -> list[str]:
    """Name imports that point right along the order."""
    return [str(found) for found in _ours(house) if _rank(found.module) > _rank(found.importer)]


def borrowed(house: tuple[Source, ...]) -> list[str]:
    """Name imports of a name from a module that only imports it itself."""
    defined = {source.name: set(_definitions(source.tree)) for source in house}
    return [
        str(found) for found in _ours(house) if found.name and found.name not in defined.get(found.module, ())
    ]


def misplaced(house: tuple[Source, ...]) -> list[str]:
    """Name imports of a library by a module that does not own it."""
    return [
        str(found)
        for found in _imports(house)
        for library, owners in OWNERS.items()
        if _within(found.module, (library,)) or f"{found.module}.{found.name}" == library
        if not _within(found.importer, owners)
    ]


def reached_edges(house: tuple[Source, ...]) -> list[str]:
    """Name imports of an edge by a module that should see a Protocol. An edge may use `outbound` and its own package's edges."""
    return [
        str(found)
        for found in _ours(house)
        if found.module in EDGES and not _within(found.importer, COMPOSITION)
        if found.importer not in EDGES
        or not _within(found.module, ("gateway.outbound", _package(found.importer)))
    ]


def undocumented(house: tuple[Source, ...]) -> list[str]:
    """Name modules that do not say what they own."""
    return [source.name for source in house if not ast.get_docstring(source.tree)]


# Each of them turns data into code, or is gone when Python is told to hurry.
_DANGEROUS = frozenset({"pickle", "marshal", "shelve", "dill", "jsonpickle", "xmlrpc", "telnetlib", "ftplib"})
_DANGEROUS_CALLS = frozenset({"eval", "exec", "__import__", "compile"})
# Its scanner is used, event by event; what builds objects from tags is not.
_YAML = frozenset({"CSafeLoader", "MarkedYAMLError", "YAMLError", "events", "reader", "scanner"})


def dangerous(house: tuple[Source, ...]) -> list[str]:
    """Name every assertion (`-O` drops them), every way from data to code, and every YAML loader but the plain one."""
    return [
        f"{source.name}:{node.lineno}"
        for source in house
        for node in ast.walk(source.tree)
        if isinstance(node, ast.stmt | ast.expr) and _is_dangerous(node)
    ]


def _is_dangerous(node: ast.stmt | ast.expr) -> bool:
    match node:
        case ast.Assert():
            return True
        case ast.Import(names=names):
            return any(name.name.split(".")[0] in _DANGEROUS for name in names)
        case ast.ImportFrom(module=str(module), names=names):
            named = {name.name for name in names}
            return module.split(".")[0] in _DANGEROUS or (module == "yaml" and not named <= _YAML)
        case ast.Call(func=ast.Name(id=name)):
            return name in _DANGEROUS_CALLS
        case ast.Attribute(value=ast.Name(id="yaml"), attr=name):
            return name not in _YAML
    return False


def effects(house: tuple[Source, ...]) -> list[str]:
    """Name module-level statements that do something on import, or make a client, a lock, a metric or a task."""
    return [
        f"{source.name}:{statement.lineno}"
        for source in house
        for statement in source.tree.body
        if _has_effect(statement, _outside_names(source.tree))
    ]


def _has_effect(statement: ast.stmt, outside: frozenset[str]) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant()):
            return False  # the docstring
        case ast.Expr() | ast.For() | ast.While() | ast.With():
            return True
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            calls = (node for node in ast.walk(value) if isinstance(node, ast.Call))
            return any(_root(call.func) in outside for call in calls)
    return False


_LIVING = (
    "asyncio",
    "boto3",
    "botocore",
    "prometheus_client",
    "socket",
    "ssl",
    "subprocess",
    "threading",
)


def _outside_names(tree: ast.Module) -> frozenset[str]:
    names = {"open"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                alias.asname or alias.name.split(".")[0]
                for alias in node.names
                if _within(alias.name, _LIVING)
            }
        elif isinstance(node, ast.ImportFrom) and _within(node.module or "", _LIVING):
            names |= {alias.asname or alias.name for alias in node.names}
    return frozenset(names)


def _root(function: ast.expr) -> str:
    while isinstance(function, ast.Attribute):
        function = function.value
    return function.id if isinstance(function, ast.Name) else ""


def _imports(house: tuple[Source, ...]) -> Iterator[Import]:
    modules = {source.name for source in house}
    for source in house:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(importer=source.name, line=node.lineno, module=alias.name, name=None)
            elif isinstance(node, ast.ImportFrom):
                yield from _from_imports(source.name, node, modules)


def _from_imports(importer: str, node: ast.ImportFrom, modules: set[str]) -> Iterator[Import]:
    # A relative import would hide where it points; it is reported as a module that nobody may import.
    module = "." * node.level + (node.module or "")
    for alias in node.names:
        whole = f"{module}.{alias.name}"
        if whole in modules:
            yield Import(importer=importer, line=node.lineno, module=whole, name=None)
        else:
            yield Import(importer=importer, line=node.lineno, module=module, name=alias.name)


def _ours(house: tuple[Source, ...]) -> Iterator[Import]:
    return (
        found
        for found in _imports(house)
        if _within(found.module, ("gateway",)) or found.module.startswith(".")
    )


def _rank(module: str) -> int:
    """Return the place of a module's part in the order; what has no place stands right of everything but `__main__`."""
    parts = module.split(".")
    if module == "gateway":
        return -1
    if parts[0] != "gateway" or parts[1] not in ORDER:
        return len(ORDER) + (module == "gateway.__main__")
    return ORDER.index(parts[1])


def _definitions(tree: ast.Module) -> Iterator[str]:
    for statement in tree.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=targets):
                yield from (
                    node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)
                )
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name


def _package(module: str) -> str:
    return module.rpartition(".")[0]


def _within(module: str, owners: Iterable[str]) -> bool:
    return any(module == owner or module.startswith(f"{owner}.") for owner in owners)
