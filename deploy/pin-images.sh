#!/bin/sh
# Prints a line for .env for each image of compose.yaml that somebody else makes: the image by the
# digest that its version has now, so that the same bytes are fetched from then on.
#   ./pin-images.sh >> .env
# It asks the registry, by `docker buildx imagetools inspect`.
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
