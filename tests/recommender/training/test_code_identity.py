"""Which code a checkpoint depends on: all that a training imports, but for what has no say."""

from __future__ import annotations

import ast
from pathlib import Path

import recommender
from recommender.training.identity import code_files

ROOT = Path(recommender.__file__).parent
STARTS = ("training/run.py", "training/refresh.py", "training/distributed/worker.py")

# Imported by training, and without a say in its weights. What of them does have one is told to the
# fingerprint by value: the data, the settings, the model that training starts from.
NO_SAY = {
    "artifact.py": "keeps and loads models",
    "baselines": "rivals; none of them is trained by this loop",
    "cold_users.py": "answers beside the model",
    "ensemble.py": "fuses models after training",
    "errors.py": "messages",
    "feature_services.py": "names of what serving reads",
    "features/language.py": "chooses an encoder; the vectors are told",
    "features/social.py": "answers beside the model",
    "files.py": "writes files",
    "followed_took.py": "answers beside the model",
    "forgetting": "takes people out of the data, which is told",
    "privacy.py": "names of people in what leaves the store",
    "progress.py": "shows how far it is",
    "registry": "finds the model to start from, which is told",
    "sources": "reads raw data; what comes of it is told",
    "storage": "moves files",
    "tables.py": "columns of the data, which is told",
    "workspace.py": "where files lie",
}


def _inside(file: Path, name: str) -> bool:
    return file == ROOT / name or ROOT / name in file.parents


def _file_of(module: str) -> Path | None:
    path = ROOT.parent / module.replace(".", "/")
    found = [each for each in (path.with_suffix(".py"), path / "__init__.py") if each.exists()]
    return found[0] if found else None


def _imported_by(file: Path) -> set[str]:
    """Return what a file imports when it runs, wherever in it the import stands."""
    names: set[str] = set()

    def read(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and node.module:
            names.update([node.module, *(f"{node.module}.{each.name}" for each in node.names)])
        if isinstance(node, ast.Import):
            names.update(each.name for each in node.names)
        for child in ast.iter_child_nodes(node):
            read(child)

    read(ast.parse(file.read_text()))
    return {name for name in names if name.split(".")[0] == "recommender"}


def _read_by_training() -> set[Path]:
    seen: set[Path] = set()
    waiting = [ROOT / start for start in STARTS]
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        # What is imported by code without a say has none either, unless others import it, too.
        if not any(_inside(file, name) for name in NO_SAY):
            found = (_file_of(name) for name in _imported_by(file))
            waiting += [path for path in found if path is not None]
    return {file for file in seen if file.name != "__init__.py" or file.read_text().count("import")}


def test_a_checkpoint_is_of_all_code_that_training_reads():
    told = set(code_files())
    read = _read_by_training()
    assert ROOT / "features/histories.py" in read
    left = {file for file in read - told if not any(_inside(file, name) for name in NO_SAY)}
    assert sorted(str(file.relative_to(ROOT)) for file in left) == []


def test_what_is_listed_exists_and_what_has_no_say_is_not_told():
    told = code_files()
    assert all(file.is_file() for file in told)
    assert [name for name in NO_SAY if not (ROOT / name).exists()] == []
    assert [file for file in told if any(_inside(file, name) for name in NO_SAY)] == []
