#!/usr/bin/env bash
# Builds what is released into dist/ and tries it: the wheel, the same from the source distribution, and the wheel in a
# fresh virtual environment. Usage: .ci/package.sh FOLDER, for virtual environments and what is tried in them.
set -euo pipefail
work=$1
cd "$(dirname "$0")/.."

rm -rf build dist
python3 -m venv "$work/build"
"$work/build/bin/pip" install --quiet build
"$work/build/bin/python" -m build --outdir dist >"$work/build.log" || { cat "$work/build.log" && exit 1; } # from the sdist
"$work/build/bin/python" -m build --wheel --outdir "$work/tree" >"$work/build.log" || { cat "$work/build.log" && exit 1; }
"$work/build/bin/python" tools/compare_wheels.py dist/*.whl "$work"/tree/*.whl

python3 -m venv "$work/wheel"
"$work/wheel/bin/pip" install --quiet dist/*.whl
# Others put a folder `tools` beside it: what counts is what our own record says.
record=$("$work/wheel/bin/python" -I -c "from importlib.metadata import files; print(*files('switch-tf'), sep='\n')")
if grep -E '^(export|tools|tests)/' <<<"$record"; then
    echo "The wheel puts these into site-packages, beside switch_tf." >&2
    exit 1
fi
.ci/smoke.sh "$work/wheel/bin" "$work/wheel-smoke"
