#!/bin/sh
# Make an image's environment at /opt/ostinato and its bill of materials at /sbom.
#
#   install.sh IMAGE EXTRA…
#
# TORCH says which build of torch is meant (see the Dockerfile); all paths are below ROOT, if there is one.
set -eu
image=$1
shift
extras=""
for extra in "$@"; do extras="$extras --extra $extra"; done
tools=${ROOT:-}/tools/bin
place=${ROOT:-}/opt/ostinato

"$tools/uv" venv --quiet --python "$(command -v python3)" "$place"
[ "${TORCH:-auto}" = auto ] || export UV_TORCH_BACKEND="$TORCH"
# The lock is a list of constraints: what an extra asks for, at those versions, and nothing else.
# shellcheck disable=SC2086 # a list of words
"$tools/uv" pip install --quiet --python "$place/bin/python" -c requirements.lock \
  -r pyproject.toml $extras

mkdir "${ROOT:-}/sbom"
"$tools/cyclonedx-py" environment --output-reproducible --pyproject pyproject.toml \
  --mc-type application --output-format JSON --output-file "${ROOT:-}/sbom/ostinato-$image.cdx.json" "$place/bin/python"
