# stdenv.mkDerivation and the small builders. Every derivation runs ./builder.sh, with the host's tools on its PATH.
{ system, lib, host, strict }:
let
  hostPath = lib.concatStringsSep ":" [
    "/usr/local/bin"
    "/usr/bin"
    "/bin"
    "/usr/sbin"
    "/sbin"
  ];

  # Arguments of nixpkgs' mkDerivation that mean something there and here.
  attributes = [
    "name" "pname" "version" "src" "sourceRoot" "patches" "passthru" "meta" "env" "passAsFile" "outputs"
    "buildInputs" "nativeBuildInputs" "strictDeps" "enableParallelBuilding" "buildCommand"
    "dontUnpack" "dontConfigure" "dontBuild" "dontFixup" "dontStrip" "dontPatchShebangs" "doCheck" "doInstallCheck"
    "unpackPhase" "patchPhase" "configurePhase" "buildPhase" "checkPhase" "installPhase" "fixupPhase" "installCheckPhase"
    "preUnpack" "postUnpack" "prePatch" "postPatch" "preConfigure" "postConfigure" "preBuild" "postBuild"
    "preCheck" "postCheck" "preInstall" "postInstall" "preFixup" "postFixup"
    "makeFlags" "outputHash" "outputHashAlgo" "outputHashMode" "impureEnvVars"
    "allowedReferences" "allowedRequisites" "disallowedReferences" "disallowedRequisites" "exportReferencesGraph"
  ];

  # For the set's own builders, which add names of theirs.
  raw =
    args:
    let
      env = removeAttrs args [ "passthru" "meta" "env" ] // (args.env or { });
      drv = derivation (
        {
          inherit system hostPath;
          builder = "/bin/bash";
          args = [ ./builder.sh ];
          name = args.name or "${args.pname}-${args.version}";
        }
        // env
      );
      meta = args.meta or { };
      extra = {
        inherit meta;
        passthru = args.passthru or { };
        inputDerivation = throw "the offline set has no inputDerivation";
        overrideAttrs = f: raw (args // (if lib.isFunction (f args) then f args args else f args));
      };
    in
    drv // extra // lib.optionalAttrs (args ? pname) { inherit (args) pname version; } // (args.passthru or { });

  mkDerivation =
    args:
    let
      named = strict.known "mkDerivation" attributes (if lib.isFunction args then lib.fix args else args);
    in
    raw (strict.without "mkDerivation" [ "outputs" ] named);

  runCommand =
    name: args: text:
    raw (
      strict.known "runCommand" attributes args
      // {
        inherit name;
        buildCommand = text;
        passAsFile = [ "buildCommand" ] ++ (args.passAsFile or [ ]);
      }
    );

  file =
    { name, text, destination ? "", executable ? false, meta ? { } }:
    raw {
      inherit name text meta;
      passAsFile = [ "buildCommand" "text" ];
      buildCommand = ''
        mkdir -p "$(dirname "$out${destination}")"
        cp "$textPath" "$out${destination}"
        ${lib.optionalString executable ''chmod 755 "$out${destination}"''}
      '';
    };
in
{
  inherit hostPath raw runCommand;
  stdenv = {
    inherit mkDerivation;
    hostPlatform = { inherit system; };
  };
  # `nix develop` asks for the environment of a build, which $stdenv/setup makes: the host's tools and toolchains.
  mkShell =
    { packages ? [ ], buildInputs ? [ ], shellHook ? "" }:
    raw {
      name = "nix-shell";
      inherit buildInputs shellHook;
      nativeBuildInputs = packages;
      outputs = [ "out" ];
      stdenv = file {
        name = "shell";
        text = "export PATH=${host.rust.sysroot}/bin:${host.go.root}/bin:${hostPath}\n";
        destination = "/setup";
      };
      buildCommand = "touch $out";
    };
  writeText = name: text: file { inherit name text; };
  writeTextDir =
    path: text:
    file {
      name = baseNameOf path;
      inherit text;
      destination = "/${path}";
    };
  writeShellScriptBin =
    name: text:
    file {
      inherit name;
      executable = true;
      destination = "/bin/${name}";
      text = "#!/bin/bash\n${text}\n";
      meta.mainProgram = name;
    };
  symlinkJoin =
    { name, paths, postBuild ? "", meta ? { }, passthru ? { } }:
    runCommand name { inherit meta passthru; } ''
      mkdir -p $out
      for path in ${toString paths}; do
        (cd "$path" && find . -mindepth 1 -type d -printf '%P\0') | while IFS= read -r -d "" dir; do mkdir -p "$out/$dir"; done
        (cd "$path" && find . -mindepth 1 ! -type d -printf '%P\0') | while IFS= read -r -d "" entry; do
          # The first path wins, as in nixpkgs.
          [ -e "$out/$entry" ] || [ -L "$out/$entry" ] || ln -s "$path/$entry" "$out/$entry"
        done
      done
      ${postBuild}
    '';
}
