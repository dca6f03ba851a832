"""What a cell has to show: samples, reconstructions, ways between items, each axis, and where the corpus lies.

Letters: d latent width, mu mean code of the training items, sigma deviation of a latent coordinate over them.

Everything is decoded to the mean of p(x | z), and codes are posterior means. Items are spread evenly over their part,
so that all cells of a source show the same ones. Images are tiles without frames, twice their size; sounds are
spectrograms with axes, and files to hear. Every picture has a clear background and ink that can be read on light and on
dark paper, and few colours, which keeps it at some ten kilobytes.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from latentscape.core.storage import save_bytes_to
from latentscape.data.corpus import Clip, Column
from latentscape.data.examples import Examples, spread
from latentscape.data.images import ImageExamples
from latentscape.data.sounds import SoundExamples
from latentscape.data.split import PartName
from latentscape.geometry.paths import Line, PathRecord, RandomWalk, Sphere, slerp
from latentscape.instrument.instrument import Instrument
from latentscape.instrument.map import LatentMap, latent_map
from latentscape.report.spectrum import FLOOR, spectrogram
from latentscape.report.style import CONTINUOUS, SPECTRUM, Theme, category, grid, shape, styled
from latentscape.signal import audio

SAMPLES = 8
"""Images of a row and of a column of samples."""
COLUMNS = 10
PAIRS = 4
REACH = 3.0
"""Deviations to either side that a traversal goes."""
MOST_AXES = 16
"""A traversal shows this many axes, those along which the codes vary most."""
MAP_ITEMS = 1500
MAP_CLIPS = 200
SECONDS = 2.0
WALK_SECONDS = 6.0
HEARD = 4
SCALE = 2
GAP = 2
COLOURED_BY = ("label", "digit", "class", "instrument", "midi", "dynamics", "speaker", "tag", "family")
"""Labels that colour maps, where a corpus has them."""
MOST_MAPS = 3
PARTS: tuple[PartName, ...] = ("train", "test")
INK = "#7f7b86"
"""As far from white (4.0:1) as from the dark paper of a page (4.2:1)."""
CLEAR = Theme(paper="none", ink=INK, faint=INK, grid="#7f7b8640")
DENSITY = 120
COLOURS = 96


def draw_cell(folder: Path, instrument: Instrument, examples: Examples) -> None:
    """Draw a cell into ``pictures/`` (and ``sounds/``) of its folder.

    Written are ``samples``, ``reconstructions``, ``interpolations-line``, ``interpolations-sphere``, ``traversals``,
    ``map-train[-LABEL]`` and ``map-test[-LABEL]``; of sounds also ``walk``, and to hear ``sample-N.wav``,
    ``original-N.wav``, ``reconstruction-N.wav`` and ``walk.wav``.
    """
    if isinstance(examples, SoundExamples):
        _draw_sounds(folder, instrument, examples)
    elif isinstance(examples, ImageExamples):
        _draw_images(folder, instrument, examples)


# ------------------------------------------------------------------------------------------------------------- images


def _draw_images(folder: Path, instrument: Instrument, examples: ImageExamples) -> None:
    def keep(name: str, picture: bytes) -> None:
        save_bytes_to(folder / "pictures" / f"{name}.png", picture)

    parts = {part: _images(examples, part, MAP_ITEMS) for part in PARTS}
    codes = {part: instrument.encode(x) for part, x in parts.items()}
    chart = latent_map(codes["train"])
    keep("samples", tiles(instrument.sample(SAMPLES**2).reshape(SAMPLES, SAMPLES, *examples.event_shape)))
    x = _images(examples, "test", 3 * COLUMNS)
    across = min(COLUMNS, len(x))
    rows = x[: len(x) // across * across].unflatten(0, (-1, across))
    again = instrument.decode(instrument.encode(rows.flatten(0, 1))).to(x).unflatten(0, (-1, across))
    keep("reconstructions", tiles(torch.stack([rows, again], 1).flatten(0, 1), every=2))
    some = _images(examples, "test", 2 * PAIRS)
    some = some[: len(some) // 2 * 2]
    ends = instrument.encode(some).unflatten(0, (2, len(some) // 2))
    for kind in ("line", "sphere"):
        z = between(ends[0], ends[1], COLUMNS - 2, kind, chart.mean)
        way = instrument.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2]).to(x)
        halves = some.unflatten(0, (2, len(some) // 2))
        keep(f"interpolations-{kind}", tiles(torch.cat([halves[0][:, None], way, halves[1][:, None]], 1)))
    axes, z = traversals(chart, 11)
    way = instrument.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])
    keep("traversals", tiles(way, [str(axis) for axis in axes]))
    for part, code in codes.items():
        rows = examples.split.parts[part].rows
        labels = _labels(examples.corpus.columns, rows[spread(len(rows), MAP_ITEMS).numpy()].tolist())
        _draw_maps(folder, part, chart.project(code).numpy(), labels)


def _images(examples: ImageExamples, part: PartName, count: int) -> Tensor:
    """Return images of a part, spread evenly over it; so many, or as many as there are."""
    return torch.cat([x for x, _ in examples.held(part, 1024, count)])


def between(
    a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], steps: int, kind: str, centre: Float[Tensor, " d"]
) -> Float[Tensor, "n s d"]:
    """Return points on the line, or on the sphere about ``centre``, from each row of ``a`` to that of ``b``."""
    t = torch.linspace(0, 1, steps)
    if kind == "line":
        return torch.lerp(a[:, None], b[:, None], t[None, :, None])
    one, two = ((z - centre).repeat_interleave(steps, 0) for z in (a, b))
    return (centre + slerp(one, two, t.repeat(len(a)))).unflatten(0, (len(a), steps))


def traversals(chart: LatentMap, steps: int) -> tuple[list[int], Float[Tensor, "a s d"]]:
    """Return the axes along which codes vary most, most first, and points along each through the mean code."""
    order = chart.deviation.argsort(descending=True)[:MOST_AXES]
    offsets = torch.linspace(-REACH, REACH, steps)
    z = chart.mean.expand(len(order), steps, -1).clone()
    for row, axis in enumerate(order.tolist()):
        z[row, :, axis] += offsets * chart.deviation[axis]
    return order.tolist(), z


def tiles(images: Float[Tensor, "rows columns c h w"], rows: Sequence[str] = (), *, every: int = 0) -> bytes:
    """Return a PNG of images in [0, 1] beside each other, twice their size where they are small.

    Args:
        images: grey or RGB.
        rows: a word before each row.
        every: leave a wider gap after so many rows.
    """
    down, across, _, height, width = images.shape
    pixels = (images.clamp(0, 1) * 255).round().byte().permute(0, 1, 3, 4, 2).numpy()
    scale = SCALE if max(height, width) <= 64 else 1
    pixels = pixels.repeat(scale, 2).repeat(scale, 3)
    height, width = height * scale, width * scale
    margin = 26 if rows else 0
    extra = [3 * GAP * (row // every) if every else 0 for row in range(down)]
    size = (down * (height + GAP) - GAP + extra[-1], margin + across * (width + GAP) - GAP)
    paper = np.full((*size, 4), (127, 127, 127, 0), np.uint8)  # gaps are transparent: they suit light and dark
    for (row, column), _ in np.ndenumerate(np.empty((down, across))):
        top, left = row * (height + GAP) + extra[row], margin + column * (width + GAP)
        paper[top : top + height, left : left + width, :3] = pixels[row, column]  # one channel fills all three
        paper[top : top + height, left : left + width, 3] = 255
    image = Image.fromarray(paper)
    if rows:
        draw = ImageDraw.Draw(image)
        font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 15)
        for row, word in enumerate(rows):
            middle = row * (height + GAP) + extra[row] + height // 2
            draw.text((margin - 6, middle), word, fill=INK, font=font, anchor="rm")
    return _few_colours(image)


def _few_colours(image: Image.Image) -> bytes:
    """Return a PNG with a palette: a fifth of the bytes, and no eye can tell."""
    out = BytesIO()
    image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE).save(out, format="PNG", optimize=True)
    return out.getvalue()


def _clear(figure: Figure) -> bytes:
    """Return a figure on no paper."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(DENSITY)
    canvas.draw()
    return _few_colours(Image.fromarray(np.asarray(canvas.buffer_rgba())))


def _panels(down: int, across: int, width: float, height: float, share: bool = True) -> tuple[Figure, np.ndarray]:
    """Return a figure of panels of equal size with room for their labels (inches), laid out at once.

    matplotlib's own layout engines draw everything several times over.
    """
    left, right, bottom, top, gap = 0.52, 0.12, 0.42, 0.22, 0.22
    size = (width, down * height + (down - 1) * gap + bottom + top)
    figure = Figure(figsize=size)
    panels = figure.subplots(down, across, squeeze=False, sharex=share, sharey=share)
    each = (width - left - right - 0.1 * (across - 1)) / across
    figure.subplots_adjust(
        left / width, bottom / size[1], 1 - right / width, 1 - top / size[1], 0.1 / each, gap / height
    )
    return figure, panels


# --------------------------------------------------------------------------------------------------------------- maps


def _labels(columns: Mapping[str, Column], rows: Sequence[int]) -> dict[str, np.ndarray]:
    """Return the labels that colour maps: words, or numbers where all are and there are many."""
    found: dict[str, np.ndarray] = {}
    for name in (name for name in COLOURED_BY if name in columns):
        column = columns[name]
        words = [column.text(row) or "" for row in rows]
        if len(column.values) < 2 or (not column.numeric and len(column.values) > 24):
            continue
        if column.numeric and len(column.values) > 12:
            found[name] = np.array([float(word) if word else np.nan for word in words])
        else:
            found[name] = np.array([word or "?" for word in words])
    return dict(list(found.items())[:MOST_MAPS])


def _draw_maps(folder: Path, part: str, points: Float[np.ndarray, "n a"], labels: Mapping[str, np.ndarray]) -> None:
    for name, values in (labels or {"": np.full(len(points), "item")}).items():
        stem = f"map-{part}" if len(labels) < 2 else f"map-{part}-{name}"
        save_bytes_to(folder / "pictures" / f"{stem}.png", draw_map(points, values, name))


def draw_map(points: Float[np.ndarray, "n a"], labels: np.ndarray, name: str) -> bytes:
    """Draw codes on the two widest axes, coloured by a word or a number; equal scales on both axes.

    A word stands at the middle of its dots too, so that colour is never the only sign.
    """
    x, y = points[:, 0], points[:, 1] if points.shape[1] > 1 else np.zeros(len(points))
    names = {"midi": "pitch (MIDI note)"}
    with styled(CLEAR):
        figure, panels = _panels(1, 1, 3.5, 2.7)
        axes = panels[0, 0]
        if labels.dtype.kind == "f":
            figure.subplots_adjust(right=0.82)
            dots = axes.scatter(x, y, c=labels, cmap=CONTINUOUS, s=7, lw=0, plotnonfinite=True)
            place = axes.get_position()
            bar = figure.colorbar(dots, cax=figure.add_axes((0.84, place.y0, 0.03, place.height)))
            bar.set_label(names.get(name, name), fontsize=8)
            bar.ax.tick_params(labelsize=7)
            bar.outline.set_visible(False)
        else:
            words = sorted(set(labels.tolist()), key=lambda word: (len(word), word) if word.isdigit() else (99, word))
            for index, word in enumerate(words):
                mine = labels == word
                axes.scatter(x[mine], y[mine], color=category(index), marker=shape(index), s=9, lw=0, alpha=0.75)
            if any(len(word) > 3 for word in words):
                _legend(figure, words)
            elif len(words) > 1:
                _name_clouds(axes, x, y, labels, words)
        axes.set_xlabel("first principal axis (latent units)", fontsize=8)
        axes.set_ylabel("second", fontsize=8)
        axes.set_aspect("equal", adjustable="datalim")
        axes.tick_params(labelsize=7)
        grid(axes, "both")
        return _clear(figure)


def _legend(figure: Figure, words: Sequence[str]) -> None:
    """Name the colours below a map, which grows by the rows that takes."""
    down = 0.17 * -(-len(words) // 4) + 0.08
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + down)
    old = figure.subplotpars
    figure.subplots_adjust(
        bottom=(old.bottom * height + down) / (height + down), top=(old.top * height + down) / (height + down)
    )
    marks = [
        Line2D([], [], color=category(index), marker=shape(index), ls="", ms=4.5, label=word)
        for index, word in enumerate(words)
    ]
    style = {"fontsize": 7, "handletextpad": 0.1, "columnspacing": 0.8, "labelspacing": 0.25, "borderpad": 0.2}
    figure.legend(handles=marks, loc="lower center", ncols=4, **style)  # pyrefly: ignore


def _name_clouds(axes: Axes, x: np.ndarray, y: np.ndarray, labels: np.ndarray, words: Sequence[str]) -> None:
    """Write each word at the middle of its dots, moved a little where two would cover each other."""
    places = np.array([(np.median(x[labels == word]), np.median(y[labels == word])) for word in words])
    least = 0.085 * max(np.ptp(x), np.ptp(y))
    for _ in range(30):
        way = places[:, None] - places[None]
        far = np.hypot(way[..., 0], way[..., 1])
        push = np.where((far < least) & (far > 0), (least - far) / np.where(far > 0, far, 1) / 4, 0)
        places = places + (way * push[..., None]).sum(1)
    for index, word in enumerate(words):
        box = {"boxstyle": "round,pad=0.2", "fc": category(index), "ec": "#ffffff", "lw": 0.8}
        style = {"fontsize": 7, "fontweight": "bold", "color": "#ffffff", "bbox": box}
        axes.annotate(word, tuple(places[index]), ha="center", va="center", **style)  # pyrefly: ignore


# ------------------------------------------------------------------------------------------------------------- sounds


def _draw_sounds(folder: Path, instrument: Instrument, examples: SoundExamples) -> None:
    rate = examples.corpus.sample_rate
    quality = "fast" if instrument.representation is not None else "best"

    def keep(name: str, picture: bytes) -> None:
        save_bytes_to(folder / "pictures" / f"{name}.png", picture)

    def sound(name: str, wave: Tensor) -> np.ndarray:
        audio.write(folder / "sounds" / f"{name}.wav", wave.numpy(), rate, overwrite=True)
        return wave.numpy()

    charts = {part: _clip_codes(instrument, examples, part) for part in PARTS}
    chart = charts["train"][0]
    samples = [
        sound(f"sample-{k}", wave) for k, wave in enumerate(instrument.sample(HEARD, SECONDS, quality=quality), 1)
    ]
    keep("samples", spectrograms({f"sample {k}": wave for k, wave in enumerate(samples, 1)}, rate))
    heard = [
        examples.corpus.wave(clip, 0, min(clip.frames, round(SECONDS * rate))).copy()
        for clip in _clips(examples, "test", HEARD)
    ]
    waves = [torch.from_numpy(wave) for wave in heard]
    shown: dict[str, np.ndarray] = {}
    for k, wave in enumerate(waves, 1):
        shown[f"original {k}"] = sound(f"original-{k}", wave)
        shown[f"reconstruction {k}"] = sound(f"reconstruction-{k}", instrument.reconstruct(wave, quality=quality))
    keep("reconstructions", spectrograms(shown, rate, across=2))
    ends = [instrument.encode(wave).mean(0) for wave in (waves[0], waves[-1])]
    for kind, path in ways(ends[0], ends[1], chart.mean).items():
        wave = instrument.render(path, SECONDS, quality=quality).numpy()
        keep(f"interpolations-{kind}", spectrograms({f"from original 1 to {len(waves)}": wave}, rate))
    scale = chart.spread.tolist()
    stroll = RandomWalk(centre=chart.mean.tolist(), axes=tuple(map(tuple, chart.axes.tolist())), scale=scale, steps=6)
    walked = sound("walk", instrument.render(stroll, WALK_SECONDS, quality=quality))
    keep("walk", spectrograms({"a walk": walked}, rate))
    keep("traversals", _traversed(instrument, chart, rate))
    for part, (_, codes, rows) in charts.items():
        _draw_maps(folder, part, chart.project(codes).numpy(), _labels(examples.corpus.clips.columns, rows))


def ways(a: Float[Tensor, " d"], b: Float[Tensor, " d"], centre: Float[Tensor, " d"]) -> dict[str, PathRecord]:
    """Return the line and the great circle about ``centre`` from a to b."""
    start, end = a.tolist(), b.tolist()
    return {"line": Line(a=start, b=end), "sphere": Sphere(a=start, b=end, centre=centre.tolist())}


def _clips(examples: SoundExamples, part: PartName, most: int) -> list[Clip]:
    return list(examples.sounds(part, most, SECONDS).clips(examples.corpus))


def _clip_codes(
    instrument: Instrument, examples: SoundExamples, part: PartName
) -> tuple[LatentMap, Float[Tensor, "n d"], list[int]]:
    """Return the map of a part's frames, the mean code of each clip, and the clips' rows."""
    clips = _clips(examples, part, MAP_CLIPS)
    most = round(SECONDS * examples.corpus.sample_rate)
    codes = [
        instrument.encode(torch.from_numpy(examples.corpus.wave(clip, 0, min(clip.frames, most)).copy()))
        for clip in clips
    ]
    owner = torch.cat([torch.full((len(code),), index) for index, code in enumerate(codes)])
    chart = latent_map(torch.cat(codes), clip=owner)
    return chart, chart.clips, [clip.row for clip in clips]


def _traversed(instrument: Instrument, chart: LatentMap, rate: int) -> bytes:
    """Draw what each axis does: frames decoded along it, or (where x is no spectrum) the sound of the way."""
    axes, z = traversals(chart, 41)
    panels: dict[str, np.ndarray] = {}
    for axis, row in zip(axes, z, strict=True):
        if draws_frames(instrument):
            panels[f"axis {axis}"] = instrument.decode(row).float().numpy()
        else:
            wave = instrument.render(row, SECONDS, quality="fast").numpy()
            panels[f"axis {axis}"] = spectrogram(wave, rate, 82)
    low = min(float(np.quantile(panel, 0.02)) for panel in panels.values())
    high = max(float(panel.max()) for panel in panels.values())
    with styled(CLEAR):
        figure, drawn = _panels(-(-len(panels) // 4), min(4, len(panels)), 4.6, 0.75)
        for axes, (name, panel) in zip(drawn.flat, panels.items(), strict=False):
            extent = (-REACH, REACH, 0, 1)
            axes.imshow(panel, origin="lower", aspect="auto", extent=extent, cmap=SPECTRUM, vmin=low, vmax=high)
            _head(axes, name)
            axes.set_yticks([])
            axes.set_xticks([1 - REACH, 0, REACH - 1])
        _captions(figure, drawn, len(panels), "deviations of the corpus's codes", "frequency, low to high")
        return _clear(figure)


def _head(axes: Axes, name: str) -> None:
    axes.set_title(name, fontsize=7.5, pad=3)
    axes.tick_params(labelsize=7, length=2, pad=2)
    axes.spines[:].set_visible(False)


def _captions(figure: Figure, panels: np.ndarray, count: int, x: str, y: str) -> None:
    """Name the axes that all panels share, and leave the panels out that hold nothing."""
    figure.supxlabel(x, fontsize=8, y=0.02, va="bottom")
    figure.supylabel(y, fontsize=8, x=0.01, ha="left")
    for axes in list(panels.flat)[count:]:
        axes.set_visible(False)


def draws_frames(instrument: Instrument) -> bool:
    """Whether decoded features are a picture: levels of many frequencies (codes and waveforms are none)."""
    sound = instrument.representation
    return sound is not None and sound.frame_size > 1 and sound.dtype == torch.float32


def spectrograms(waves: Mapping[str, Float[np.ndarray, "c n"]], sample_rate: int, *, across: int = 2) -> bytes:
    """Draw spectrograms of sounds in rows of ``across``, all on one scale of levels and of time.

    Frequency is in kHz up to 8 kHz (or half the sample rate): what lies above has little to see.
    """
    levels = {title: spectrogram(wave, sample_rate, 240) for title, wave in waves.items()}
    top = max(float(level.max()) for level in levels.values())
    seconds = max(wave.shape[1] for wave in waves.values()) / sample_rate
    across = min(across, len(waves))
    with styled(CLEAR):
        figure, panels = _panels(-(-len(waves) // across), across, 4.2, 0.95)
        for axes, (title, level) in zip(panels.flat, levels.items(), strict=False):
            extent = (0, waves[title].shape[1] / sample_rate, 0, sample_rate / 2000)
            limits = {"vmin": max(FLOOR, top - 70), "vmax": max(top, FLOOR + 1)}
            axes.imshow(level, origin="lower", aspect="auto", extent=extent, cmap=SPECTRUM, **limits)
            axes.set_facecolor("#000004")
            _head(axes, title)
            axes.set_xlim(0, seconds)
            axes.set_ylim(0, min(8.0, sample_rate / 2000))
            axes.xaxis.set_major_locator(MaxNLocator(4 if across > 1 else 8, prune="upper"))
        _captions(figure, panels, len(waves), "time (s)", "frequency (kHz)")
        return _clear(figure)
