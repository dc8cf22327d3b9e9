#!/bin/sh
# Builds the image for two architectures, pushes it as NAME:VERSION, and prints its name and digest:
#   deploy/push-image.sh ghcr.io/example/antiphon 0.2.0
# prints `name=ghcr.io/example/antiphon` and `digest=sha256:...`. It needs a login at the registry, and
# `docker buildx` with emulation for the architecture that is not the machine's.
set -eu
cd "$(dirname "$0")/.."
[ $# = 2 ] || { echo "usage: deploy/push-image.sh NAME VERSION" >&2; exit 2; }

described=$(mktemp)
trap 'rm -f "$described"' EXIT
docker buildx inspect antiphon >/dev/null 2>&1 || docker buildx create --name antiphon >&2
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) docker buildx build --builder antiphon \
    --file deploy/Containerfile --platform linux/amd64,linux/arm64 \
    --provenance mode=max --sbom true \
    --annotation "index:org.opencontainers.image.version=$2" \
    --annotation "index:org.opencontainers.image.licenses=Apache-2.0" \
    --annotation "index:org.opencontainers.image.source=${ANTIPHON_REPOSITORY:-}" \
    --tag "$1:$2" --metadata-file "$described" --push . >&2

digest=$(sed -n 's/.*"containerimage.digest": *"\(sha256:[0-9a-f]\{64\}\)".*/\1/p' "$described")
[ -n "$digest" ] || { echo "docker printed no digest of $1:$2" >&2; exit 1; }
echo "name=$1"
echo "digest=$digest"
