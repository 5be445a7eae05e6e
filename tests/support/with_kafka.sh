#!/usr/bin/env bash
# Runs a command beside a real one-node Kafka broker (KRaft, no container), and removes it afterwards.
#
#   with_kafka.sh COMMAND [ARG]...   the command sees MILLRACE_TEST_BROKERS=127.0.0.1:PORT
#   with_kafka.sh --fetch-only       only fills the cache
#
# The jars come by Maven into MILLRACE_KAFKA_HOME (default ~/.cache/millrace/kafka-VERSION) and stay.
# MILLRACE_KAFKA_VERSION picks another broker (default 3.9.1); MILLRACE_KAFKA_SETTINGS adds lines to
# its configuration. For tests that stop the broker: the command also sees MILLRACE_KAFKA_PIDFILE, a file
# with the broker's process id, and MILLRACE_KAFKA_START, the command that starts the same broker again.
set -euo pipefail

version=${MILLRACE_KAFKA_VERSION:-3.9.1}
home=${MILLRACE_KAFKA_HOME:-$HOME/.cache/millrace/kafka-$version}

die() { echo "with_kafka: $*" >&2; exit 1; }

fetch() {
  [ -e "$home/.complete" ] && return
  command -v mvn >/dev/null || die "needs maven and a JDK: apt-get install maven openjdk-17-jre-headless"
  mkdir -p "$home"
  exec 9>"$home/.lock"
  flock 9
  if [ ! -e "$home/.complete" ]; then
    cat >"$home/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId><artifactId>test-broker</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
    (cd "$home" && mvn -q -B -Dstyle.color=never dependency:copy-dependencies -DoutputDirectory=libs 9>&-) >&2 ||
      die "Maven could not fetch Kafka $version"
    touch "$home/.complete"
  fi
  flock -u 9
  exec 9>&-
}

# Sets the variable to a port that is ours for as long as this shell or the broker lives, also while the broker
# is stopped: support/children.py says how.
lease_port() {
  local leases=${MILLRACE_CACHE:-$HOME/.cache/millrace}/ports candidate lease
  mkdir -p "$leases"
  while :; do
    candidate=$((20000 + RANDOM % 12000))
    exec {lease}>>"$leases/$candidate"
    flock -n "$lease" && ! answers "$candidate" && break
    exec {lease}>&-
  done
  printf -v "$1" %s "$candidate"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

fetch
[ "${1:-}" = --fetch-only ] && exit 0
[ $# -gt 0 ] || die "usage: with_kafka.sh COMMAND [ARG]... | --fetch-only"

work=$(mktemp -d "${TMPDIR:-/tmp}/millrace-kafka.XXXXXX")
pidfile=$work/pid
child=
clean() {
  local status=$?
  trap - EXIT INT TERM HUP
  [ -n "$child" ] && kill "$child" 2>/dev/null || true
  [ -s "$pidfile" ] && kill -9 "$(cat "$pidfile")" 2>/dev/null || true
  [ "$status" -ne 0 ] && [ -n "${MILLRACE_KAFKA_VERBOSE:-}" ] && tail -50 "$work/broker.log" >&2
  rm -rf "$work"
  exit "$status"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

lease_port port
lease_port control_port
cat >"$work/broker.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$control_port
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$control_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$work/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.retention.check.interval.ms=2000
log.initial.task.delay.ms=1000
socket.request.max.bytes=209715200
log.index.size.max.bytes=262144
${MILLRACE_KAFKA_SETTINGS:-}
CONF

# A second start finds the folder formatted and the process id replaced.
cat >"$work/start" <<START
#!/bin/sh
cd "$work"
kafka() { exec java -cp '$home/libs/*' -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Djava.io.tmpdir=. "\$@"; }
[ -e data ] || (kafka -Xmx128m kafka.tools.StorageTool format -t "\$(kafka -Xmx128m kafka.tools.StorageTool random-uuid)" \
  -c broker.properties) >>broker.log 2>&1 || exit 1
kafka -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=4 kafka.Kafka broker.properties >>broker.log 2>&1 &
echo \$! >"$pidfile"
START
chmod +x "$work/start"
export MILLRACE_KAFKA_START="$work/start" MILLRACE_KAFKA_PIDFILE="$pidfile"

"$work/start" || { tail -20 "$work/broker.log" >&2; die "could not format the broker's folder"; }
for _ in $(seq 1800); do
  answers "$port" && break
  kill -0 "$(cat "$pidfile")" 2>/dev/null || { tail -20 "$work/broker.log" >&2; die "the broker ended at its start"; }
  sleep 0.1
done
answers "$port" || die "the broker does not answer after 180 s"

export MILLRACE_TEST_BROKERS="127.0.0.1:$port"
"$@" &
child=$!
status=0
wait "$child" || status=$?
child=
exit "$status"
