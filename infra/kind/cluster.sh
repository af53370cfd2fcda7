#!/usr/bin/env bash
# A cluster on this machine, with everything that the pipeline meets in production:
#
#   cluster.sh up     kind, Gateway API, KServe (Standard mode), Kubeflow Pipelines, Argo CD,
#                     Redis, MinIO, and our images built and loaded
#   cluster.sh e2e    submit the pipeline there, send visitors, and check that its canary was promoted
#   cluster.sh down   all of it gone
#
# Needs Docker, kind, kubectl, helm and a network. Every command may be run again.
set -euo pipefail
cd "$(dirname "$0")/../.."

# shellcheck source=infra/kind/versions.env
source infra/kind/versions.env

readonly NAME=ostinato
readonly NAMESPACE=ostinato
readonly RUNS=kubeflow
readonly CONTEXT="kind-$NAME"
readonly REGISTRY=ostinato-registry
readonly PUSHED=localhost:5001 # its name on this machine and in the node
readonly GATEWAY=8085
readonly STEPS=(ingest validate materialize train evaluate gate register deploy outcome)
readonly SERVERS=(serve feature-server stream triggers router ray)

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

need() {
  for program in "$@"; do
    command -v "$program" >/dev/null || {
      echo "cluster.sh needs $program on the PATH" >&2
      exit 1
    }
  done
}

kube() { kubectl --context "$CONTEXT" "$@"; }

apply() { kube apply --server-side --force-conflicts "$@" >/dev/null; }

again() { # command that may fail for a while
  for _ in 1 2 3 4 5; do
    if "$@"; then return; fi
    sleep 10
  done
  "$@"
}

ready() { # namespace [seconds]
  kube wait --namespace "$1" --for=condition=Available deployment --all --timeout="${2:-600}s"
}

namespace() { kube create namespace "$1" --dry-run=client -o yaml | apply -f -; }

create() {
  say "kind $KIND_NODE_IMAGE"
  kind get clusters | grep -qx "$NAME" ||
    kind create cluster --name "$NAME" --image "$KIND_NODE_IMAGE" --config infra/kind/kind.yaml
  say "$REGISTRY_IMAGE"
  docker inspect "$REGISTRY" >/dev/null 2>&1 ||
    docker run --detach --restart=always --publish 127.0.0.1:5001:5000 --name "$REGISTRY" "$REGISTRY_IMAGE"
  docker network connect kind "$REGISTRY" 2>/dev/null || true # it is there already
  docker exec "$NAME-control-plane" mkdir -p "/etc/containerd/certs.d/$PUSHED"
  docker exec --interactive "$NAME-control-plane" cp /dev/stdin "/etc/containerd/certs.d/$PUSHED/hosts.toml" \
    <<<"[host.\"http://$REGISTRY:5000\"]"
}

platform() {
  local releases=https://github.com

  say "cert-manager $CERT_MANAGER, Gateway API $GATEWAY_API, Envoy Gateway $ENVOY_GATEWAY"
  apply -f "$releases/cert-manager/cert-manager/releases/download/$CERT_MANAGER/cert-manager.yaml"
  apply -f "$releases/kubernetes-sigs/gateway-api/releases/download/$GATEWAY_API/standard-install.yaml"
  helm --kube-context "$CONTEXT" upgrade --install envoy oci://docker.io/envoyproxy/gateway-helm \
    --version "$ENVOY_GATEWAY" --namespace envoy-gateway-system --create-namespace --wait >/dev/null
  ready cert-manager

  say "KServe $KSERVE, Standard mode"
  # One file has kinds and objects of these kinds, which the API server takes only when it knows them.
  again apply -f "$releases/kserve/kserve/releases/download/$KSERVE/kserve.yaml"
  kube patch configmap inferenceservice-config --namespace kserve --type merge \
    --patch-file infra/kind/kserve-standard.yaml
  kube rollout restart deployment --namespace kserve
  kube rollout status deployment --namespace kserve --timeout=600s
  apply -f infra/kind/gateway.yaml

  say "Kubeflow Pipelines $KFP"
  local kfp="$releases/kubeflow/pipelines/manifests/kustomize"
  apply -k "$kfp/cluster-scoped-resources?ref=$KFP"
  kube wait --for=condition=Established crd/applications.app.k8s.io --timeout=60s
  apply -k "$kfp/env/platform-agnostic?ref=$KFP"
  ready kubeflow 1200

  say "Argo CD $ARGO_CD"
  namespace argocd
  apply --namespace argocd \
    -f "https://raw.githubusercontent.com/argoproj/argo-cd/$ARGO_CD/manifests/install.yaml"
  ready argocd
}

stores() {
  say "Redis and MinIO"
  namespace "$NAMESPACE"
  # Passwords are made here and live in the cluster only.
  secret stores --from-literal=redis-password="$(openssl rand -hex 16)" \
    --from-literal=minio-user=ostinato --from-literal=minio-password="$(openssl rand -hex 16)"
  export REDIS_IMAGE MINIO_IMAGE
  # shellcheck disable=SC2016 # these names are for envsubst
  envsubst '$REDIS_IMAGE $MINIO_IMAGE' <infra/kind/stores.yaml | apply --namespace "$NAMESPACE" -f -
  ready "$NAMESPACE"
  minio 'mc mb --ignore-existing here/data here/features here/registry here/logs' >/dev/null
}

version() { sed -n 's/^VERSION = "\(.*\)"/\1/p' components/images.py; }

images() {
  say "images"
  local version
  version=$(version)
  for image in "${STEPS[@]}" "${SERVERS[@]}"; do
    docker build --quiet --file infra/images/Dockerfile --target "$image" \
      --build-arg REVISION="$(git rev-parse HEAD)" --tag "ostinato-$image:$version" .
    kind load docker-image --name "$NAME" "ostinato-$image:$version"
  done
}

# A model version names its server by digest, which only a registry gives.
served_image() {
  docker tag "ostinato-serve:$(version)" "$PUSHED/ostinato-serve:$(version)"
  docker push "$PUSHED/ostinato-serve:$(version)" |
    sed -n "s|^.*digest: \(sha256:[0-9a-f]\{64\}\).*|$PUSHED/ostinato-serve@\1|p"
}

# What `dev` reads (docs/operations.md): made here, in the cluster only, and never made anew.
secrets() {
  say "secrets"
  local redis token
  redis=$(value stores redis-password)
  secret ostinato-stores --from-literal=redis="redis.$NAMESPACE.svc.cluster.local:6379,db=0,password=$redis" \
    --from-literal=registry=sqlite:////var/lib/ostinato/features/registry.db
  secret ostinato-features --from-literal=read="$(openssl rand -hex 32)" \
    --from-literal=write="$(openssl rand -hex 32)"
  secret ostinato-stream --from-literal=token="$(openssl rand -hex 32)"
  token=$(openssl rand -hex 32)
  secret ostinato-triggers --from-literal=token="$token" --from-literal=secret="$(openssl rand -hex 32)" \
    --from-literal=authorization="Bearer $token" --from-literal=webhook="$(openssl rand -hex 32)"
  kserve_key "$NAMESPACE"
}

# KServe fetches models with the keys of the account's secret.
kserve_key() { # namespace
  kube create secret generic kserve-s3 --namespace "$1" --dry-run=client -o yaml \
    --from-literal=AWS_ACCESS_KEY_ID="$(value stores minio-user)" \
    --from-literal=AWS_SECRET_ACCESS_KEY="$(value stores minio-password)" |
    kube annotate --local -f - -o yaml serving.kserve.io/s3-usehttps=0 serving.kserve.io/s3-region=us-east-1 \
      serving.kserve.io/s3-endpoint="minio.$NAMESPACE.svc.cluster.local:9000" | apply -f -
}

value() { # secret key
  kube get secret "$1" --namespace "$NAMESPACE" -o "jsonpath={.data.$2}" | base64 -d
}

secret() { # name --from-literal=…
  local name=$1
  shift
  kube get secret "$name" --namespace "$NAMESPACE" >/dev/null 2>&1 ||
    kube create secret generic "$name" --namespace "$NAMESPACE" "$@"
}

# Where a single-user Kubeflow Pipelines starts pods, there must be what pods of a run mount and read.
surroundings() {
  say "claim, settings, secrets, buckets and keys of the run"
  for name in stores ostinato-stores; do
    kube get secret "$name" --namespace "$NAMESPACE" -o yaml |
      sed -E '/^  (namespace|uid|resourceVersion|creationTimestamp):/d' | apply --namespace "$RUNS" -f -
  done
  apply --namespace "$RUNS" -f infra/kind/e2e-surroundings.yaml
  sed "s/namespace: $NAMESPACE/namespace: $RUNS/; s/name: deploy,/name: pipeline-runner,/" \
    infra/kustomize/base/identities/deploy-role.yaml | apply -f -
  # Model servers reach the stores by these (and by the ConfigMap of this name).
  kube create secret generic ostinato-servers --namespace "$RUNS" --dry-run=client -o yaml \
    --from-literal=OSTINATO_REDIS="$(value ostinato-stores redis)" \
    --from-literal=OSTINATO_REGISTRY="$(value ostinato-stores registry)" \
    --from-literal=AWS_ACCESS_KEY_ID="$(value stores minio-user)" \
    --from-literal=AWS_SECRET_ACCESS_KEY="$(value stores minio-password)" | apply -f -
  kserve_key "$RUNS"
  kube patch serviceaccount default --namespace "$RUNS" --patch '{"secrets": [{"name": "kserve-s3"}]}' >/dev/null
  kube wait --namespace "$RUNS" --for=condition=Ready pod/workspace-keys --timeout=300s
  # Model servers mount the public key before the first model is signed.
  kube exec --namespace "$RUNS" workspace-keys -- python3 -c \
    'from pathlib import Path; from recommender.registry.signing import make_keys
print(make_keys(Path("/var/lib/ostinato/keys")).read_text(), end="")' |
    kube create configmap ostinato-public-key --namespace "$RUNS" --dry-run=client -o yaml \
      --from-file=model-signing.pub=/dev/stdin | apply -f -
  kube delete pod workspace-keys --namespace "$RUNS" >/dev/null
}

minio() { # shell commands, with `mc` set up
  # shellcheck disable=SC2016 # the container's own variables
  kube exec --namespace "$NAMESPACE" deployment/minio -- sh -c 'export MC_CONFIG_DIR=/tmp/mc
mc alias set here http://127.0.0.1:9000 "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" >/dev/null
'"$1"
}

e2e() {
  surroundings
  local image gateway folder
  image=$(served_image)
  folder=$(mktemp -d)
  # shellcheck disable=SC2064 # the value of now is meant
  trap "kill \$(jobs -p); rm -r '$folder'" EXIT
  kube port-forward --namespace kubeflow service/ml-pipeline 8888:8888 >/dev/null &
  gateway=$(kube get service --namespace envoy-gateway-system --output name \
    --selector gateway.envoyproxy.io/owning-gateway-name=kserve-ingress-gateway)
  kube port-forward --namespace envoy-gateway-system "$gateway" "$GATEWAY:80" >/dev/null &
  .venv/bin/python infra/kind/visitors.py "http://127.0.0.1:$GATEWAY" "ostinato-$RUNS.127.0.0.1.nip.io" &
  sleep 3

  say "the pipeline, with $image"
  .venv/bin/ostinato submit --host http://127.0.0.1:8888 --config infra/kind/e2e.yaml \
    --set rollout.targets.kserve.image="$image"

  say "the canary"
  kube get inferenceservice ostinato --namespace "$RUNS" --output json >"$folder/service"
  minio 'mc cat here/registry/synthetic/aliases.json' >"$folder/aliases"
  .venv/bin/python infra/kind/promoted.py "$folder/service" "$folder/aliases"
}

down() {
  kind delete cluster --name "$NAME"
  docker rm --force "$REGISTRY" >/dev/null
}

case "${1:-}" in
  up)
    need docker kind kubectl helm envsubst openssl git
    create
    platform
    stores
    secrets
    images
    ;;
  e2e)
    need kubectl docker
    e2e
    ;;
  down)
    need kind docker
    down
    ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
