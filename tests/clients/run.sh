#!/usr/bin/env bash
# Real clients against a running Volt: pymemcache with its own integration suite, python-memcached, pylibmc, libmemcached's
# tools, and a client from crates.io.
#
#   tests/clients/run.sh path/to/volt
#
# Needs python3 with venv, a C compiler, libmemcached-dev and libmemcached-tools; fetches the Python clients into a
# temporary directory. Any client that cannot be had, or finds fault, fails the run.
set -euo pipefail

volt=$(realpath "$1")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
export MEMCACHED_PORT_FILENAME=$work/ports

# stop: ends the server that this run has started, and nothing else.
stop() {
  kill "$server" 2> /dev/null || true
  wait "$server" 2> /dev/null || true
  rm -rf "$work"
}

VOLT__METRICS__LISTEN=off "$volt" -u root -l 127.0.0.1 -p -1 -U 0 -m 256 2> "$work/log" &
server=$!
trap stop EXIT
for _ in $(seq 500); do
  [ -s "$work/ports" ] && break
  kill -0 "$server" || { cat "$work/log"; exit 1; }
  sleep 0.02
done
port=$(sed -n 's/^TCP INET: //p' "$work/ports")
echo "-- volt listens on port $port"

echo '-- Python: pymemcache (its own integration suite), python-memcached, pylibmc'
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check pytest pytest-cov gevent python-memcached pylibmc six faker \
  zstd
"$work/venv/bin/pip" download -q --disable-pip-version-check --no-deps --no-binary :all: -d "$work" 'pymemcache==4.0.0'
tar -xzf "$work"/pymemcache-4.0.0.tar.gz -C "$work"
# test_tls is about a server with certificates.
(cd "$work/pymemcache-4.0.0" && "$work/venv/bin/python" -m pytest pymemcache/test -q -m integration \
  -p no:cacheprovider --server 127.0.0.1 --port "$port")
"$work/venv/bin/python" "$here/python_clients.py" "$port"

echo "-- libmemcached's tools"
servers=--servers=127.0.0.1:$port
memcping "$servers"
memcstat "$servers" | grep -q curr_items
head -c 100000 /dev/urandom | base64 > "$work/file"
(cd "$work" && memccp "$servers" file)
memccat "$servers" file | cmp - <(cat "$work/file" && echo)
memcexist "$servers" file
memctouch "$servers" --expire=100 file
memcrm "$servers" file
if memcexist "$servers" file; then
  echo 'memcrm left the file'
  exit 1
fi
memcslap "$servers" --concurrency=4 --execute-number=2000 --test=get
memcslap "$servers" --concurrency=4 --execute-number=2000 --test=set
# memcached 1.6.45 itself fails these two: the tool expects `delete key 1` to be refused otherwise than it is.
memccapable -h 127.0.0.1 -p "$port" -a > "$work/capable" 2>&1 || true
grep -F '[FAIL]' "$work/capable" | sed 's/ *\[FAIL\]//' | diff - <(printf 'ascii delete\nascii delete noreply\n')
grep -q '2 of 27 tests failed' "$work/capable"
memcflush "$servers"

echo '-- Rust: memcache from crates.io'
cargo run -q --locked --manifest-path "$here/rust/Cargo.toml" --target-dir "${CARGO_TARGET_DIR:-$here/../../target}/clients" \
  -- "$port"

kill -0 "$server"
echo '-- all clients are content'
