# The jars of a folder of nix/java: its pom.xml says what is wanted, its lock what that comes to (scripts/lock-java).
# A line of the lock: SHA-256 in hexadecimal, group:artifact:version:type[:classifier], licence as SPDX names it.
{
  lib,
  fetchurl,
  runCommand,
}:
{ name, version, lock }:
let
  parse =
    line:
    let
      words = lib.splitString " " line;
      at = lib.splitString ":" (builtins.elemAt words 1);
      group = builtins.elemAt at 0;
      artifact = builtins.elemAt at 1;
      release = builtins.elemAt at 2;
      type = builtins.elemAt at 3;
      classifier = lib.optionalString (builtins.length at > 4) "-${builtins.elemAt at 4}";
      file = "${artifact}-${release}${classifier}.${type}";
    in
    {
      inherit file;
      archive = fetchurl {
        url = "mirror://maven/${lib.replaceStrings [ "." ] [ "/" ] group}/${artifact}/${release}/${file}";
        hash = builtins.convertHash {
          hash = builtins.elemAt words 0;
          hashAlgo = "sha256";
          toHashFormat = "sri";
        };
      };
    };
  jars = map parse (lib.filter (line: line != "" && !(lib.hasPrefix "#" line)) (lib.splitString "\n" (lib.readFile lock)));
in
runCommand "${name}-jars-${version}" { } ''
  mkdir -p $out
  ${lib.concatMapStringsSep "\n" (jar: "cp ${jar.archive} $out/${jar.file}") jars}
''
