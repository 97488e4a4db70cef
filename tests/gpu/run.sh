#!/usr/bin/env bash
# Run all tests and benchmarks that need a CUDA GPU, within nine minutes. Their logs and tables are files of OUTPUT.
#
#     tests/gpu/run.sh OUTPUT [WHEELS]
#
# WHEELS is a folder with the packages that the machine lacks. They are installed into a temporary folder, without a
# network. Fill it on a machine that has one; Python's version is the GPU machine's:
#
#     pip wheel --no-deps -w WHEELS .
#     pip download --no-deps -d WHEELS --python-version 3.12 --only-binary=:all: trl==1.16.0 datasets ...
set -uo pipefail
output=$(realpath -m "$1"); wheels=${2:+$(realpath "$2")}
cd "$(dirname "$0")/../.."
mkdir -p "$output"
export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
python=${PYTHON:-python3}
if [ -n "$wheels" ]; then
  site=$(mktemp -d)
  "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$wheels"/*.whl || exit 1
  export PYTHONPATH=$site PATH=$site/bin:$PATH
fi

failed=0
part() {  # NAME SECONDS COMMAND...: the output is NAME.md
  local name=$1 seconds=$2 started=$SECONDS; shift 2
  timeout "$seconds" "$@" >"$output/$name.md" 2>"$output/$name.log"
  local status=$?
  [ $status = 0 ] || failed=1
  echo "$name: exit status $status after $((SECONDS - started)) s"
}
part tests 200 "$python" -m pytest -q -n 3 -p no:cacheprovider --timeout 190 tests/gpu
part loss 100 "$python" tests/benchmarks/bench_loss_gpu.py --rounds 3
part step 240 "$python" tests/benchmarks/bench_step.py --gpu --rounds 2
exit $failed
