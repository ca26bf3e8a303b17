"""The field's standard networks, losses, data sets and scores, a plugin like any other. Imports no torch.

What other plugins may use of its code is in `gancore_standard.tools`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gancore import Component, hookimpl

_LOSSES = "gancore_standard.losses"
_NETWORKS = "gancore_standard.networks"
_METRICS = "gancore_standard.metrics"


@hookimpl
def gancore_loss_terms() -> Iterator[Component]:
    """Yield objectives, penalties and classification losses."""
    yield Component("minimax", f"{_LOSSES}.objectives:Minimax", "Saturating game", "arXiv:1406.2661")
    yield Component("non-saturating", f"{_LOSSES}.objectives:NonSaturating", "Non-saturating game", "arXiv:1406.2661")
    yield Component("hinge", f"{_LOSSES}.objectives:Hinge", "Hinge game", "arXiv:1705.02894")
    yield Component("least-squares", f"{_LOSSES}.objectives:LeastSquares", "Least-squares game", "arXiv:1611.04076")
    yield Component("wasserstein", f"{_LOSSES}.objectives:Wasserstein", "Wasserstein critic", "arXiv:1701.07875")
    yield Component("relativistic", f"{_LOSSES}.objectives:Relativistic", "Relativistic game, paired", "arXiv:1807.00734")
    yield Component(
        "relativistic-average", f"{_LOSSES}.objectives:RelativisticAverage", "Relativistic average game", "arXiv:1807.00734"
    )
    yield Component(
        "gradient-penalty", f"{_LOSSES}.penalties:GradientPenalty", "Penalty of WGAN-GP and -LP", "arXiv:1704.00028"
    )
    yield Component(
        "auxiliary-classifier", f"{_LOSSES}.classification:AuxiliaryClassifier", "AC-GAN's class losses", "arXiv:1610.09585"
    )
    yield Component(
        "cross-entropy",
        f"{_LOSSES}.classification:CrossEntropy",
        "Cross entropy, focal or LDAM loss of a classifier, with deferred re-weighting",
        "arXiv:1906.07413",
    )


@hookimpl
def gancore_heads() -> Iterator[Component]:
    """Yield discriminator heads."""
    yield Component("linear", "gancore_standard.heads:Linear", "One logit")
    yield Component("auxiliary-classifier", "gancore_standard.heads:AuxiliaryClassifier", "Class logits", "arXiv:1610.09585")
    yield Component(
        "concatenation", "gancore_standard.heads:Concatenation", "One logit, of features beside the label", "arXiv:1802.05637"
    )
    yield Component("projection", "gancore_standard.heads:Projection", "One logit, given the label", "arXiv:1802.05637")


@hookimpl
def gancore_samplers() -> Iterator[Component]:
    """Yield data samplers."""
    yield Component("long-tail", "gancore_standard.samplers:LongTail", "Long-tailed class counts", "arXiv:1906.07413")
    yield Component("per-class", "gancore_standard.samplers:PerClass", "k images per class")
    yield Component("class-balanced", "gancore_standard.samplers:ClassBalanced", "Draw every class equally often")
    yield Component("take-classes", "gancore_standard.samplers:TakeClasses", "Keep some classes")
    yield Component("same-label", "gancore_standard.samplers:SameLabel", "Several images of one label as one sample")
    yield Component(
        "diffaugment",
        "gancore_standard.augmentation:DiffAugment",
        "Differentiable augmentation of what D sees",
        "arXiv:2006.10738",
    )
    yield Component(
        "augmentation", "gancore_standard.augmentation:Augmentation", "ADA's augmentations at a fixed p", "arXiv:2006.06676"
    )


@hookimpl
def gancore_latents() -> Iterator[Component]:
    """Yield distributions of latents."""
    yield Component("mixture", "gancore_standard.latents:Mixture", "Gaussians whose component is a code", "arXiv:1808.10356")
    yield Component("normal", "gancore_standard.latents:Normal", "Standard normal latents, labels uniform or as in the data")
    yield Component(
        "uniform", "gancore_standard.latents:Uniform", "Latents uniform on [-1, 1], labels uniform or as in the data"
    )


@hookimpl
def gancore_loops() -> Iterator[Component]:
    """Yield update rules."""
    yield Component(
        "alternating", "gancore_standard.loops:Alternating", "Discriminator steps, then a generator step", "arXiv:1406.2661"
    )
    yield Component("supervised", "gancore_standard.loops:Supervised", "Train a classifier on the data")


@hookimpl
def gancore_networks() -> Iterator[Component]:
    """Yield generators, discriminator backbones and classifiers."""
    for role in ("Generator", "Discriminator"):
        end = role.lower()
        yield Component(f"sndcgan-{end}", f"{_NETWORKS}.sndcgan:SNDCGAN{role}", f"SNDCGAN {end}", "arXiv:1802.05957")
        yield Component(f"resnet-{end}", f"{_NETWORKS}.resnet_gan:ResNet{role}", f"SN-ResNet GAN {end}", "arXiv:1802.05957")
        yield Component(f"dcgan-{end}", f"{_NETWORKS}.dcgan:DCGAN{role}", f"DCGAN {end}", "arXiv:1511.06434")
        yield Component(f"mlp-{end}", f"{_NETWORKS}.mlp:MLP{role}", f"Fully connected {end}")
    for depth in (20, 32, 44, 56):
        target = f"{_NETWORKS}.cifar_resnet:ResNet{depth}"
        yield Component(f"resnet{depth}", target, f"CIFAR-style ResNet-{depth} classifier", "arXiv:1512.03385")
    yield Component("small-cnn", f"{_NETWORKS}.small_cnn:SmallCNN", "Small convolutional classifier, 8 to 32 px")
    yield Component("mlp-classifier", f"{_NETWORKS}.mlp:MLPClassifier", "Fully connected classifier")
    inception, paper = "gancore_standard.inception:Inception", "arXiv:1706.08500"
    yield Component("inception", inception, "Inception v3 of the Frechet distance", paper, group="download")


@hookimpl
def gancore_datasets() -> Iterator[Component]:
    """Yield image sets."""
    module, fetched, own = "gancore_standard.datasets", "download", "files"
    yield Component("cifar10", f"{module}:Cifar10", "CIFAR-10, 32 px", group=fetched)
    yield Component("cifar100", f"{module}:Cifar100", "CIFAR-100, 32 px", group=fetched)
    yield Component("mnist", f"{module}:Mnist", "MNIST, 28 px", group=fetched)
    yield Component("fashion-mnist", f"{module}:FashionMnist", "Fashion-MNIST, 28 px", "arXiv:1708.07747", group=fetched)
    yield Component("svhn", f"{module}:Svhn", "SVHN, 32 px", group=fetched)
    yield Component("digits", f"{module}:Digits", "scikit-learn's digits, 8 px, embedded")
    yield Component("torchvision", f"{module}:TorchvisionByName", "torchvision's other sets, by name", group=fetched)
    yield Component("image-folder", f"{module}:ImageFolder", "Your images, a folder per class", group=own)
    yield Component(
        "gaussian-ring", f"{module}:GaussianRing", "Normal distributions on a ring in the plane", "arXiv:1705.07761"
    )
    yield Component(
        "gaussian-grid", f"{module}:GaussianGrid", "Normal distributions on a grid in the plane", "arXiv:1705.07761"
    )
    yield Component("image-files", f"{module}:ImageFiles", "Images of an npz, or of a folder, at their own size")
    yield Component("lsun", f"{module}:LsunClasses", "Classes of LSUN", "arXiv:1506.03365", group=own)


@hookimpl
def gancore_metrics() -> Iterator[Component]:
    """Yield scores."""
    yield Component("fid", f"{_METRICS}.frechet:FrechetDistance", "Frechet distance of features", "arXiv:1706.08500")
    yield Component(
        "intra-frechet",
        f"{_METRICS}.intra_frechet:IntraClassFrechetDistance",
        "Frechet distance class by class",
        "arXiv:1802.05637",
    )
    yield Component("kid", f"{_METRICS}.kernel:KernelDistance", "Kernel inception distance of features", "arXiv:1801.01401")
    yield Component("prdc", f"{_METRICS}.prdc:PrecisionRecall", "Precision, recall, density and coverage", "arXiv:1904.06991")
    yield Component("inception-score", f"{_METRICS}.inception_score:InceptionScore", "Inception score", "arXiv:1606.03498")
    yield Component("class-histogram", f"{_METRICS}.histogram:ClassHistogram", "Class shares and their KL to uniform")
    yield Component(
        "class-probabilities",
        f"{_METRICS}.probabilities:ClassProbabilities",
        "A classifier's mean prediction, its KL to uniform, and the entropy of each",
    )
    yield Component(
        "label-agreement",
        f"{_METRICS}.label_agreement:LabelAgreement",
        "Do generated images have the labels that were asked for",
        "arXiv:1807.09499",
    )
    yield Component("modes", f"{_METRICS}.modes:Modes", "Modes of the data that are covered", "arXiv:1705.07761")
    yield Component("cas", f"{_METRICS}.cas:ClassificationAccuracy", "Classification accuracy score", "arXiv:1905.10887")
    yield Component("accuracy", f"{_METRICS}.accuracy:TestAccuracy", "A trained classifier's accuracy")
    yield Component("head-accuracy", f"{_METRICS}.accuracy:HeadAccuracy", "Accuracy of a class head of the discriminator")
    yield Component(
        "robust-accuracy",
        f"{_METRICS}.robust_accuracy:RobustAccuracy",
        "A classifier's accuracy under attack, and its local Lipschitz value",
        "arXiv:1706.06083",
    )


@hookimpl
def gancore_defenses() -> Iterator[Component]:
    """Yield defenses of classifiers that are attacked."""
    yield Component("bit-depth", "gancore_standard.defenses:BitDepth", "Rounds pixels to few levels", "arXiv:1704.01155")


@hookimpl
def gancore_image_formats() -> Iterator[Component]:
    """Yield what files of generated images are written as."""
    module, grid = "gancore_standard.image_files", "a grid of images, or a plot of points in the plane"
    yield Component("png", f"{module}:save_png", f"PNG: {grid}")
    for name in ("jpg", "jpeg"):
        yield Component(name, f"{module}:save_jpeg", f"JPEG: {grid}")
    yield Component("webp", f"{module}:save_webp", f"WebP, without loss: {grid}")
    yield Component("npz", f"{module}:save_arrays", "Arrays of images and labels, as ADM's samples", "arXiv:2105.05233")


@hookimpl
def gancore_commands() -> Iterator[Component]:
    """Yield what attacks a classifier, converts weights, and shows what is installed and writes more of it."""
    first, held, parts = "Recipes and training", "What a run holds", "Parts and plugins"
    attack, explain = "gancore_standard.commands:attack", "gancore_standard.commands:explain"
    yield Component("attack", attack, "Robust accuracy of a run's classifier under an attack", group=held)
    yield Component(
        "convert", "gancore_standard.conversion:convert", "Convert weights of torch.save to safetensors", group=parts
    )
    new_recipe = "gancore_standard.new_recipe:new_recipe"
    yield Component("new-recipe", new_recipe, "Look at a folder of images, and write a recipe for it", group=first)
    yield Component("explain", explain, "Print a recipe's plan, without training it", group=first)
    yield Component("show", "gancore_standard.show:show", "Show a component or a recipe, by its full or bare NAME", group=parts)
    yield Component(
        "new-plugin", "gancore_standard.new_plugin:new_plugin", "Write a working plugin with a test, to start from", group=parts
    )


@hookimpl
def gancore_doctor() -> Iterator[str]:
    """Yield what is here of what the components need."""
    from gancore_standard.doctor import diagnosis

    yield from diagnosis()


@hookimpl
def gancore_optimizers() -> Iterator[Component]:
    """Yield optimizers with the settings of GANs."""
    module = "gancore_standard.optimizers"
    yield Component("adam", f"{module}:adam", "Adam with DCGAN's rate and betas, fused", "arXiv:1412.6980")
    yield Component("sgd", f"{module}:sgd", "Gradient descent with momentum, fused")
    yield Component("rmsprop", f"{module}:rmsprop", "RMSprop with the rate of the first WGAN", "arXiv:1701.07875")


@hookimpl
def gancore_schedules() -> Iterator[Component]:
    """Yield schedules."""
    module = "gancore_standard.schedules"
    yield Component("constant", f"{module}:constant", "No change")
    yield Component("linear", f"{module}:linear", "A linear fall to 0 at the end", "arXiv:1802.05957")
    yield Component("exponential", f"{module}:exponential", "An exponential fall", "arXiv:2008.03364")
    yield Component("cosine", f"{module}:cosine", "Half a cosine, after a rise", "arXiv:1608.03983")
    yield Component("steps", f"{module}:steps", "A fall in steps, after a rise", "arXiv:1906.07413")


@hookimpl
def gancore_recipes() -> Iterator[Path]:
    """Yield the folder of recipes."""
    yield Path(__file__).with_name("recipes")
