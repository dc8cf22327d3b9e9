#!/bin/sh
# Brings the database to this version's form, and makes the two keys that the cluster itself needs:
# that of the web chat, which acts for all people, and one that opens /metrics and nothing else.
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
chmod 644 "$keys/prometheus"  # Prometheus is another user
