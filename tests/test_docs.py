"""What the docs say of the package is there: links, options, recipes, and calls of code."""

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import latentscape
from latentscape import cli
from latentscape.benchmark.grid import GridConfig, expand
from latentscape.core.config import parse
from latentscape.data.sources import sources
from latentscape.experiment.config import RunConfig, resolve
from latentscape.recipes import recipe_names

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)]+)\)", TEXTS[page.name]):
        path, _, part = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        assert path.startswith("http") or target.exists(), link
        if part:
            assert part in map(slug, re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M)), link


VERBS: Any = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


def commands(text: str) -> Iterator[str]:
    """Yield the lines of code and the spans of it in sentences, each on one line and without what follows a #."""
    fenced = re.compile(r"^```[a-z]*\n(.*?)^```", re.M | re.S)
    inset = re.compile(r"(?:^ {4}.+\n)+", re.M)
    blocks = [block for found in (fenced, inset) for block in found.findall(text)]
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    spans = re.findall(r"`([^`]+)`", inset.sub("", fenced.sub("", text)))
    for line in [*lines, *(" ".join(span.split()) for span in spans)]:
        yield from re.split(r"\s*&&\s*", re.sub(r"\s#\s.*", "", line))


def words_of(command: str) -> list[str]:
    """Return verb, arguments and options of a command of the shell, ``latentscape`` left out or not; else nothing."""
    bare = command.removeprefix("latentscape ")
    known = bare.partition(" ")[0] in VERBS and " " in bare
    return shlex.split(bare) if known or (bare != command and re.match(r"[a-z]+( |$)", bare)) else []


def value_of(words: list[str], *names: str) -> list[str]:
    return [value for name, value in pairwise(words) if name in names]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_has_a_verb_and_its_options_and_settings(page):
    images = {source.name for source in sources() if source.kind == "images"}
    for command in commands(TEXTS[page.name]):
        if not (words := words_of(command)):
            continue
        verb = words[0]
        assert verb in VERBS, command
        known = {"--help", "--debug"}.union(*((*p.opts, *p.secondary_opts) for p in VERBS[verb].params))
        for option in (word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)):
            assert option in known, (option, command)
        if verb == "train" and len(words) > 1:
            (recipe,) = value_of(words, "--recipe", "-r") or ["images" if words[1] in images else "frames"]
            resolve("frames" if recipe in ("R", "RECIPE") else recipe, value_of(words, "--set"))


def test_every_script_is_there_with_its_options():
    for name, text in TEXTS.items():
        for command in commands(text):
            script, *options = re.findall(r"^python (benchmarks/\S+)|(?<=\s)(--[a-z-]+)", command) or [("", "")]
            if script[0]:
                code = (ROOT / script[0]).read_text(encoding="utf-8")
                for _, option in options:
                    assert f'"{option}"' in code or "--{name}" in code, (name, option, command)


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda script: script.name)
def test_every_script_imports_what_is_there(script):
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("latentscape"):
            module = importlib.import_module(str(node.module))
            for one in node.names:
                assert hasattr(module, one.name) or importlib.import_module(f"{node.module}.{one.name}")


def test_every_configuration_is_one():
    found = 0
    for name, text in TEXTS.items():
        for block in re.findall(r"```yaml\n(.*?)```", text, re.S):
            values, found = yaml.safe_load(block), found + 1
            if "suite" in values:
                assert expand(parse(GridConfig, values, name))
            else:
                parse(RunConfig, values, name)
    assert found >= 6


def test_every_module_and_file_of_code_that_is_named_is_there():
    for name, text in TEXTS.items():
        for dotted in re.findall(r"\blatentscape(?:\.[a-zA-Z_]\w*)+", text):
            parts = dotted.split(".")
            depth = next(
                n for n in range(len(parts), 0, -1) if (ROOT / "src").joinpath(*parts[:n]).is_dir()
                or (ROOT / "src").joinpath(*parts[:n]).with_suffix(".py").exists()
            )  # fmt: skip
            found: Any = importlib.import_module(".".join(parts[:depth]))
            for part in parts[depth:]:
                assert hasattr(found, part), (name, dotted)
                found = getattr(found, part)
        for path in re.findall(r"`([\w./-]+\.(?:py|yaml))`", text):
            assert any((room / path).exists() for room in (ROOT, ROOT / "src/latentscape")), (name, path)


def test_brackets_are_quoted():
    """The shell of macOS, zsh, takes bare ones for a pattern of file names, and finds none."""
    recipes = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("src/latentscape/recipes/*.yaml")}
    for name, text in (TEXTS | recipes).items():
        bare = re.findall(r"--set\s+[a-z_.]+=[\[{]\S*", text)
        assert not bare, (name, bare)


def test_every_recipe_that_is_named_is_there():
    for name, text in TEXTS.items():
        for recipe in re.findall(r"(?:--recipe|latentscape recipes) ([a-z][a-z-]+)(?![\w.-])", text):
            assert recipe in recipe_names(), (name, recipe)


@pytest.mark.parametrize("name", sorted(name for name, text in TEXTS.items() if "```python" in text))
def test_calls_in_code_have_the_arguments_that_are_needed(name):
    """Names are imported, and functions of the package are called with arguments that they take."""
    names: dict[str, Any] = {"ls": latentscape}
    bound = 0
    for block in re.findall(r"```python\n(.*?)```", TEXTS[name], re.S):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("latentscape"):
                module = importlib.import_module(str(node.module))
                for one in node.names:
                    found = getattr(module, one.name, None) or importlib.import_module(f"{node.module}.{one.name}")
                    names[one.asname or one.name] = found
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            callee = ast.unparse(node.func)
            if callee.split(".")[0] not in names or any(isinstance(one, ast.Starred) for one in node.args):
                continue
            wanted: Any = names[callee.split(".")[0]]
            for part in callee.split(".")[1:]:
                wanted = getattr(wanted, part)
            keywords = {one.arg: None for one in node.keywords if one.arg}
            inspect.signature(wanted).bind(*node.args, **keywords)
            bound += 1
    assert bound >= (10 if name == "python.md" else 0)
