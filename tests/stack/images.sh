#!/usr/bin/env bash
# Stand-ins for the images that docker-compose.yml and config/Dockerfile name, for machines that cannot pull them:
# Debian's packages and this machine's Rust, under the same names.
#
#   tests/stack/images.sh FOLDER
#
# An image that is there, or can be pulled, is left alone. FOLDER is for the root file systems. Needs root,
# debootstrap and docker. Grafana is in no Debian package and has no stand-in.
set -euo pipefail
folder=$(realpath "$1")
mkdir -p "$folder"

# missing IMAGE: neither here nor to be pulled.
missing() {
  ! docker image inspect "$1" > /dev/null 2>&1 && ! timeout 20 docker pull -q "$1" > /dev/null 2>&1
}

# pack ROOT IMAGE [CHANGE...]: the image of a root file system.
pack() {
  local root=$1 image=$2 changes=()
  shift 2
  for change in "$@"; do changes+=(--change "$change"); done
  tar -C "$root" -c . | docker import "${changes[@]}" - "$image" > /dev/null
  echo "made a stand-in for $image"
}

debian="$folder/debian"
if [ ! -e "$debian/etc/debian_version" ]; then
  debootstrap --variant=minbase bookworm "$debian" > "$folder/debootstrap.log" 2>&1 \
    || { tail -5 "$folder/debootstrap.log"; exit 1; }
fi

# with PACKAGE...: a copy of the Debian with these installed; prints its path.
with() {
  local root="$folder/$1"
  if [ ! -e "$root.done" ]; then
    rm -rf "$root"
    cp -a "$debian" "$root"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -qy install --no-install-recommends "$@" > "$folder/apt.log" 2>&1 \
      || { tail -5 "$folder/apt.log" >&2; exit 1; }
    touch "$root.done"
  fi
  echo "$root"
}

image=debian:bookworm-slim
if missing $image; then pack "$debian" $image 'CMD ["bash"]'; fi

image=$(sed -n 's/^ARG RUST=//p' config/Dockerfile)
if missing "$image"; then
  root=$(with gcc libc6-dev make)
  sysroot=$(rustc --print sysroot)
  mkdir -p "$root/usr/local/rust" "$root/usr/local/cargo"
  cp -a "$sysroot/bin" "$sysroot/lib" "$root/usr/local/rust/"
  cp -a "${CARGO_HOME:-$HOME/.cargo}/registry" "$root/usr/local/cargo/"
  pack "$root" "$image" 'ENV PATH=/usr/local/rust/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin' \
    'ENV CARGO_HOME=/usr/local/cargo' 'ENV CARGO_NET_OFFLINE=true' 'CMD ["bash"]'
fi

image=$(sed -n 's/^ *image: \(prom\/prometheus:.*\)/\1/p' docker-compose.yml)
if missing "$image"; then
  root=$(with prometheus)
  mkdir -p "$root/prometheus"
  chown 65534:65534 "$root/prometheus"
  pack "$root" "$image" 'ENTRYPOINT ["prometheus"]' 'VOLUME /prometheus'
fi

# The load generator is in no Debian package either; MEMTIER names a binary of it.
image=$(sed -n 's/^ *image: \(redislabs\/memtier_benchmark:.*\)/\1/p' docker-compose.yml)
if [ -n "${MEMTIER:-}" ] && missing "$image"; then
  root=$(with libevent-2.1-7 libevent-openssl-2.1-7 libssl3)
  cp "$MEMTIER" "$root/usr/local/bin/memtier_benchmark"
  pack "$root" "$image" 'ENTRYPOINT ["memtier_benchmark"]'
fi
