# `nix run .#load-images [docker | kind CLUSTER] [IMAGE...]`
{ images, lib, writeShellScriptBin }:
writeShellScriptBin "load-images" ''
  set -euo pipefail
  usage() {
    echo "load-images [docker | kind CLUSTER] [IMAGE...]: loads images (default: all) into Docker, or into every node of a kind cluster" >&2
    exit 64
  }
  declare -A streams=(${
    lib.concatStringsSep " " (lib.mapAttrsToList (name: image: "[${name}]=${image}") images)
  })
  into=''${1:-docker}
  case $into in
  docker) shift || true ;;
  kind)
    cluster=''${2:?load-images kind: the name of a cluster is missing}
    shift 2
    ;;
  *) usage ;;
  esac
  docker version > /dev/null 2>&1 || {
    echo "load-images: Docker does not answer. Start it (systemctl start docker, or dockerd), or set DOCKER_HOST." >&2
    exit 69
  }
  [ $# -gt 0 ] || set -- ${lib.concatStringsSep " " (lib.attrNames images)}
  for image in "$@"; do
    [ -n "''${streams[$image]-}" ] || { echo "load-images: there is no image '$image'; there are: ''${!streams[*]}" >&2; exit 64; }
  done
  for image in "$@"; do
    if [ "$into" = docker ]; then
      # An archive that ends early leaves no image: its name is at the end.
      "''${streams[$image]}" | docker load --quiet
    else
      for node in $(docker ps --quiet --filter "label=io.x-k8s.kind.cluster=$cluster"); do
        "''${streams[$image]}" | docker exec --interactive "$node" ctr --namespace=k8s.io images import --digests --snapshotter=overlayfs -
      done
    fi
  done
''
