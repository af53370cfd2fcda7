"""What each image holds: its extras, the packages those bring, and what its code asks for."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, distribution, packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rendered import ROOT

IMAGES = ROOT / "infra" / "images"
DOCKERFILE = IMAGES / "Dockerfile"
_OURS = ("recommender", "components", "pipelines", "feature_repo", "serving")


@dataclass(frozen=True)
class Image:
    """A target of the Dockerfile.

    Attributes:
        name: of the target; the image is `ostinato-<name>`.
        base: stage that it adds to.
        extras: of pyproject.toml.
        torch: which build of torch it asks for; "" where nothing asks.
        modules: that are run in it.
    """

    name: str
    base: str
    extras: tuple[str, ...]
    torch: str
    modules: tuple[str, ...]


# What is started in the images that are no steps; a step's is its own module.
_SERVERS = {
    "serve": ("serving.server",),
    "feature-server": ("feature_repo.serve",),
    "stream": ("feature_repo.stream.http", "feature_repo.stream.kafka"),
    "triggers": ("pipelines.triggers.app", "pipelines.backend.submit"),
    "router": ("serving.router",),
    # What Ray's processes are asked to do.
    "ray": ("recommender.features.ray_build",),
}


@cache
def images() -> dict[str, Image]:
    """Return the targets that hold our code, by name."""
    code = DOCKERFILE.read_text(encoding="utf-8")
    found = {}
    for told in re.finditer(r"^FROM (\S+) AS (\S+)\nCOPY --from=build-\2 ", code, re.MULTILINE):
        base, name = told.groups()
        (torch, words) = re.findall(
            rf'^RUN (?:TORCH="?([^"\s]+)"? )?sh install.sh {name} (.+)$', code, re.MULTILINE
        )[0]
        modules = _SERVERS.get(name) or _steps(name)
        found[name] = Image(name, base, tuple(words.split()), torch, modules)
    return found


def _steps(name: str) -> tuple[str, ...]:
    """Return the steps whose components name an image; more than one may."""
    components = sorted((ROOT / "components").glob("*/component.py"))
    named = [each.parent.name for each in components if f'image("{name}")' in each.read_text()]
    return tuple(f"components.{each}.step" for each in named)


@cache
def _project() -> dict[str, list[Requirement]]:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        name: list(map(Requirement, told)) for name, told in told["optional-dependencies"].items()
    }
    return {"": list(map(Requirement, told["dependencies"])), **extras}


@cache
def packages(extras: tuple[str, ...]) -> dict[str, Distribution]:
    """Return the distributions that the core and some extras bring, by canonical name.

    Follows what the packages installed here say they require, for this Python and system.
    """
    found: dict[str, Distribution] = {}
    known: set[tuple[str, str]] = set()
    waiting = [("ostinato", extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in known:
            continue
        known.add((name, extra))
        if name == "ostinato":
            asked = _project()[extra]
        else:
            found[name] = distribution(name)
            asked = [Requirement(text) for text in found[name].requires or []]
        for each in asked:
            if each.marker and not each.marker.evaluate({"extra": extra}):
                continue
            waiting += [(canonicalize_name(each.name), one) for one in ("", *each.extras)]
    return found


@cache
def locked() -> dict[str, str]:
    """Return the lock's versions for this Python and system, by canonical name."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if "==" in line and not line.startswith("#")]
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in found
        if not each.marker or each.marker.evaluate()
    }


def megabytes(found: Iterable[Distribution]) -> float:
    """Return what distributions take on a disk, by their own records of files."""
    return sum(_bytes(each) for each in found) / 1e6


@cache
def _bytes(found: Distribution) -> int:
    record = found.read_text("RECORD") or ""
    return sum(int(size) for line in record.splitlines() if (size := line.rpartition(",")[2]))


def imported(modules: Iterable[str]) -> dict[str, str]:
    """Return the third-party modules that code of ours may import, with one of ours that does.

    Everything counts that an import statement names, in functions, too, and what tables of names
    (`module:Class`, `import_module`) lead to: more than one way through the code needs, never less.
    """
    seen: set[str] = set()
    found: dict[str, str] = {}
    waiting = [(each, "") for each in modules]
    while waiting:
        name, by = waiting.pop()
        first = name.split(".")[0]
        if first in _OURS:
            parts = name.split(".")
            for count in range(1, len(parts) + 1):
                module = ".".join(parts[:count])
                if module not in seen and _file(module):
                    seen.add(module)
                    waiting += [(each, module) for each in _imports(module)]
        elif first not in sys.stdlib_module_names:
            found.setdefault(first, by)
    return found


def distributions_of(module: str) -> set[str]:
    """Return the canonical names of the distributions that hold a top-level module."""
    return {canonicalize_name(each) for each in _modules().get(module, [])}


@cache
def _modules() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _file(module: str):
    path = ROOT / module.replace(".", "/")
    for each in (path / "__init__.py", path.with_suffix(".py")):
        if each.is_file():
            return each
    return None


@cache
def _imports(module: str) -> tuple[str, ...]:
    path = _file(module)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return tuple(_named(ast.parse(path.read_text(encoding="utf-8")), package))


def _named(node: ast.AST, package: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _named(other, package)
            continue
        if isinstance(child, ast.Import):
            yield from (each.name for each in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0 and child.module:
            yield child.module
            yield from (f"{child.module}.{each.name}" for each in child.names)
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield from _meant(child.value, package)
        elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith("import_module"):
            yield from (each.value for each in child.args if isinstance(each, ast.Constant))
        yield from _named(child, package)


def _meant(text: str, package: str) -> Iterator[str]:
    """Yield the module of ours that a text names, as a whole or within its package."""
    told = re.fullmatch(r"([a-z_]\w*(?:\.[a-z_]\w*)*)(:\w+)?", text)
    if told and "." in told[1] and told[1].split(".")[0] in _OURS and _file(told[1]):
        yield told[1]
    elif told and told[2] and _file(f"{package}.{told[1]}"):
        yield f"{package}.{told[1]}"
