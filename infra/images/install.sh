#!/bin/sh
# Make an image's environment at /opt/ostinato and its bill of materials at /sbom.
#
#   install.sh IMAGE EXTRA…
#
# TORCH says which build of torch is meant (see the Dockerfile).
set -eu
image=$1
shift
extras=""
for extra in "$@"; do extras="$extras --extra $extra"; done

/tools/bin/uv venv --quiet --python "$(command -v python3)" /opt/ostinato
[ "${TORCH:-auto}" = auto ] || export UV_TORCH_BACKEND="$TORCH"
# The lock is a list of constraints: what an extra asks for, at those versions, and nothing else.
# shellcheck disable=SC2086 # a list of words
/tools/bin/uv pip install --quiet --python /opt/ostinato/bin/python -c requirements.lock \
  -r pyproject.toml $extras

mkdir /sbom
/tools/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml \
  --mc-type application --output-format JSON --output-file "/sbom/ostinato-$image.cdx.json" /opt/ostinato/bin/python
