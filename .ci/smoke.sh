#!/usr/bin/env bash
# What a user does first, with an installed package and nothing of this repository: train a tiny classifier on the
# built-in reviews, export every format, ask each, prove them again. Usage: .ci/smoke.sh BIN FOLDER
set -euo pipefail
bin=$1
mkdir -p "$2"
cd "$2"

"$bin/switch-tf" --help | head -n 3
settings=(text.vocabulary_size=500 text.sequence_length=16 model.d_model=8 model.d_ff=16 model.num_heads=2
    model.num_experts=2 train.epochs=1 train.batch_size=256)
"$bin/switch-tf" train --output run "${settings[@]/#/--set=}"
"$bin/switch-tf" export run --format all
"$bin/switch-tf" export run --format onnx --quantize float16
for model in run run/export/saved_model run/export/model.onnx run/export/model.tflite; do
    "$bin/switch-tf" predict "$model" --json "A warm, funny and beautifully acted film."
done
"$bin/switch-tf" verify run --texts 50
