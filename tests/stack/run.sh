#!/usr/bin/env bash
# The stack of docker-compose.yml on a real Docker engine: it builds, comes up healthy, is scraped, is warm again after
# a kill, and stops in order.
#
#   tests/stack/run.sh [FOLDER]
#
# FOLDER keeps what stand-ins for images are made from (see images.sh). Ports are free ones; containers, volumes and
# network go when this ends. Grafana comes up where its image can be had. Needs root, docker and docker-compose.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-$(mktemp -d)}
tests/stack/images.sh "$folder"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
export VOLT_PORT VOLT_METRICS_PORT PROMETHEUS_PORT GRAFANA_PORT COMPOSE_PROJECT_NAME="volt-test-$$"
VOLT_PORT=$(free_port) VOLT_METRICS_PORT=$(free_port) PROMETHEUS_PORT=$(free_port) GRAFANA_PORT=$(free_port)
if docker compose version > /dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
trap '"${compose[@]}" --profile load down -v --timeout 5 > /dev/null 2>&1 || true' EXIT

services=(volt prometheus)
grafana=$(sed -n 's/^ *image: \(grafana\/grafana:.*\)/\1/p' docker-compose.yml)
if docker image inspect "$grafana" > /dev/null 2>&1; then services+=(grafana); else echo "without Grafana: no image of it"; fi

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
  local limit_s=$1 what=$2 began=$SECONDS
  shift 2
  until "$@" > /dev/null 2>&1; do
    if [ $((SECONDS - began)) -ge "$limit_s" ]; then
      echo "not within $limit_s s: $what"
      "${compose[@]}" ps
      "${compose[@]}" logs --tail 20
      exit 1
    fi
    sleep 0.2
  done
  echo "ok: $what"
}
id_of() { "${compose[@]}" ps -q "$1"; }
is() { [ "$(docker inspect -f "$2" "$(id_of "$1")")" = "$3" ] || { echo "$1: $2 is not $3"; exit 1; }; }
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$(id_of "$1")")" = healthy ]; }
# ask LINE...: what Volt replies.
ask() { printf '%s\r\n' "$@" quit | timeout 5 nc -q 5 127.0.0.1 "$VOLT_PORT"; }
# value QUERY: what Prometheus has, as a whole number.
value() {
  curl -sfG "http://127.0.0.1:$PROMETHEUS_PORT/api/v1/query" --data-urlencode "query=$1" \
    | python3 -c 'import json, sys; print(int(float(json.load(sys.stdin)["data"]["result"][0]["value"][1])))'
}
has_value() { [ "$(value "$1")" = "$2" ]; }

"${compose[@]}" --profile load config -q
"${compose[@]}" build --quiet volt
docker run --rm volt:0.1.0 -V | grep -q '^Volt '
"${compose[@]}" up -d "${services[@]}"
for service in "${services[@]}"; do
  wait_for 90 "$service is healthy" healthy "$service"
  is "$service" '{{.HostConfig.ReadonlyRootfs}}' true
  is "$service" '{{.HostConfig.CapDrop}}' '[ALL]'
  user=$(docker inspect -f '{{.Config.User}}' "$(id_of "$service")")
  case $user in 0* | root* | '') echo "$service runs as root"; exit 1 ;; esac
done

[ "$(ask 'set greeting 0 0 5' hello 'get greeting' | tr -d '\r' | head -2 | tail -1)" = 'VALUE greeting 0 5' ]
wait_for 30 'Prometheus scrapes Volt' has_value 'up{job="volt"}' 1
wait_for 30 'what was stored is counted' has_value 'memcached_items_total{job="volt"}' 1
[ "$(value 'count(ALERTS{alertstate="firing", severity!="info"}) or vector(0)')" = 0 ]
[ "$(curl -sf "http://127.0.0.1:$VOLT_METRICS_PORT/readyz")" = ready ]

image=$(sed -n 's/^ *image: \(redislabs\/memtier_benchmark:.*\)/\1/p' docker-compose.yml)
if docker image inspect "$image" > /dev/null 2>&1; then
  "${compose[@]}" --profile load up -d load
  wait_for 60 'the load generator is served' bash -c '[ "$('"$(declare -f value)"'; value "sum(rate(volt_command_duration_seconds_count[15s]))")" -gt 100 ]'
fi

volt=$(id_of volt)
tests/stack/warm.py "$VOLT_PORT" "$volt"
wait_for 60 'Volt is healthy again' healthy volt
wait_for 30 'Prometheus sees what came back' has_value 'volt_persist_recovered_items{job="volt"} > bool 1000' 1
wait_for 30 'its copy on disk is in order' has_value 'volt_persist_state{job="volt", state="ok"}' 1
if docker image inspect "$image" > /dev/null 2>&1; then "${compose[@]}" --profile load stop --timeout 2 load; fi

began=$SECONDS
"${compose[@]}" stop volt
is_stopped=$(docker inspect -f '{{.State.ExitCode}}' "$volt")
[ "$is_stopped" = 0 ] || { echo "volt ended with $is_stopped"; exit 1; }
[ $((SECONDS - began)) -lt 20 ] || { echo "volt took $((SECONDS - began)) s to stop"; exit 1; }
wait_for 30 'Prometheus sees it go' has_value 'up{job="volt"}' 0
echo 'the stack works'
