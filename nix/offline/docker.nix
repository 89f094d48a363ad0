# dockerTools: an image is a script that writes a docker archive, made of store paths, one layer each.
{ system, lib, host, build, tools }:
let
  inherit (build) runCommand symlinkJoin writeText writeTextDir;
  layers = ./layers.py;
in
{
  dockerTools = {
    caCertificates = runCommand "ca-certificates" { } ''
      mkdir -p $out/etc/ssl/certs $out/etc/pki/tls/certs
      for name in etc/ssl/certs/ca-bundle.crt etc/ssl/certs/ca-certificates.crt etc/pki/tls/certs/ca-bundle.crt; do
        ln -s ${tools.cacert}/etc/ssl/certs/ca-bundle.crt $out/$name
      done
    '';

    streamLayeredImage = lib.makeOverridable (
      {
        name,
        tag ? null,
        fromImage ? null,
        contents ? [ ],
        config ? { },
        architecture ? { x86_64-linux = "amd64"; aarch64-linux = "arm64"; }.${system},
        created ? "1970-01-01T00:00:01Z",
        mtime ? "1970-01-01T00:00:01Z",
        uid ? 0,
        gid ? 0,
        uname ? "root",
        gname ? "root",
        maxLayers ? 100,
        extraCommands ? "",
        fakeRootCommands ? "",
        enableFakechroot ? false,
        includeStorePaths ? true,
        includeNixDB ? false,
        passthru ? { },
        meta ? { },
        layeringPipeline ? null,
        debug ? false,
      }:
      assert
        (fromImage == null && !enableFakechroot && includeStorePaths && !includeNixDB && layeringPipeline == null)
        || throw "streamLayeredImage of the offline set has no fromImage, enableFakechroot, includeNixDB and layeringPipeline, and always the store paths";
      let
        baseName = baseNameOf name;
        base = writeText "${baseName}-base.json" (builtins.toJSON { inherit config architecture; os = "linux"; });
        joined = symlinkJoin {
          name = "${baseName}-contents";
          paths = lib.toList contents;
        };
        customisation = runCommand "${baseName}-customisation-layer" {
          env = { inherit extraCommands fakeRootCommands; };
          passAsFile = [ "extraCommands" "fakeRootCommands" ];
        } ''
          cp -a ${joined} root
          chmod -R u+w root
          cd root
          . "$extraCommandsPath"
          mkdir $out
          pack() {
            chown -R 0:0 .
            . "$fakeRootCommandsPath"
            tar --sort=name --numeric-owner --mtime=@1 --hard-dereference -cf $out/layer.tar .
          }
          if [ "$(id -u)" = 0 ]; then pack; else export -f pack; fakeroot bash -euc pack; fi
          sha256sum $out/layer.tar | cut -d ' ' -f 1 > $out/checksum
        '';
        conf = derivation {
          name = "${baseName}-conf.json";
          inherit system base maxLayers created mtime uid gid uname gname;
          builder = "/usr/bin/python3";
          args = [ layers "plan" ];
          __structuredAttrs = true;
          exportReferencesGraph.graph = [ base customisation ];
          customisation_layer = customisation;
          store_dir = builtins.storeDir;
          repository = lib.toLower name;
          tag = if tag == null then "" else tag;
        };
        imageTag =
          if tag != null then tag else lib.head (lib.splitString "-" (baseNameOf (builtins.unsafeDiscardStringContext conf.outPath)));
      in
      runCommand "stream-${baseName}" {
        inherit meta;
        passthru = passthru // {
          inherit imageTag conf;
          imageName = lib.toLower name;
          isExe = true;
        };
      } ''
        printf '#!/bin/bash\nexec /usr/bin/python3 %s stream %s\n' ${layers} ${conf} > $out
        chmod 755 $out
      ''
    );
  };
}
