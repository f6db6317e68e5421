#!/usr/bin/env bash
# Builds what is released into dist/: the source distribution, and the wheel from it, which has to be the one that the
# tree gives. Usage: .ci/package.sh FOLDER, for a virtual environment and what is compared.
set -euo pipefail
work=$1
cd "$(dirname "$0")/.."

rm -rf build dist
python3 -m venv "$work/build"
"$work/build/bin/pip" install --quiet build
"$work/build/bin/python" -m build --outdir dist >"$work/build.log" || { cat "$work/build.log" && exit 1; } # from the sdist
"$work/build/bin/python" -m build --wheel --outdir "$work/tree" >"$work/build.log" || { cat "$work/build.log" && exit 1; }
"$work/build/bin/python" tools/compare_wheels.py dist/*.whl "$work"/tree/*.whl
