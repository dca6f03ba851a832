"""The second stage of a run: fitted to the codes of its training part when it is first asked for, and kept with it."""

from pathlib import Path

from latentscape.core.errors import StorageError, UsageError, nearest
from latentscape.experiment.evaluate import moved
from latentscape.experiment.joined import open_run
from latentscape.experiment.run import Say
from latentscape.instrument.loading import load
from latentscape.models.second_stage import STAGES, SecondStage, draw_codes, fit_second_stage

CODES = 20_000
BATCH = 1024


def stage_file(run: Path, kind: str) -> Path:
    """Return where a run keeps a second stage."""
    return run / f"second-stage-{kind}.safetensors"


def second_stage(run: Path, kind: str, say: Say, device: str = "auto") -> SecondStage:
    """Return a run's second stage, fitted now where it is not there yet.

    Args:
        run: the run folder.
        kind: ``mixture`` or ``flow``.
        say: told what takes time.
        device: where to encode and fit.

    Raises:
        UsageError: there is no such form.
        StorageError: the run, or the stage that lies in it, is damaged.
    """
    if kind not in STAGES:
        raise UsageError(f"unknown second stage '{kind}', expected {' or '.join(STAGES)}{nearest(kind, STAGES)}")
    path = stage_file(run, kind)
    instrument = load(run, device)
    if path.exists():
        try:
            found = SecondStage.load(path)
        except StorageError as error:
            raise StorageError(f"{error}; remove it, and it is fitted anew") from error
        if found.dim != instrument.dim:
            raise StorageError(
                f"{path} has {found.dim} dimensions, the model {instrument.dim}: it is of another run; "
                "remove it, and it is fitted anew"
            )
        return found
    prepared = open_run(run)
    with prepared.examples as examples:
        say(f"fitting the second stage ({kind}) to the codes of the training part, once")
        codes = draw_codes(instrument.model, moved(examples.held("train", BATCH, CODES), instrument.device))
    stage = fit_second_stage(STAGES[kind](), codes)
    stage.save(path)
    return stage


def forget_stages(run: Path) -> None:
    """Remove the second stages of weights that are no longer a run's."""
    for path in run.glob("second-stage-*.safetensors"):
        path.unlink()
