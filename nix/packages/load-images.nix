# `nix run .#load-images [docker | kind CLUSTER] [IMAGE...]`
{ images, lib, writeShellScriptBin }:
writeShellScriptBin "load-images" ''
  set -euo pipefail
  fail() {
    status=$1
    shift
    printf 'load-images: %s\n' "$@" >&2
    exit "$status"
  }
  declare -A streams=(${
    lib.concatStringsSep " " (lib.mapAttrsToList (name: image: "[${name}]=${image}") images)
  })
  into=''${1:-docker}
  cluster=
  case $into in
  docker) shift || true ;;
  kind)
    [ $# -ge 2 ] || fail 64 "kind: the name of a cluster is missing (kind get clusters)"
    cluster=$2
    shift 2
    ;;
  *)
    fail 64 "[docker | kind CLUSTER] [IMAGE...]: loads images into Docker, or into every node of a kind cluster; all of them:" \
      "${lib.concatStringsSep " " (lib.attrNames images)}"
    ;;
  esac
  [ $# -gt 0 ] || set -- ${lib.concatStringsSep " " (lib.attrNames images)}
  for image in "$@"; do
    [ -n "''${streams[$image]-}" ] || fail 64 "there is no image '$image'; there are: ${lib.concatStringsSep " " (lib.attrNames images)}"
  done
  docker version > /dev/null 2>&1 || fail 69 "Docker does not answer. Start it (systemctl start docker, or dockerd), or set DOCKER_HOST."
  if [ "$into" = kind ]; then
    nodes=$(docker ps --quiet --filter "label=io.x-k8s.kind.cluster=$cluster")
    [ -n "$nodes" ] || fail 69 "no node of a kind cluster '$cluster' runs (kind get clusters)"
  fi
  for image in "$@"; do
    # An archive that ends early leaves no image: its name is at the end.
    if [ "$into" = docker ]; then
      "''${streams[$image]}" | docker load --quiet || fail 74 "$image could not be loaded; is Docker's disk full? (docker system df)"
    else
      for node in $nodes; do
        "''${streams[$image]}" | docker exec --interactive "$node" ctr --namespace=k8s.io images import --digests --snapshotter=overlayfs - ||
          fail 74 "$image could not be loaded into node $node; is its disk full? (docker exec $node df -h /var/lib/containerd)"
      done
    fi
  done
''
