# Programs: those that go into images as store paths, and names for those of the host that only builds use.
{ lib, host, build, libraries }:
let
  # On the PATH of every builder already.
  ofTheHost = pname: build.raw {
    inherit pname;
    version = "host";
    meta.mainProgram = pname;
    buildCommand = "mkdir $out";
  };
in
lib.genAttrs [
  "cargo"
  "clippy"
  "libclang"
  "maven"
  "mold-wrapped"
  "perl"
  "pkg-config"
  "python3"
  "rustc"
  "rustfmt"
  "shellcheck"
  "skopeo"
  "zstd"
] ofTheHost
// rec {
  # The host's may be of another place than its PATH.
  go = build.raw {
    pname = "go";
    inherit (host.go) version;
    meta.mainProgram = "go";
    buildCommand = "mkdir $out && ln -s ${host.go.root}/bin $out/bin";
  };

  # What `nix develop` starts.
  bashInteractive = build.raw {
    pname = "bash-interactive";
    version = "host";
    meta.mainProgram = "bash";
    buildCommand = "mkdir -p $out/bin && ln -s /bin/bash $out/bin/bash";
  };

  busybox = build.raw {
    pname = "busybox";
    version = libraries.storable host.programs.busybox-static;
    meta.mainProgram = "busybox";
    buildCommand = ''
      mkdir -p $out/bin
      cp ${host.programPaths.busybox} $out/bin/busybox
      chmod 555 $out/bin/busybox
      for applet in $($out/bin/busybox --list); do
        [ "$applet" = busybox ] || ln -s busybox $out/bin/$applet
      done
    '';
  };
  bash = build.raw {
    pname = "bash";
    version = libraries.storable host.programs.bash-static;
    meta.mainProgram = "bash";
    buildCommand = ''
      mkdir -p $out/bin
      cp ${host.programPaths.bash-static} $out/bin/bash
      chmod 555 $out/bin/bash
      ln -s bash $out/bin/sh
    '';
  };

  # Mozilla's roots alone: what the machine trusts beside them must not get into an image.
  cacert = build.raw {
    pname = "nss-cacert";
    version = libraries.storable host.programs.ca-certificates;
    passAsFile = [ "buildCommand" ];
    buildCommand = ''
      mkdir -p $out/etc/ssl/certs
      for certificate in /usr/share/ca-certificates/mozilla/*.crt; do
        cat "$certificate"
        # Some of them end without a line break.
        echo
      done > $out/etc/ssl/certs/ca-bundle.crt
    '';
  };

  closureInfo =
    { rootPaths }:
    derivation {
      name = "closure-info";
      inherit (build.stdenv.hostPlatform) system;
      inherit (build) hostPath;
      builder = "/bin/bash";
      args = [
        "-euc"
        ''
          . ./.attrs.sh
          export PATH=$hostPath
          mkdir -p ''${outputs[out]}
          python3 -c 'import json; print("\n".join(sorted(p["path"] for p in json.load(open(".attrs.json"))["closure"])))' > ''${outputs[out]}/store-paths
        ''
      ];
      __structuredAttrs = true;
      exportReferencesGraph.closure = lib.toList rootPaths;
    };
}
