"""Class balance, free adversarial replay and a difference-seeking mixture in one training loop, in plain PyTorch.

This is what the recipe ::

    [data]                   use = "standard/digits"
    [samplers.long_tail]     use = "standard/long-tail"          ratio = 20
    [sources.avoid]          the data again, in an order of their own
    [samplers.difference]    use = "dsgan/difference"        alpha = 0.25   wide = "normal"
    [networks.*]             SNDCGAN of width 0.25, and a frozen classifier
    [losses.adversarial]     use = "standard/relativistic"
    [losses.balance]         use = "cbgan/class-balance"     weight = 10   cycle = 3
    [attacks.free]           use = "fastrobgan/free"         epsilon = 0.02
    [loop]                   use = "fastrobgan/free-replay"  replays = 2
    [ema]                    decay = 0.9

does, written out: no framework, one file, top to bottom. Asked for labels, it does what the recipe does with these besides ::

    [latent]                 use = "standard/normal"             labels = "data"
    [networks.generator]     conditional = true
    [heads.adversarial]      use = "standard/projection"

The test suite trains both and asks for the same weights to the
last bit, so this file is also the answer to "what does gancore compute?". Only the random draws and the networks are
imported, for two loops can only agree when they start from the same numbers.

Run it with ``python examples/by_hand.py``.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from gancore_standard.datasets.digits import Digits
from gancore_standard.heads import Linear, Projection
from gancore_standard.networks.small_cnn import SmallCNN
from gancore_standard.networks.sndcgan import SNDCGANDiscriminator, SNDCGANGenerator
from gancore_standard.samplers import LongTail
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gancore.parallel import derive, noise_for

SEED = 0
BATCH = 16
LATENT = 16
CLASSES = 10
SIZE = 8
RATIO = 20.0
ALPHA = 0.25  # share of the fake batch that is data, which the generator shall avoid
SPREAD = 0.1  # standard deviation of the noise that makes the real images wider than the data
EPSILON = 0.02  # l_inf radius of the perturbation, images in [-1, 1]
REPLAYS = 2
BALANCE = 10.0  # weight of the class-balancing regularizer
CYCLE = 3
DECAY = 0.9


def built(label: str, make: Any) -> Any:
    """Build a module with initial weights that are a function of the seed and a label."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(SEED, "weights", label))
        module = make()
    return module.to(memory_format=torch.channels_last)


def train(iterations: int, *, conditional: bool = False) -> dict[str, Tensor]:
    """Train for so many iterations and return the weights, by ``module.parameter``.

    Args:
        iterations: How many.
        conditional: Whether generator and discriminator go by labels, of which the generator gets each as often as the data
            have it.
    """
    images, labels = Digits().load("train")
    chosen = LongTail(ratio=RATIO).select(labels, SEED)
    images, labels = images[chosen], labels[chosen]

    G = built(
        "networks.generator",
        lambda: SNDCGANGenerator(
            channels=1, image_size=SIZE, classes=CLASSES, latent_dim=LATENT, width=0.25, conditional=conditional
        ),
    )
    D = built("networks.discriminator", lambda: SNDCGANDiscriminator(channels=1, image_size=SIZE, width=0.25))
    projection = {"features": D.features, "classes": CLASSES, "spectral_norm": True}
    linear = {"features": D.features, "spectral_norm": True}
    head = built("heads.adversarial", lambda: Projection(**projection) if conditional else Linear(**linear))
    C = (
        built("networks.classifier", lambda: SmallCNN(channels=1, image_size=SIZE, classes=CLASSES))
        .eval()
        .requires_grad_(False)
    )
    average = copy.deepcopy(G).eval().requires_grad_(False)

    d_parameters = [*D.parameters(), *head.parameters()]
    g_parameters = list(G.parameters())
    d_optimizer = torch.optim.Adam(d_parameters, lr=2e-4, betas=(0.5, 0.999), fused=True)
    g_optimizer = torch.optim.Adam(g_parameters, lr=2e-4, betas=(0.5, 0.999), fused=True)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(SEED, "weights", "attack"))
        delta = (torch.rand(BATCH, 1, SIZE, SIZE) * 2 - 1) * EPSILON

    # Class statistics (CBGAN Eq. 5, 6): effective frequency N, this cycle's counts c, weights w of mean 1.
    N = torch.full((CLASSES,), 50.0, dtype=torch.float64)
    c = torch.full((CLASSES,), 512.0, dtype=torch.float64)
    w = torch.ones(CLASSES, dtype=torch.float64)

    for iteration in range(iterations):
        # One batch of data, widened by noise, is real (DSGAN, Eq. 1); data of another order, to be avoided, are joined to the
        # generated images (appendix C).
        real, real_label = batch_of(images, labels, draw=iteration)
        spread = torch.empty_like(real).normal_(generator=noise("sampler", "difference", iteration, 0))
        real = real + SPREAD * spread
        avoided, avoided_label = batch_of(images, labels, draw=iteration, seed=derive(SEED, "source", "avoid"))
        number = BATCH - int(ALPHA * BATCH)
        avoided, avoided_label = avoided[: BATCH - number], avoided_label[: BATCH - number]

        # --- discriminator: the same batch several times, one backward each for D and for the perturbation
        z, fake_label = latents(labels, draw=2 * iteration)
        with torch.no_grad():
            fake = G(z, fake_label)[:number]
        label = torch.cat([real_label, fake_label[:number], avoided_label])
        for _ in range(REPLAYS):
            seen = (real + delta).clamp(-1, 1).requires_grad_()
            with parametrize.cached():
                logits = head(D(torch.cat([seen, fake, avoided])), label)
            real_logits, fake_logits = logits.split(BATCH)
            loss = F.softplus(fake_logits - real_logits).mean()
            clear(d_parameters)
            loss.backward(inputs=[*d_parameters, seen])
            d_optimizer.step()
            assert seen.grad is not None
            grad = seen.grad * ((real + delta).abs() <= 1)
            delta = (delta + EPSILON * grad.sign()).clamp(-EPSILON, EPSILON)

        # --- generator: fresh latents, the same real images, undisturbed
        z, fake_label = latents(labels, draw=2 * iteration + 1)
        fake = G(z, fake_label)
        with parametrize.cached():
            fake_logits = head(D(fake), fake_label)
            with torch.no_grad():
                real_logits = head(D(real), real_label)
        class_logits = C(fake)
        p = class_logits.softmax(1).mean(0)
        balance = (w.float() * p * p.log()).sum()
        loss = F.softplus(real_logits - fake_logits).mean() + BALANCE * balance
        clear(g_parameters)
        loss.backward(inputs=g_parameters)
        g_optimizer.step()

        # --- class statistics and moving average
        c += torch.bincount(class_logits.argmax(1), minlength=CLASSES)
        if (iteration + 1) % CYCLE == 0:
            N = (0.5 * N + 0.5 * c).clamp_min(1.0)
            c = torch.zeros_like(c)
            w = CLASSES * (1 / N) / (1 / N).sum()
        with torch.no_grad():
            for mine, current in zip(average.state_dict().values(), G.state_dict().values(), strict=True):
                if mine.is_floating_point():
                    mine.lerp_(current, 1 - DECAY)
                else:
                    mine.copy_(current)

    parts: dict[str, nn.Module] = {"generator": G, "discriminator": D, "head": head, "ema": average}
    state = {f"{name}.{key}": value for name, module in parts.items() for key, value in module.state_dict().items()}
    return {**state, "delta": delta, "N": N, "c": c, "w": w}


def latents(labels: Tensor, draw: int) -> tuple[Tensor, Tensor]:
    """Return draw number `draw` of latents, and of labels: those of as many images that are chosen at random."""
    stream = noise("latent", draw, 0)
    z = torch.randn(BATCH, LATENT, generator=stream)
    chosen = (torch.rand(BATCH, generator=stream, dtype=torch.float64) * len(labels)).long()
    return z, labels.sort().values[chosen]


def batch_of(images: Tensor, labels: Tensor, draw: int, seed: int = SEED) -> tuple[Tensor, Tensor]:
    """Return batch number `draw` of an endless stream in which every image comes once per epoch, and its labels."""
    position = draw * BATCH
    epochs = range(position // len(images), (position + BATCH - 1) // len(images) + 1)
    order = torch.cat([torch.randperm(len(images), generator=noise_for("cpu", seed, "epoch", epoch)) for epoch in epochs])
    start = position % len(images)
    picked = order[start : start + BATCH]
    return (images[picked].float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last), labels[picked]


def noise(*purpose: str | int) -> torch.Generator:
    """Return a generator seeded for a purpose."""
    return noise_for("cpu", SEED, *purpose)


def clear(parameters: list[Any]) -> None:
    """Forget the gradients."""
    for parameter in parameters:
        parameter.grad = None


if __name__ == "__main__":
    for name, value in train(20).items():
        if value.numel() <= 16:
            print(name, [round(v, 4) for v in value.flatten().tolist()])
