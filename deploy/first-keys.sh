#!/bin/sh
# Migrates the database, and creates the two keys that the cluster needs: that of the web chat, which
# acts for all people, and that of Prometheus, which may read /metrics and nothing else.
set -eu
umask 077
keys=${KEYS:-/keys}

antiphon migrate

make_key() {
    [ -s "$keys/$1" ] && return
    antiphon keys create "$1" --scope "$2" >"$keys/$1.new"
    mv "$keys/$1.new" "$keys/$1"
}

make_key web admin
make_key prometheus metrics
# Prometheus runs as another user.
chmod 644 "$keys/prometheus"
