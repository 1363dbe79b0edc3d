#!/bin/sh
# Fetches an old nats-server for the tests of old hubs, and prints its path: fetch-old-nats-server.sh 2.9 (Debian bookworm
# has 2.9.10) or 2.10 (Debian trixie has 2.10.27). Looks at $MANGROVE_NATS_SERVER_2_9 or _2_10, then in .cache/; else takes
# the binary out of Debian's package, without root and without touching the system's own package lists. Concurrent runs
# wait for one another. Everything else it has to say goes to stderr.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${MANGROVE_CACHE:-$root/.cache}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# The mirror that this machine's own apt uses, unless told otherwise.
mirror=${MANGROVE_DEBIAN_MIRROR:-$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
  grep -v '^ *#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ' || true)}

case ${1:-} in
2.9) suite=bookworm named=${MANGROVE_NATS_SERVER_2_9:-} ;;
2.10) suite=trixie named=${MANGROVE_NATS_SERVER_2_10:-} ;;
*)
  echo "usage: $0 2.9|2.10" >&2
  exit 2
  ;;
esac
version=$1
variable=MANGROVE_NATS_SERVER_$(echo "$version" | tr . _)
binary=$cache/nats-server-$version

fail() {
  printf 'fetch-old-nats-server: %s\n' "$1" >&2
  printf 'Get a nats-server %s from https://github.com/nats-io/nats-server/releases, and set %s to its path.\n' "$version" "$variable" >&2
  exit 1
}

# Whether $1 is a nats-server of the wanted version that runs here.
fits() {
  [ -x "$1" ] || return 1
  case $("$1" --version 2>/dev/null) in
  "nats-server: v$version."* | "nats-server: $version."*) return 0 ;;
  *) return 1 ;;
  esac
}

if [ -n "$named" ]; then
  fits "$named" || fail "$variable=$named is not a nats-server $version"
  echo "$named"
  exit 0
fi
for found in "$binary" /usr/sbin/nats-server; do
  if fits "$found"; then
    echo "$found"
    exit 0
  fi
done

[ -r "$keyring" ] || fail "there is no $keyring to fetch one from Debian with"
for tool in apt-get dpkg dpkg-deb flock; do
  command -v "$tool" >/dev/null 2>&1 || fail "there is no $tool to fetch one from Debian with"
done
[ -n "$mirror" ] || fail "apt names no mirror of Debian here; set MANGROVE_DEBIAN_MIRROR to one"

mkdir -p "$cache"
exec 9>"$binary.lock"
flock -w 300 9 || fail "another run has been holding $binary.lock for 5 minutes"
if fits "$binary"; then
  echo "$binary"
  exit 0
fi

work=$(mktemp -d "$binary.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/deb"
echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"
apt() {
  # Debian's apt drops to a user that may not read our directory: fetch as ourselves.
  apt-get -q -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" \
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
    -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User="$(id -un)" "$@" >&2
}
echo "fetch-old-nats-server: fetching nats-server $version from Debian $suite ($(dpkg --print-architecture))" >&2
apt update || fail "apt-get update of Debian $suite failed: no network?"
(cd "$work/deb" && apt download nats-server) || fail "apt-get download nats-server failed"
deb=$(find "$work/deb" -name 'nats-server_*.deb' | head -n 1)
[ -n "$deb" ] || fail "apt-get brought no nats-server package"
dpkg-deb -x "$deb" "$work/x"
fits "$work/x/usr/sbin/nats-server" || fail "the nats-server of Debian $suite does not run here, or is not $version"
mv -f "$work/x/usr/sbin/nats-server" "$binary"
echo "$binary"
