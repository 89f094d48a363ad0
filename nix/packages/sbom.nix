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
  # What one of the packages is linked from: { package; type; list; }, where type is that of a purl, and the list as
  # crates.nix and modules.nix write it.
  linked ? null,
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
    ${lib.optionalString (linked != null) "--linked ${linked.package} ${linked.type} ${linked.list}"} \
    > $out/usr/share/sbom/${name}.cdx.json
''
