#!/bin/bash
# Starts a throwaway Postgres with logical replication, runs a command with its address, and stops it.
#
#   with_postgres.sh [-n NAME]... [-c setting=value]... [--] command [argument]...
#
# Each -n NAME starts one more cluster and exports MILLRACE_<NAME>_DSN; without -n there is one, and its
# address is MILLRACE_TEST_DSN. Every DSN is a superuser's, over loopback TCP without a password; the
# data folder is in MILLRACE_TEST_DATA (MILLRACE_<NAME>_DATA), the socket folder is the data folder.
# MILLRACE_PG_BIN names another server's bin folder. fsync is off: a crash test of the server itself
# must turn it on with -c fsync=on. Ends with the command's exit code; data is gone afterwards.
set -euo pipefail

names=()
settings=()
while [[ $# -gt 0 ]]; do
  case $1 in
    -n) names+=("$2"); shift 2 ;;
    -c) settings+=(-c "$2"); shift 2 ;;
    --) shift; break ;;
    -*) echo "with_postgres.sh: unknown option $1" >&2; exit 2 ;;
    *) break ;;
  esac
done
[[ $# -gt 0 ]] || { echo "usage: with_postgres.sh [-n NAME]... [-c setting=value]... command" >&2; exit 2; }
[[ ${#names[@]} -gt 0 ]] || names=(TEST)

bin=${MILLRACE_PG_BIN:-}
if [[ -z $bin ]]; then
  bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1 || true)
  [[ -n $bin ]] || bin=$(dirname "$(command -v postgres || echo /nowhere/postgres)")
fi
[[ -x $bin/initdb ]] || { echo "with_postgres.sh: no Postgres server found (looked in $bin)" >&2; exit 2; }

# Postgres refuses to run as root.
as_owner() { "$@"; }
if [[ $(id -u) == 0 ]]; then
  as_owner() { runuser -u postgres -- "$@"; }
fi

root=$(mktemp -d "${TMPDIR:-/tmp}/millrace_pg.XXXXXX")
chmod 755 "$root"
[[ $(id -u) != 0 ]] || chown postgres "$root"
started=()

stop_all() {
  local data
  for data in "${started[@]:-}"; do
    [[ -z $data ]] || as_owner "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || true
  done
  rm -rf "$root"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Sets port to one that is ours for as long as this shell lives: support/children.py says how.
lease_port() {
  local leases=${MILLRACE_CACHE:-$HOME/.cache/millrace}/ports lease
  mkdir -p "$leases"
  while :; do
    port=$((20000 + RANDOM % 12000))
    exec {lease}>>"$leases/$port"
    flock -n "$lease" && ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    exec {lease}>&-
  done
}

start() {
  local name=$1 data=$root/$1 port attempt
  as_owner "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$root/$name.initdb" 2>&1 ||
    { cat "$root/$name.initdb" >&2; exit 1; }
  for attempt in 1 2 3 4 5; do
    lease_port
    if as_owner "$bin/pg_ctl" -D "$data" -l "$data/server.log" -w -t 180 \
      -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$data" \
      -o "-c wal_level=logical -c max_replication_slots=20 -c max_wal_senders=20 -c fsync=off" \
      -o "-c max_prepared_transactions=10 -c shared_buffers=64MB -c max_wal_size=512MB" \
      -o "-c log_min_messages=warning $(printf '%s ' "${settings[@]:-}")" start >/dev/null 2>&1; then
      started+=("$data")
      export "MILLRACE_${name}_DSN=host=127.0.0.1 port=$port user=postgres dbname=postgres"
      export "MILLRACE_${name}_DATA=$data"
      return 0
    fi
  done
  echo "with_postgres.sh: the server did not start" >&2
  cat "$data/server.log" >&2
  exit 1
}

for name in "${names[@]}"; do start "$name"; done
export MILLRACE_PG_BIN=$bin

"$@" &
child=$!
trap 'kill -TERM $child 2>/dev/null; wait $child || true; exit 143' TERM
trap 'kill -INT $child 2>/dev/null; wait $child || true; exit 130' INT
status=0
wait $child || status=$?
exit $status
