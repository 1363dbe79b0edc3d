#!/bin/sh
# Finds a nats-server of at least 2.15 or fetches one, and prints its path. Looks at $MANGROVE_NATS_SERVER, then at PATH,
# then in .cache/; else takes the static binary out of Debian forky's package, without root and without touching the
# system's own package lists. Concurrent runs wait for one another. Everything else it has to say goes to stderr.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${MANGROVE_CACHE:-$root/.cache}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
# The mirror that this machine's own apt uses, unless told otherwise.
mirror=${MANGROVE_DEBIAN_MIRROR:-$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.sources /etc/apt/sources.list.d/*.list 2>/dev/null |
  grep -v '^ *#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ' || true)}

fail() {
  printf 'fetch-nats-server: %s\n' "$1" >&2
  printf 'Install nats-server 2.15 or later from https://github.com/nats-io/nats-server/releases, or set MANGROVE_NATS_SERVER to its path.\n' >&2
  exit 1
}

# Whether $1 is a nats-server of at least 2.15 that runs here.
fits() {
  [ -x "$1" ] || return 1
  version=$("$1" --version 2>/dev/null | sed -n 's/^nats-server: v\([0-9][0-9]*\)\.\([0-9][0-9]*\).*/\1 \2/p')
  [ -n "$version" ] || return 1
  major=${version% *}
  minor=${version#* }
  [ "$major" -gt 2 ] || { [ "$major" -eq 2 ] && [ "$minor" -ge 15 ]; }
}

if [ -n "${MANGROVE_NATS_SERVER:-}" ]; then
  fits "$MANGROVE_NATS_SERVER" || fail "MANGROVE_NATS_SERVER=$MANGROVE_NATS_SERVER is not a nats-server of at least 2.15"
  echo "$MANGROVE_NATS_SERVER"
  exit 0
fi
for found in "$(command -v nats-server 2>/dev/null || true)" /usr/sbin/nats-server "$cache/nats-server"; do
  if [ -n "$found" ] && fits "$found"; then
    echo "$found"
    exit 0
  fi
done

[ -r "$keyring" ] || fail "there is no nats-server here, and no $keyring to fetch one from Debian with"
for tool in apt-get dpkg dpkg-deb flock; do
  command -v "$tool" >/dev/null 2>&1 || fail "there is no nats-server here, and no $tool to fetch one from Debian with"
done

[ -n "$mirror" ] || fail "apt names no mirror of Debian here; set MANGROVE_DEBIAN_MIRROR to one"

mkdir -p "$cache"
exec 9>"$cache/nats-server.lock"
flock -w 300 9 || fail "another run has been holding $cache/nats-server.lock for 5 minutes"
if fits "$cache/nats-server"; then
  echo "$cache/nats-server"
  exit 0
fi

work=$(mktemp -d "$cache/nats-server.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/deb"
echo "deb [signed-by=$keyring] $mirror forky main" >"$work/sources.list"
apt() {
  # Debian's apt drops to a user that may not read our directory: fetch as ourselves.
  apt-get -q -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" \
    -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
    -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User="$(id -un)" "$@" >&2
}
echo "fetch-nats-server: fetching nats-server from Debian forky ($(dpkg --print-architecture))" >&2
apt update || fail "apt-get update of Debian forky failed: no network?"
(cd "$work/deb" && apt download nats-server) || fail "apt-get download nats-server failed"
deb=$(find "$work/deb" -name 'nats-server_*.deb' | head -n 1)
[ -n "$deb" ] || fail "apt-get brought no nats-server package"
dpkg-deb -x "$deb" "$work/x"
fits "$work/x/usr/sbin/nats-server" || fail "the nats-server of Debian forky does not run here, or is older than 2.15"
mv -f "$work/x/usr/sbin/nats-server" "$cache/nats-server"
echo "$cache/nats-server"
