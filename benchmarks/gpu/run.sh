#!/usr/bin/env bash
# What only a GPU can show, in stages of less than nine minutes each, which need neither each other nor a network.
#
#   make wheels                                # once, before, where there is a network
#   benchmarks/gpu/run.sh STAGE [FOLDER]       # tests, rates, balance, ablation, semi, or all
#
# Tables and logs go to FOLDER (runs/gpu), one STAGE.log each; trainings that a stage cut short are gone on with when it is run
# again. GANCORE_DATA names the folder of CIFAR-10 and MNIST.
#
#   PYTHON=python3                 the Python to use: torch, torchvision and what the distributions depend on are installed there
#   GPU_MINUTES=8                  how long the stages train that only time ends
#   GPU_ANNOTATOR=FILE             safetensors of a CIFAR-10 ResNet-32 of public weights, as annotator; trained first if not said
#   GPU_DRY=1                      the same on a CPU, small and short, to see that every command runs
set -euo pipefail
cd "$(dirname "$0")/../.."

stage=${1:?say which stage: tests, rates, balance, ablation, semi, or all}
out=${2:-runs/gpu}
minutes=${GPU_MINUTES:-8}
dry=${GPU_DRY:-}
python=${PYTHON:-python3}
mkdir -p "$out"
out=$(cd "$out" && pwd)
export GANCORE_CACHE=${GANCORE_CACHE:-$out/cache} OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} PYTHONUNBUFFERED=1

# The distributions, from their wheels alone, beside the Python that holds torch and not in it.
site=$PWD/build/gpu
if [ -z "${GPU_INSTALLED:-}" ]; then
    rm -rf "$site"
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$site" build/wheels/*.whl
    export GPU_INSTALLED=1
fi
export PYTHONPATH="$site:$PWD${PYTHONPATH:+:$PYTHONPATH}"
device=$([ -n "$dry" ] && echo cpu || echo cuda)

gancore() { "$python" -P -m gancore "$@"; }

# train NAME RECIPE OPTION...: trains a recipe into FOLDER/NAME, from where it stands, until it ends or its time is up. A signal
# makes gancore save; that is no failure.
train() {
    local name=$1 resume=()
    shift
    [ ! -d "$out/$name" ] || resume=(--resume)
    local code=0
    timeout --signal=TERM "${minutes}m" "$python" -P -m gancore train "$@" --out "$out/$name" --device "$device" "${resume[@]}" \
        > >(tee -a "$out/$name.log") 2>&1 || code=$?
    [ "$code" -eq 0 ] || [ "$code" -eq 124 ] || { echo "$name: exit status $code"; return "$code"; }
}

# together: waits for what runs in the background, and fails if one of them did.
together() {
    local failed=0 job
    for job in $(jobs -p); do wait "$job" || failed=1; done
    return "$failed"
}

stage_tests() {
    # The tests that need a GPU say so; the rest of the suite computes on one where a recipe leaves the device to gancore.
    local tests=("$python" -m pytest -q -p no:cacheprovider)
    if [ -n "$dry" ]; then
        "${tests[@]}" --collect-only -k gpu plugins/profile/tests/test_cuda_graphs.py
    else
        "${tests[@]}" -rs plugins/profile/tests/test_cuda_graphs.py
        "${tests[@]}" --numprocesses "${GPU_TESTERS:-8}" --dist loadfile tests plugins --ignore tests/test_distributions.py \
            --ignore tests/test_house.py
    fi
}

stage_rates() {
    if [ -n "$dry" ]; then
        "$python" -P -m benchmarks.full_length --device cpu --width 0.05 --iterations 1 --out "$out/full_length.json"
        "$python" -P -m benchmarks.peers --device cpu --width 0.05 --batch 4 --iterations 1 --threads 1 --out "$out/peers.json"
    else
        "$python" -P -m benchmarks.full_length --device cuda --iterations 100 --out "$out/full_length.json"
        "$python" -P -m benchmarks.peers --device cuda --iterations 100 --out "$out/peers.json"
        "$python" -P -m benchmarks.full_length --device cuda --compiled --iterations 100 --out "$out/full_length-compiled.json"
    fi
}

graphs=(--set 'run.accelerate=["profile/cuda-graphs"]' --set run.precision=bfloat16)

# annotator NETWORK: the settings by which a network of a recipe is the one of public weights, where they are at hand.
annotator() {
    [ -z "${GPU_ANNOTATOR:-}" ] || printf '%s\n' --set "networks.$1.use=standard/resnet32" \
        --set "networks.$1.weights=$GPU_ANNOTATOR" \
        --set "networks.$1.input_mean=[0.485,0.456,0.406]" --set "networks.$1.input_std=[0.229,0.224,0.225]"
}

stage_balance() {
    # CBGAN's CIFAR-10 experiment at ratio 100 and its baseline, at the paper's setting, side by side for as long as it lasts.
    local method options=()
    if [ -n "$dry" ]; then
        train baseline cbgan/digits-lt-baseline --set run.iterations=4 --set evaluation.samples=50 &
        train cbgan cbgan/digits-lt --set run.iterations=4 --set evaluation.samples=50 &
        together
    else
        mapfile -t options < <(annotator annotator)
        # The classifier in the loop first, by CUDA graphs too; as a prerequisite it would be trained without.
        train classifier cbgan/cifar10-classifier-100 "${graphs[@]}" --set run.evaluate_every=0
        options+=(--set networks.classifier.use=standard/resnet32)
        options+=(--set "networks.classifier.weights=$out/classifier/weights/classifier.safetensors")
        train cbgan cbgan/cifar10-100 "${options[@]}" "${graphs[@]}" --set run.evaluate_every=10000 &
        train baseline cbgan/cifar10-100-sndcgan "${options[@]}" "${graphs[@]}" --set run.evaluate_every=10000 &
        together
        for method in cbgan baseline; do
            gancore evaluate "$out/$method" --device cuda --set metrics.cas.use=standard/cas \
                --set metrics.cas.network=classifier --set metrics.cas.classifier_iterations=2000 > "$out/$method-cas.log" 2>&1 &
        done
        together
    fi
    gancore compare "$out/baseline" "$out/cbgan"
}

stage_ablation() {
    # Fast-RobGAN's ablation (Table 5.1), three at once.
    local options=() name base=fastrobgan/cifar10
    if [ -n "$dry" ]; then
        base=fastrobgan/digits-small
        options=(--set run.iterations=2 --set evaluation.samples=50)
    else
        mapfile -t options < <(annotator inception)
        # The recipe's Inception would be downloaded.
        [ -n "${GPU_ANNOTATOR:-}" ] || options=(--set networks.inception.use=standard/small-cnn
            --set networks.inception.trained_by=fastrobgan/cifar10-small-annotator)
        options+=("${graphs[@]}" --set evaluation.samples=10000)
    fi
    train ablation-full "$base" "${options[@]}" &
    for name in no-anneal robgan-loss; do
        train "ablation-$name" "$base" --with "fastrobgan/$name" "${options[@]}" &
    done
    together
    gancore compare "$out"/ablation-{full,no-anneal,robgan-loss}
}

stage_semi() {
    # DSGAN's semi-supervised MNIST, the paper's 600,000 iterations as far as they get.
    local options=("${graphs[@]}")
    if [ -n "$dry" ]; then
        options=(--set run.iterations=2 --set run.log_every=1 --set run.precision=float32)
        if [ ! -d "${GANCORE_DATA:-}/mnist" ]; then
            echo "GANCORE_DATA has no MNIST, so this stage is left out"
            return
        fi
    fi
    train semi dsgan/mnist-semi "${options[@]}"
    tail -n 1 "$out/semi/log.jsonl"
}

case $stage in
tests | rates | balance | ablation | semi) "stage_$stage" 2>&1 | tee "$out/$stage.log" ;;
all) for one in tests rates balance ablation semi; do "$0" "$one" "$out"; done ;;
*)
    echo "there is no stage $stage; say tests, rates, balance, ablation, semi, or all" >&2
    exit 2
    ;;
esac
