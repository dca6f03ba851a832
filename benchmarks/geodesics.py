"""Figure 1 of the session issue: geodesics beside stochman's defaults and 1000 Adam steps, in one run.

    python benchmarks/geodesics.py [--stochman PYTHON] [--run RUN] [--threads 2] [--turns 3] [--no-adam]

Decoder 16-512-512-784 (SiLU or tanh), 32 pairs, 32 segments, float32. "trained" is the decoder of an autoencoder of
Fashion-MNIST, trained here for ``--seconds``, its pairs codes of test images; "random" ones have weights of gain 2
(He et al. 2015) and pairs from a standard normal. All methods get the same decoder and pairs, all pairs in one call.

Energies are all measured on 32 segments of equal time: E = 32 sum |f(z_i+1) - f(z_i)|^2, of curves as each method
leaves them (stochman's spline is also given at constant speed, which is kinder to it: the lower of the two counts).
"converged" is our solver in float64 with tolerance 1e-6, from the best of all curves. ms are of wall time a pair, the
median of ``--turns``.

``--stochman`` names the interpreter of an environment with stochman 0.3.0 (``pip install stochman``); its
``connecting_geodesic`` runs there on the same decoder and pairs: cubic spline of 5 nodes, Adam, at most 150 steps.

``--run`` adds a run folder's decoder (features; pairs of clips). Scaling is on random tanh decoders d-512-512-784.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from latentscape.geometry.geodesic import geodesics, measure, straight
from latentscape.geometry.manifold import PullBack

PAIRS, SEGMENTS = 32, 32
ACTIVATIONS = {"silu": nn.SiLU, "tanh": nn.Tanh}


def decoder(activation: str, d: int = 16) -> nn.Sequential:
    torch.manual_seed(0)
    act = ACTIVATIONS[activation]
    net = nn.Sequential(nn.Linear(d, 512), act(), nn.Linear(512, 512), act(), nn.Linear(512, 784))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, (2 / layer.in_features) ** 0.5)
    return net.requires_grad_(False)


def trained(seconds: float) -> tuple[nn.Sequential, Tensor]:
    """A decoder of Fashion-MNIST (10 SE + KL), and the codes of 2,000 test images."""
    root = Path(os.environ.get("LATENTSCAPE_DATA", "../shared/data")) / "fashion-mnist"
    x, test = (pictures(root / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k"))
    net = decoder("silu").requires_grad_()
    with torch.no_grad():
        net[4].weight.mul_(0.3)
    encoder = nn.Sequential(nn.Linear(784, 512), nn.SiLU(), nn.Linear(512, 512), nn.SiLU(), nn.Linear(512, 32))
    optimiser = torch.optim.Adam([*encoder.parameters(), *net.parameters()], 1e-3, fused=True)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        batch = x[torch.randint(len(x), (256,))]
        mean, log_scale = encoder(batch).chunk(2, 1)
        z = mean + torch.randn_like(mean) * log_scale.exp()
        kl = (mean.square() + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(1) / 2
        loss = (10 * (net(z) - batch).square().sum(1) + kl).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.requires_grad_(False), encoder(test[:2000])[:, :16].detach()


def pictures(path: Path) -> Tensor:
    with gzip.open(path) as file:
        return torch.frombuffer(bytearray(file.read()[16:]), dtype=torch.uint8).reshape(-1, 784).float() / 255


def adam(manifold: PullBack, a: Tensor, b: Tensor, steps: int = 1000, rate: float = 1e-2) -> Tensor:
    """Anybody's way: all inner points of all pairs, one optimiser."""
    inner = straight(a, b, SEGMENTS)[:, 1:-1].clone().requires_grad_()
    optimiser = torch.optim.Adam([inner], rate)
    for _ in range(steps):
        points = torch.cat((a[:, None], inner, b[:, None]), 1)
        loss = manifold.chords(points).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return torch.cat((a[:, None], inner.detach(), b[:, None]), 1)


def timed(call: Callable[[], Tensor], turns: int) -> tuple[float, float, Tensor]:
    """Median milliseconds of wall and of processor time (all threads), and the answer."""
    wall, cpu = [], []
    for _ in range(turns):
        begin, busy = time.perf_counter(), time.process_time()
        points = call()
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - busy)
    return 1000 * median(wall), 1000 * median(cpu), points


def stochman(python: str, net: nn.Sequential, activation: str, a: Tensor, b: Tensor, turns: int, threads: int):
    """Milliseconds and curves of stochman's defaults, from its own interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        given, taken = Path(folder) / "given.safetensors", Path(folder) / "taken.safetensors"
        weights = {f"net.{name}": value.contiguous() for name, value in net.state_dict().items()}
        save_file(weights | {"a": a.contiguous(), "b": b.contiguous()}, given)
        environment = os.environ | {"PYTHONPATH": ""}
        command = [python, "-c", THERE, str(given), str(taken), activation, str(turns), str(threads)]
        subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
        found = load_file(taken)
    wall, cpu = (1000 * median(times) for times in found["seconds"].T.tolist())
    return wall, cpu, found["curve"], found["steady"]


THERE = """
import sys, time, torch
from torch import nn
from safetensors.torch import load_file, save_file
from stochman.manifold import EmbeddedManifold
given, taken, activation, turns, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
tensors = load_file(given)
act = {"silu": nn.SiLU, "tanh": nn.Tanh}[activation]
sizes = [tensors["net.0.weight"].shape[1], 512, 512, 784]
net = nn.Sequential(*[m for i in range(3) for m in (nn.Linear(sizes[i], sizes[i + 1]), act())][:-1])
net.load_state_dict({name[4:]: value for name, value in tensors.items() if name.startswith("net.")})
net.requires_grad_(False)
class Decoded(EmbeddedManifold):
    def embed(self, points, jacobian=False):
        return net(points)
seconds = []
for turn in range(int(turns)):
    torch.manual_seed(0)
    begin, busy = time.perf_counter(), time.process_time()
    curve, success = Decoded().connecting_geodesic(tensors["a"], tensors["b"])
    seconds.append((time.perf_counter() - begin, time.process_time() - busy))
t = torch.linspace(0, 1, 33)
with torch.no_grad():
    plain = curve(t)
    fine = curve(torch.linspace(0, 1, 513))
    way = torch.nn.functional.pad((net(fine[:, 1:]) - net(fine[:, :-1])).norm(dim=2).cumsum(1), (1, 0))
    place = torch.searchsorted(way, (t * way[:, -1:]).contiguous()).clamp(0, 512)
    steady = fine.gather(1, place[..., None].expand(-1, -1, fine.shape[2]))
    steady[:, 0], steady[:, -1] = tensors["a"], tensors["b"]
save_file({"seconds": torch.tensor(seconds), "curve": plain.contiguous(), "steady": steady.contiguous()}, taken)
"""


def compare(name: str, net: nn.Sequential, activation: str, a: Tensor, b: Tensor, options: argparse.Namespace) -> None:
    manifold = PullBack(net, a.shape[1])
    line = measure(manifold, straight(a, b, SEGMENTS))[0]
    rows: dict[str, tuple[float, float, Tensor, str]] = {}
    geodesics(manifold, a, b)  # warm
    found = geodesics(manifold, a, b)
    solved = timed(lambda: geodesics(manifold, a, b).points, options.turns)
    rows["ours"] = *solved, f"{int(found.converged.sum())} of {len(a)} converged, {found.rounds} rounds"
    if options.stochman:
        wall, cpu, curve, steady = stochman(options.stochman, net, activation, a, b, options.turns, options.threads)
        better = measure(manifold, steady)[0] < measure(manifold, curve)[0]
        rows["stochman"] = wall, cpu, torch.where(better[:, None, None], steady, curve), "its defaults"
    if options.adam and name.startswith("trained"):
        rows["adam 1000"] = *timed(lambda: adam(manifold, a, b), 1), "rate 0.01, all pairs in one"
    best = converged(net, a, b)
    print(f"\n{name}: mean energy over the line's; over the converged; ms a pair ({options.threads} threads)")
    print(f"  {'converged':12} {float((best / line).mean()):.4f}")
    for label, (wall, cpu, curve, note) in rows.items():
        energy = measure(manifold, curve)[0]
        excess = float((energy / line).mean() / (best / line).mean() - 1)
        worst = float((energy / best).max() - 1)
        print(
            f"  {label:12} {float((energy / line).mean()):.4f}  {excess:+.2%} (worst pair {worst:+.2%})"
            f"  {wall / len(a):7.1f} ms ({cpu / len(a):.1f} of processor time)  {note}"
        )
    if "stochman" in rows:
        wall, cpu = (rows["ours"][i] / rows["stochman"][i] for i in (0, 1))
        print(f"  ours takes {wall:.2f} of stochman's time, {cpu:.2f} of its processor time")


def converged(net: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    """The least energies, in float64."""
    net.double()
    found = geodesics(PullBack(net, a.shape[1]), a.double(), b.double(), tolerance=1e-6, rounds=12)
    net.float()
    return found.energy.float()


def scaling(options: argparse.Namespace) -> None:
    print(f"\nscaling: random tanh decoders d-512-512-784, {PAIRS} pairs, {SEGMENTS} segments")
    for d in (2, 8, 32, 64):
        net = decoder("tanh", d)
        a, b = torch.randn(2, PAIRS, d, generator=torch.Generator().manual_seed(1))
        report(f"d = {d}", PullBack(net, d), a, b, options)


def report(name: str, manifold: PullBack, a: Tensor, b: Tensor, options: argparse.Namespace) -> None:
    geodesics(manifold, a[:2], b[:2])
    found = geodesics(manifold, a, b)
    wall, cpu, _ = timed(lambda: geodesics(manifold, a, b).points, options.turns)
    energy = float((found.energy / found.energy_line).mean())
    length = float((found.length / found.length_line).mean())
    print(
        f"  {name:12} {wall / len(a):6.1f} ms a pair ({cpu / len(a):.1f} of processor time), "
        f"energy {energy:.4f} and length {length:.4f} of the line's, "
        f"{int(found.converged.sum())} of {len(a)} converged"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stochman", help="interpreter with stochman")
    parser.add_argument("--run", type=Path, help="a run folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20.0, help="of training")
    parser.add_argument("--adam", action=argparse.BooleanOptionalAction, default=True, help="1000 steps, trained case")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "load": os.getloadavg()}))
    for activation in ACTIVATIONS:
        a, b = torch.randn(2, PAIRS, 16, generator=torch.Generator().manual_seed(1))
        compare(f"random, {activation}", decoder(activation), activation, a, b, options)
    net, codes = trained(options.seconds)
    chosen = torch.from_numpy(np.random.default_rng(0).permutation(len(codes))[: 2 * PAIRS])
    a, b = codes[chosen].chunk(2)
    compare("trained on Fashion-MNIST, silu", net, "silu", a, b, options)
    scaling(options)
    if options.run:
        from latentscape.instrument.geodesics import embedding_of
        from latentscape.instrument.loading import load

        here = load(options.run, "cpu")
        clips = here.chart.clips
        chosen = torch.from_numpy(np.random.default_rng(0).permutation(len(clips))[: 2 * PAIRS])
        a, b = clips[chosen].chunk(2)
        print(f"\n{options.run.name}: features, clips' mean codes")
        report(f"d = {here.dim}", PullBack(embedding_of(here), here.dim), a, b, options)


if __name__ == "__main__":
    main()
