#!/usr/bin/env bash
# Tries the wheel in dist/ in a fresh virtual environment, as who installs it does. Usage: .ci/wheel.sh FOLDER, for the
# environment and what is tried in it.
set -euo pipefail
work=$1
cd "$(dirname "$0")/.."

python3 -m venv "$work/wheel"
"$work/wheel/bin/pip" install --quiet dist/*.whl
# Others put a folder `tools` beside it: what counts is what our own record says.
record=$("$work/wheel/bin/python" -I -c "from importlib.metadata import files; print(*files('switch-tf'), sep='\n')")
if grep -E '^(export|tools|tests)/' <<<"$record"; then
    echo "The wheel puts these into site-packages, beside switch_tf." >&2
    exit 1
fi
.ci/smoke.sh "$work/wheel/bin" "$work/wheel-smoke"
