# A CycloneDX list of what an image holds, made from its closure: ../sbom.
{
  closureInfo,
  lib,
  python3,
  runCommand,
  writeText,
}:
{
  name,
  tag,
  license,
  contents,
  # Crates of one of the packages: { package; list; }, a line each as packages/crates.nix writes them.
  crates ? null,
}:
let
  # What jars are, and their licences, by hash: of the locks, and of what their archives have inside.
  folders = lib.attrNames (lib.filterAttrs (_: type: type == "directory") (builtins.readDir ../java));
  files = lib.concatMap (folder: [ (../java + "/${folder}/lock") (../java + "/${folder}/licences") ]) folders;
  locks = lib.concatMapStrings lib.readFile (lib.filter lib.pathExists files);
in
runCommand "${name}-sbom" { nativeBuildInputs = [ python3 ]; } ''
  mkdir -p $out/usr/share/sbom
  python3 ${../sbom}/main.py ${name} ${tag} '${license}' \
    --paths ${closureInfo { rootPaths = contents; }}/store-paths \
    --locks ${writeText "locks" locks} \
    --licenses ${../sbom}/licenses.json \
    ${lib.optionalString (crates != null) "--crates ${crates.list} --crates-of ${crates.package}"} \
    > $out/usr/share/sbom/${name}.cdx.json
''
