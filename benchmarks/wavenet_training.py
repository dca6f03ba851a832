"""Training samples a second of a WaveNet: ours, and the same net as a plain stack of Conv1d modules.

    python benchmarks/wavenet_training.py [--turns 4] [--threads 1] [--cpu-time] [--device cuda] [--json FILE]

A step is forward, loss and backward of 8 windows of 4,096 mu-law codes (no optimiser: it is the same for both); kernel
width 2, 256 codes, a head of S-S-256. The plain stack is what one writes first: an embedding, then for each layer a
dilated ``nn.Conv1d``, tanh times sigmoid, 1 x 1 convolutions for residual and skip, and ``F.cross_entropy``. It has the
same weights, and its loss is checked against ours. The two take turns, so that the machine's other load meets both; the
best turn counts. On a busy machine ``--cpu-time`` counts processor time instead.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentscape.dist.likelihoods import CategoricalConfig, build_likelihood
from latentscape.dist.units import Affine
from latentscape.nets.wavenet import WaveNet, WaveNetConfig

SIZES = {"10 x (32, 64)": (1, 32, 64), "10 x (64, 128)": (1, 64, 128), "20 x (32, 128)": (2, 32, 128)}
ROWS, SAMPLES, CODES = 8, 4096, 256


class Plain(nn.Module):
    """The plain stack, with the weights of ours."""

    def __init__(self, net: WaveNet) -> None:
        super().__init__()
        r = net.config.residual
        self.table = nn.Parameter(net.table.detach().clone())
        self.gates, self.residuals, self.skips = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for dilation, gate, out in net.layers:
            conv = nn.Conv1d(r, 2 * r, 2, dilation=dilation)
            residual, skip = nn.Conv1d(r, r, 1, bias=False), nn.Conv1d(r, net.config.skip, 1, bias=False)
            with torch.no_grad():
                conv.weight.copy_(gate.weight.reshape(2 * r, 2, r).transpose(1, 2))
                conv.bias.copy_(gate.bias)
                residual.weight.copy_(out.weight[:r, :, None])
                skip.weight.copy_(out.weight[r:, :, None])
            self.gates.append(conv)
            self.residuals.append(residual)
            self.skips.append(skip)
        self.skip_bias = nn.Parameter(net.skip_bias.detach().clone())
        self.head = nn.ModuleList()
        for linear in net.head:
            conv = nn.Conv1d(linear.in_features, linear.out_features, 1)
            with torch.no_grad():
                conv.weight.copy_(linear.weight[:, :, None])
                conv.bias.copy_(linear.bias)
            self.head.append(conv)

    def forward(self, codes: Tensor) -> Tensor:
        """Return logits ``[b, codes, n]``."""
        h = F.embedding(F.pad(codes[:, :-1], (1, 0), value=CODES), self.table).transpose(1, 2)
        total = self.skip_bias[:, None]
        for gate, residual, skip in zip(self.gates, self.residuals, self.skips, strict=True):
            signal, opening = gate(F.pad(h, (gate.dilation[0], 0))).chunk(2, dim=1)
            a = torch.tanh(signal) * torch.sigmoid(opening)
            h = h + residual(a)
            total = total + skip(a)
        return self.head[1](F.relu(self.head[0](F.relu(total))))


def steps(net: WaveNet, codes: Tensor, *, bf16: bool) -> dict[str, Callable[[], Tensor]]:
    """Return a training step of ours and of the plain stack; each gives its loss."""
    law = build_likelihood(CategoricalConfig(levels=CODES), (1, 1), Affine((1, 1), 127.5, 127.5)).to(codes.device)
    plain = Plain(net).to(codes.device)

    def step(loss: Callable[[], Tensor]) -> Tensor:
        with torch.autocast(codes.device.type, dtype=torch.bfloat16, enabled=bf16):
            value = loss()
        value.backward()
        return value.detach()

    def ours() -> Tensor:
        return -law(net(codes).flatten(0, 1)).log_prob(codes.reshape(-1, 1, 1)).mean()

    return {"ours": lambda: step(ours), "plain Conv1d": lambda: step(lambda: F.cross_entropy(plain(codes), codes))}


def main() -> None:
    """Time them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    clock = time.process_time if asked.cpu_time else time.perf_counter
    rows = []
    for name, (stacks, residual, skip) in SIZES.items():
        for bf16 in (False, True):
            torch.manual_seed(0)
            net = WaveNet(WaveNetConfig(residual=residual, skip=skip, stacks=stacks), CODES, CODES).to(asked.device)
            codes = torch.randint(CODES, (ROWS, SAMPLES), device=asked.device)
            systems = steps(net, codes, bf16=bf16)
            first = {system: float(step()) for system, step in systems.items()}
            assert abs(first["ours"] - first["plain Conv1d"]) < 0.02, first
            best = dict.fromkeys(systems, float("inf"))
            for _ in range(asked.turns):
                for system, step in systems.items():
                    begun = clock()
                    for _ in range(3):
                        float(step())
                    best[system] = min(best[system], (clock() - begun) / 3)
            ratio = best["plain Conv1d"] / best["ours"]
            for system, seconds in best.items():
                rate = codes.numel() / seconds
                rows.append({"net": name, "bf16": bf16, "system": system, "samples a second": round(rate)})
                print(f"{name:16} {'bf16' if bf16 else 'fp32'} {system:14} {rate:10,.0f} samples a second", flush=True)
            print(f"{name:16} {'bf16' if bf16 else 'fp32'} ours is {ratio:.2f} times as fast", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
