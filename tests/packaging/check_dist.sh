#!/bin/sh
# sdist -> wheel -> a fresh environment -> does it work, without this checkout in sight? Argument: a Python with `build`.
set -eu
python=$1
here=$(cd "$(dirname "$0")" && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

"$python" -m build --quiet --outdir "$out/dist" .          # the wheel is built from the unpacked sdist
ls "$out"/dist/*cp311-abi3*.whl >/dev/null || { echo "the wheel is not abi3: $(ls "$out/dist")"; exit 1; }
"$python" -m venv --without-pip "$out/venv"
"$python" -m pip --python "$out/venv/bin/python" install --quiet --disable-pip-version-check --no-compile "$out"/dist/*.whl
cd "$out"
"$out/venv/bin/python" -I "$here/smoke.py"
"$out/venv/bin/bayestuner" --help >/dev/null
echo "sdist -> wheel -> fresh environment: works"
