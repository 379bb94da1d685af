#!/bin/sh
# Starts the image $1 on PORT, waits until it is ready, sends request.json, shows the answer and stops it.
set -eu
cd "$(dirname "$0")"
port=${PORT:-8080}
url=http://127.0.0.1:$port
container=$(docker run --detach --publish "127.0.0.1:$port:8080" --read-only --cap-drop ALL "$1")
trap 'docker logs "$container" >&2; docker rm --force "$container" >/dev/null' EXIT
tries=0
until curl --silent --fail --output /dev/null "$url/health"; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || { echo "not ready within 30 s" >&2; exit 1; }
  sleep 0.5
done
curl --silent --show-error --fail --header 'content-type: application/json' --data @request.json "$url/v1/predict"
echo
docker stop "$container" >/dev/null
trap 'docker rm --force "$container" >/dev/null' EXIT
