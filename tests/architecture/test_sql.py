"""All SQL of the project, read from the sources: names the workspace, keeps to its own schema and to others' views."""

import ast
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pytest

import percorso_services
from percorso_shared.migrate import CONTEXTS

SCHEMA_OF = {package: schema for schema, package in CONTEXTS}
WORKS_FOR = {
    "percorso_services.ingest_api": "ingest", "percorso_services.sources": "ingest",
    "percorso_services.identity_worker": "identity", "percorso_services.commands.check_identity": "identity",
    "percorso_services.profile_worker": "profile",
    "percorso_services.orchestrator_worker": "orchestrator", "percorso_services.delivery_worker": "orchestrator"}
"""A process, or a command, that is its context's hand. profile_api and console are nobody's: they read views."""
SHARED_INFRASTRUCTURE = {"bus", "console"}
"""Owned by `percorso_shared`, whose modules everybody uses; their tables are no other context's secrets."""

WITHOUT_WORKSPACE = {
    "bus.migration": "of the installation", "bus.layout": "of the installation", "bus.head": "of the installation",
    "bus.log": "a partition carries all workspaces", "bus.position": "a partition carries all workspaces",
    "bus.member": "of the installation", "bus.outbox": "a partition carries all workspaces",
    "bus.hold": "a spool holds all workspaces"}

ACROSS_WORKSPACES: dict[str, str] = {
}
"""First words of a statement that is meant for all workspaces -> why."""

_VERB = re.compile(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE|TRUNCATE|LOCK)\b")
_TABLE = re.compile(r"\b(" + "|".join(schema for schema, _ in CONTEXTS) + r")\.([a-z_][a-z0-9_]*)\b(?!\()")
_CATALOG = re.compile(r"'[a-z_.]+'::regclass")
_MADE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?([a-z_]+\.[a-z_0-9]+) \((.*?)\n\)", re.DOTALL)
_VIEW = re.compile(r"CREATE OR REPLACE VIEW ([a-z_]+\.[a-z_]+)")


class Statement(NamedTuple):
    module: str
    line: int
    sql: str

    @property
    def place(self) -> str:
        return f"{self.module}:{self.line}"

    @property
    def schema(self) -> str | None:
        """The one that its context owns."""
        return next((schema for package, schema in (SCHEMA_OF | WORKS_FOR).items()
                     if f"{self.module}.".startswith(f"{package}.")), None)


def _packages() -> Iterator[tuple[str, Path]]:
    for name in sorted({package.partition(".")[0] for _, package in CONTEXTS} | {"percorso_services"}):
        root = Path(percorso_services.__file__).parent if name == "percorso_services" else Path(str(files(name)))
        yield name, root


def _text(node: ast.expr, constants: dict[str, str]) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part.value if isinstance(part, ast.FormattedValue) else part, constants) or "?"
                           for part in parts)
        case ast.Name(id=name):
            return constants.get(name)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return (_text(left, constants) or "?") + (_text(right, constants) or "?")
    return None


def _statements() -> Iterator[Statement]:
    for name, root in _packages():
        for path in sorted(root.rglob("*.py")):
            tree, constants = ast.parse(path.read_text(encoding="utf-8")), {}
            for node in tree.body:
                target = node.targets[0] if isinstance(node, ast.Assign) else None
                if isinstance(target, ast.Name) and (text := _text(node.value, constants)) is not None:
                    constants[target.id] = text
            inner: set[int] = set()
            for node in ast.walk(tree):
                if id(node) in inner or not isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp):
                    continue
                text = _CATALOG.sub("", _text(node, constants) or "")
                if _VERB.match(text) and _TABLE.search(text):
                    inner.update(id(part) for part in ast.walk(node))
                    module = ".".join((name, *path.relative_to(root).with_suffix("").parts))
                    yield Statement(module, node.lineno, text)


STATEMENTS = list(_statements())
VIEWS = {view for _, package in CONTEXTS if (script := files(package) / "views.sql").is_file()
         for view in _VIEW.findall(script.read_text(encoding="utf-8"))}


def test_there_is_sql_to_be_read():
    assert len(STATEMENTS) > 50
    assert len(VIEWS) > 10


def test_every_statement_names_the_workspace():
    silent = [statement.place for statement in STATEMENTS if "workspace_id" not in statement.sql
              and not any(statement.sql.strip().startswith(words) for words in ACROSS_WORKSPACES)
              and not {".".join(table) for table in _TABLE.findall(statement.sql)} <= WITHOUT_WORKSPACE.keys()]
    assert silent == []


@pytest.mark.parametrize("package", [package for _, package in CONTEXTS])
def test_every_table_belongs_to_workspaces_and_its_keys_begin_with_them(package):
    wrong = []
    for script in (files(package) / "migrations").iterdir():
        sql = script.read_text(encoding="utf-8") if script.name.endswith(".sql") else ""
        for table, body in _MADE.findall(sql):
            keys = re.findall(r"PRIMARY KEY \((\w+)", body)
            inline = re.search(r"^\s*workspace_id\s+int\b.*PRIMARY KEY", body, re.MULTILINE)
            named = re.search(r"^\s*workspace_id\s+int\b", body, re.MULTILINE)
            first = inline or all(key == "workspace_id" for key in keys)
            if table not in WITHOUT_WORKSPACE and not (named and first):
                wrong.append(table)
    assert wrong == []


def test_other_contexts_are_read_through_their_views_only():
    trespasses = []
    for statement in STATEMENTS:
        own = statement.schema
        for schema, name in _TABLE.findall(statement.sql):
            if schema != own and schema not in SHARED_INFRASTRUCTURE and f"{schema}.{name}" not in VIEWS:
                trespasses.append(f"{statement.place}: {schema}.{name}")
    assert trespasses == []


def test_nobody_writes_into_another_contexts_schema():
    writes = re.compile(r"\b(?:INSERT INTO|UPDATE|DELETE FROM|TRUNCATE) ([a-z_]+)\.([a-z_]+)")
    trespasses = []
    for statement in STATEMENTS:
        own = statement.schema
        also = SHARED_INFRASTRUCTURE if statement.module.startswith("percorso_shared.") else set()
        trespasses += [f"{statement.place}: {schema}.{name}" for schema, name in writes.findall(statement.sql)
                       if schema in SCHEMA_OF.values() and schema != own and schema not in also]
    assert trespasses == []
