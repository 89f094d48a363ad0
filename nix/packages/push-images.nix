# `nix run .#push-images REGISTRY [IMAGE...]`: prints kustomize's `images:` with the digests that the registry gave.
{ images, lib, skopeo, writeShellScriptBin }:
writeShellScriptBin "push-images" ''
  set -euo pipefail
  export PATH=${lib.makeBinPath [ skopeo ]}:$PATH
  [ $# -gt 0 ] || {
    echo "push-images REGISTRY [IMAGE...]: copies images to a registry (localhost:5000, registry.example.com/team)" >&2
    echo "and prints their digests as kustomize takes them. Log in with: skopeo login REGISTRY. PUSH_OPTIONS are skopeo copy's." >&2
    exit 64
  }
  registry=$1
  shift
  declare -A streams=(${
    lib.concatStringsSep " " (lib.mapAttrsToList (name: image: "[${name}]=${image}") images)
  })
  declare -A names=(${
    lib.concatStringsSep " " (lib.mapAttrsToList (name: image: "[${name}]=${image.imageName}:${image.imageTag}") images)
  })
  [ $# -gt 0 ] || set -- ${lib.concatStringsSep " " (lib.attrNames images)}
  for image in "$@"; do
    [ -n "''${streams[$image]-}" ] || { echo "push-images: there is no image '$image'; there are: ''${!streams[*]}" >&2; exit 64; }
  done
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  list=
  for image in "$@"; do
    "''${streams[$image]}" > "$scratch/image.tar"
    skopeo --insecure-policy copy ''${PUSH_OPTIONS-} --quiet --digestfile "$scratch/digest" \
      "docker-archive:$scratch/image.tar" "docker://$registry/''${names[$image]}" >&2
    list+="  - name: ''${names[$image]%:*}"$'\n'"    newName: $registry/''${names[$image]%:*}"$'\n'"    digest: $(cat "$scratch/digest")"$'\n'
  done
  printf 'images:\n%s' "$list"
''
