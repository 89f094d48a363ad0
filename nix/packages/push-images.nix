# `nix run .#push-images REGISTRY [IMAGE...]`: prints kustomize's `images:` with the digests that the registry gave.
{ images, lib, skopeo, writeShellScriptBin }:
writeShellScriptBin "push-images" ''
  set -euo pipefail
  export PATH=${lib.makeBinPath [ skopeo ]}:$PATH
  fail() {
    status=$1
    shift
    printf 'push-images: %s\n' "$@" >&2
    exit "$status"
  }
  [ $# -gt 0 ] || fail 64 "REGISTRY [IMAGE...]: copies images to a registry (localhost:5000, registry.example.com/team)" \
    "and prints their digests as kustomize takes them. Log in with: skopeo login REGISTRY." \
    "PUSH_OPTIONS are skopeo copy's: --dest-tls-verify=false for one without TLS."
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
    [ -n "''${streams[$image]-}" ] || fail 64 "there is no image '$image'; there are: ${lib.concatStringsSep " " (lib.attrNames images)}"
  done
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  list=
  for image in "$@"; do
    "''${streams[$image]}" > "$scratch/image.tar" || fail 74 "$image could not be written to $scratch; is the disk full? TMPDIR names another folder"
    # PUSH_OPTIONS is a list of words.
    # shellcheck disable=SC2086
    skopeo --insecure-policy copy ''${PUSH_OPTIONS-} --quiet --digestfile "$scratch/digest" \
      "docker-archive:$scratch/image.tar" "docker://$registry/''${names[$image]}" >&2 ||
      fail 76 "$registry did not take $image. Does it answer, and are you logged in? (skopeo login $registry)"
    # Several are tags of one name (kafka): kustomize knows each by its file's.
    list+="  - name: millrace/$image"$'\n'"    newName: $registry/''${names[$image]%:*}"$'\n'"    digest: $(cat "$scratch/digest")"$'\n'
  done
  # All or nothing: a list that lacks images would leave a deployment half new.
  printf 'images:\n%s' "$list"
''
