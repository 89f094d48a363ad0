# The Go modules that a program is linked from, with their licences: `name version licence` a line.
{ go, python3, runCommand }:
package:
runCommand "${package.pname}-modules" { nativeBuildInputs = [ go python3 ]; } ''
  export GOTOOLCHAIN=local GOCACHE="$NIX_BUILD_TOP/cache" GOFLAGS=
  go version -m ${package}/bin/${package.meta.mainProgram} | python3 ${../sbom}/modules.py ${package.goModules} > $out
''
