"""A verb imports what it uses: what only training, drawing or repairing needs would make each of them wait."""

import os
import subprocess
import sys

SLOW = ("lightning_fabric", "matplotlib", "scipy.signal", "scipy.stats", "sklearn", "librosa", "torch._dynamo")

VERBS = """
import sys
from importlib import import_module
from latentscape.cli import main

def late(when):
    if found := [name for name in {slow!r} if name in sys.modules]:
        sys.exit(f"{{when}} imports {{found}}")

for name in ("codes", "draw", "making", "mend", "restyle", "tag", "travel"):
    import_module(f"latentscape.workshop.{{name}}")
    late(name)
for name in ("card", "check", "evaluate", "examine", "second_stage", "train", "use"):
    import_module(f"latentscape.experiment.{{name}}")
    late(name)
for arguments in (["info", {run!r}], ["walk", {run!r}, "--seconds", "0.1", "--out", {out!r}]):
    try:
        main(arguments)
    except SystemExit as stop:
        assert not stop.code, arguments
    late(arguments[0])
"""


def test_a_verb_imports_what_it_uses(run, tmp_path):
    code = VERBS.format(slow=SLOW, run=str(run), out=str(tmp_path / "walk.wav"))
    bare = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=bare)
    assert not done.returncode, done.stderr
    assert (tmp_path / "walk.wav").exists()
