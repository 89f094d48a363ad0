# rustPlatform over the host's toolchain. As in nixpkgs a wrapper of rustc adds NIX_RUSTFLAGS and a wrapper of the C
# compilers NIX_CFLAGS_COMPILE, the dynamic linker and the run path: none of it is seen by Cargo, so what is compiled
# here can be used by a plain `cargo build` of the same toolchain.
{ system, lib, host, strict, build, fetch, libraries, tools }:
let
  attributes = [
    "cargoLock" "cargoBuildFlags" "cargoTestFlags" "buildType" "checkType" "buildFeatures" "buildNoDefaultFeatures"
    "buildAndTestSubdir" "auditable"
    # mkDerivation's
    "name" "pname" "version" "src" "patches" "passthru" "meta" "env" "buildInputs" "nativeBuildInputs"
    "dontBuild" "doCheck" "buildPhase" "checkPhase" "installPhase"
    "postUnpack" "prePatch" "postPatch" "preConfigure" "postConfigure" "preBuild" "postBuild" "preCheck" "postCheck"
    "preInstall" "postInstall" "preFixup" "postFixup" "disallowedReferences" "disallowedRequisites"
  ];

  importCargoLock =
    { lockFile }:
    let
      fromRegistry = builtins.filter (package: package ? source) (builtins.fromTOML (lib.readFile lockFile)).package;
      line =
        package:
        if package ? checksum then
          "${package.name}-${package.version} ${package.checksum} ${
            fetch.crate { inherit (package) name version; sha256 = package.checksum; }
          }"
        else
          throw "importCargoLock of the offline set takes crates of a registry only: ${package.name} is from ${package.source}";
    in
    build.raw {
      name = "cargo-vendor-dir";
      list = lib.concatLines (map line fromRegistry);
      lock = lib.readFile lockFile;
      passAsFile = [ "buildCommand" "list" "lock" ];
      buildCommand = ''
        mkdir -p $out/.cargo
        cp "$lockPath" $out/Cargo.lock
        while read -r crate checksum archive; do
          tar -xf "$archive" -C $out
          printf '{"files":{},"package":"%s"}' "$checksum" > "$out/$crate/.cargo-checksum.json"
        done < "$listPath"
        printf '[source.crates-io]\nreplace-with = "vendored-sources"\n[source.vendored-sources]\ndirectory = "@vendor@"\n' > $out/.cargo/config.toml
      '';
    };

  runPath = inputs: lib.makeLibraryPath ([ libraries.glibc libraries.gcc ] ++ inputs);

  compilers =
    inputs:
    build.raw {
      name = "compilers";
      # The compilers' versions: another one is another store path.
      inherit (host) cc;
      rustc = host.rust.version;
      passAsFile = [ "buildCommand" ];
      buildCommand = ''
        mkdir -p $out/bin
        for compiler in cc c++ gcc g++; do
          cat > $out/bin/$compiler <<'END'
        #!/bin/bash
        # Links unless it is told to stop before.
        link="-Wl,--dynamic-linker=${libraries.glibc}/lib/${libraries.loader} -Wl,-rpath,${runPath inputs}"
        for word; do
          case $word in
          -c | -S | -E | -M | -MM | -shared | -static | -r | --version | -v | -dump* | -print*) link= ;;
          esac
        done
        # Cargo keeps with what it has compiled the value that build scripts have asked for: it stays out of its environment.
        export SOURCE_DATE_EPOCH=1
        exec /usr/bin/''${0##*/} $NIX_CFLAGS_COMPILE "$@" $link
        END
          chmod 755 $out/bin/$compiler
        done
        cat > $out/bin/rustc <<'END'
        #!/bin/bash
        exec ${host.rust.sysroot}/bin/rustc "$@" $NIX_RUSTFLAGS
        END
        chmod 755 $out/bin/rustc
        for program in cargo rustdoc cargo-clippy clippy-driver cargo-fmt rustfmt; do
          if [ -e ${host.rust.sysroot}/bin/$program ]; then ln -s ${host.rust.sysroot}/bin/$program $out/bin/$program; fi
        done
      '';
    };
in
{
  rustPlatform = {
    inherit importCargoLock;

    # libclang is found by itself on the host; nixpkgs' hook tells where it is.
    bindgenHook = tools.libclang;

    buildRustPackage =
      args0:
      let
        named = strict.known "buildRustPackage" attributes (if lib.isFunction args0 then lib.fix args0 else args0);
        args = strict.without "buildRustPackage" [ "checkType" "buildFeatures" "buildNoDefaultFeatures" "buildAndTestSubdir" ] named;
        cargoDeps = importCargoLock (args.cargoLock or (throw "buildRustPackage of the offline set wants cargoLock"));
        flags = lib.concatStringsSep " " (args.cargoBuildFlags or [ ]);
        release = lib.optionalString ((args.buildType or "release") == "release") "--release";
      in
      build.raw (
        {
          inherit cargoDeps;
          doCheck = true;
          buildPhase = ''
            runHook preBuild
            cargo build -j "$NIX_BUILD_CORES" --offline ${release} ${flags}
            runHook postBuild
          '';
          checkPhase = ''
            runHook preCheck
            cargo test -j "$NIX_BUILD_CORES" --offline ${release} ${lib.concatStringsSep " " (args.cargoTestFlags or [ ])}
            runHook postCheck
          '';
          installPhase = throw "buildRustPackage of the offline set wants an installPhase";
        }
        // removeAttrs args [ "cargoLock" "cargoBuildFlags" "cargoTestFlags" "buildType" "auditable" ]
        // {
          nativeBuildInputs = [ (compilers (args.buildInputs or [ ])) ] ++ (args.nativeBuildInputs or [ ]);
          postUnpack = ''
            # Cargo's fingerprints have the absolute paths of crates: the machine's own registry is taken, so that what is
            # compiled here is of use in a checkout. It has to be what the lock says.
            registry=${host.cargo.registry}
            for crate in $cargoDeps/*-*; do
              diff -rq --no-dereference -x .cargo-checksum.json -x .cargo-ok "$crate" "$registry/''${crate##*/}" > difference || {
                echo "$registry/''${crate##*/} is not the crate that Cargo.lock names, or not there: delete it and run cargo fetch --locked" >&2
                head -n 5 difference >&2
                exit 1
              }
            done
            ln -s "$registry" "$NIX_BUILD_TOP/cargo-vendor-dir"
            export CARGO_HOME=${host.cargo.home}
            unset SOURCE_DATE_EPOCH
            export NIX_RUSTFLAGS="--remap-path-prefix=$registry=/build/cargo-vendor-dir"
            export NIX_CFLAGS_COMPILE="-ffile-prefix-map=$registry=/build/cargo-vendor-dir"
          '' + (args.postUnpack or "");
          postPatch = ''
            cmp Cargo.lock $cargoDeps/Cargo.lock || { echo "Cargo.lock is not the one of cargoLock.lockFile" >&2; exit 1; }
          '' + (args.postPatch or "");
          # As nixpkgs' fixup: symbols go, the run path keeps what is needed. And every library has to come from a store path.
          fixupPhase = ''
            runHook preFixup
            for file in $out/bin/*; do
              [ -f "$file" ] || continue
              [ "$(head -c 4 "$file" | tail -c 3)" = ELF ] || continue
              strip -S "$file"
              patchelf --shrink-rpath "$file"
              for library in $(patchelf --print-needed "$file"); do
                found=
                for folder in $(patchelf --print-rpath "$file" | tr : ' ') ${libraries.glibc}/lib; do
                  [ ! -e "$folder/$library" ] || found=1
                done
                [ -n "$found" ] || { echo "$file needs $library, which no input has" >&2; exit 1; }
              done
            done
            runHook postFixup
          '';
        }
      );
  };

  # The formatter of Nix files, by Cargo: not a part of any image, and the one derivation that asks the network for more
  # than a fixed output.
  nixpkgs-fmt = build.raw {
    pname = "nixpkgs-fmt";
    version = "1.3.0";
    meta.mainProgram = "nixpkgs-fmt";
    buildCommand = ''
      export CARGO_HOME="$NIX_BUILD_TOP/cargo-home" PATH="${host.rust.sysroot}/bin:$PATH" SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
      cargo install --quiet --locked --root $out nixpkgs-fmt@1.3.0
      rm -f $out/.crates*
    '';
  };
}
