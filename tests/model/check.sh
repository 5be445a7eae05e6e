#!/usr/bin/env bash
# Checks a Promela model of docs/model by Spin, exhaustively.
#
#   check.sh holds MODEL [-DFLAG...]            passes when the whole state space has no error
#   check.sh finds ASSERTION MODEL [-DFLAG...]  passes when an assertion that holds this text is violated
#
# Anything else fails: an error of spin or gcc, a search that was cut short, memory over 4 GB.
set -euo pipefail
expected=$1
shift
assertion=
if [ "$expected" = finds ]; then
  assertion=$1
  shift
fi
model=$1
shift
depth_max=20000

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here"/../../docs/model/*.pml "$work"
cd "$work"
spin -a "$@" "$model.pml"
optimize=-O0
[ "$expected" = finds ] || optimize=-O2
gcc $optimize -w -DSAFETY -o pan pan.c
ulimit -v 4194304
./pan -m$depth_max -n > out 2>&1 || true

give_up() {
  echo "check.sh: $model $*" >&2
  cat out >&2
  [ ! -f "$model.pml.trail" ] || spin -t -p "${flags[@]}" "$model.pml" | tail -n 120 >&2
  exit 1
}
flags=("$@")

grep -E '^(pan:|State-vector)|states, stored|total actual memory|elapsed' out || true
if [ "$expected" = holds ]; then
  grep -q 'errors: 0$' out || give_up "does not hold"
  ! grep -qE 'max search depth too small|out of memory|Search not completed|VECTORSZ' out ||
    give_up "was not searched to its end"
else
  grep -q 'errors: 1$' out || give_up "${flags[*]}: nothing was found"
  grep -E '^pan:1: assertion violated' out | grep -qF -- "$assertion" ||
    give_up "${flags[*]}: found something else than $assertion"
fi
