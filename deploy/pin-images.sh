#!/bin/sh
# Prints a line for .env for each third-party image of compose.yaml: its name with its present
# digest, so that exactly this image is pulled from then on.
#   ./pin-images.sh >> .env
# `docker buildx imagetools inspect` reads the digests from the registry.
set -eu
cd "$(dirname "$0")"
inspect=${INSPECT:-docker buildx imagetools inspect --format '{{.Manifest.Digest}}'}

grep -o '[A-Z_]*_IMAGE:-[^}]*' compose.yaml | sort -u | while IFS= read -r line; do
    variable=${line%%:-*}
    image=${line#*:-}
    digest=$(eval "$inspect \"\$image\"")
    case $digest in
        sha256:*) echo "$variable=${image%:*}@$digest" ;;
        *) echo "no digest for $image" >&2; exit 1 ;;
    esac
done
