"""What the docs say of the package is there: links, options, recipes, and calls of code."""

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import typer

import latentscape
from latentscape import cli
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


def test_every_command_has_a_verb_and_its_options():
    verbs = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for name, text in TEXTS.items():
        for verb, rest in re.findall(r"^(?:[| ]*`?)latentscape ([a-z]+)([^`\n#&]*)", text, re.M):
            assert verb in verbs, (name, verb)
            known = {"--help", "--debug"}.union(*((*p.opts, *p.secondary_opts) for p in verbs[verb].params))
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest):
                assert option in known, (name, verb, option)


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
