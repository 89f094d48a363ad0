# Everything that the flake builds, for one system: each file of packages/ and of ../images is a function of what it names.
{ pkgs, revision, source }:
let
  inherit (pkgs) lib;
  manifest = builtins.fromTOML (lib.readFile ../Cargo.toml);

  # Of the tree, what `keep` says by the path from its top.
  sourceOf =
    name: keep:
    lib.cleanSourceWith {
      inherit name;
      src = ../.;
      filter = path: type: keep (lib.removePrefix (toString ../. + "/") (toString path)) type;
    };
  # The workspace's members, and the folders above them.
  inside = folder: path: path == folder || lib.hasPrefix (folder + "/") path || lib.hasPrefix (path + "/") folder;
  ofTheWorkspace = path: path == "Cargo.toml" || path == "Cargo.lock" || inside ".cargo/config.toml" path || lib.any (member: inside member path) manifest.workspace.members;

  call = file: lib.callPackageWith (pkgs // ours) file { };
  jre = call ./packages/jre.nix;
  kafkaImage = call ../images/kafka.nix;

  ours = {
    inherit revision source;
    version = manifest.workspace.package.version;

    # The engine.
    manifests = sourceOf "millrace-manifests" (
      path: type: ofTheWorkspace path && (type == "directory" || baseNameOf path == "Cargo.toml" || path == "Cargo.lock" || path == ".cargo/config.toml")
    );
    engineSource = sourceOf "millrace-source" (path: type: ofTheWorkspace path && !(lib.hasInfix "/tests" path));
    # Arguments and no package: nothing that a package set adds to one.
    engineInputs = import ./packages/engine-inputs.nix {
      inherit (pkgs) mold openssl perl pkg-config python3 rustPlatform zlib zstd;
      inherit (ours) version;
    };
    millrace-dependencies = call ./packages/dependencies.nix;
    millrace-crates = call ./packages/crates.nix;
    millrace = call ./packages/millrace.nix;
    dashboard = call ./packages/dashboard.nix;

    # What it runs beside.
    jars = call ./packages/jars.nix;
    kafka = call ./packages/kafka.nix;
    zookeeper = call ./packages/zookeeper.nix;
    apicurio = call ./packages/apicurio.nix;
    flink = call ./packages/flink.nix;
    versitygw = call ./packages/versitygw.nix;

    # One JRE for each, of the modules that it uses.
    jre-kafka = jre {
      jdk = pkgs.jdk17_headless;
      modules = [ "java.base" "java.desktop" "java.logging" "java.management" "java.management.rmi" "java.naming" "java.security.jgss" "java.security.sasl" "java.sql" "java.xml" "jdk.crypto.ec" "jdk.management" "jdk.naming.dns" "jdk.net" "jdk.security.jgss" "jdk.unsupported" "jdk.httpserver" "java.instrument" "java.rmi" ];
    };
    jre-zookeeper = ours.jre-kafka;
    jre-flink = jre {
      jdk = pkgs.jdk17_headless;
      modules = [ "java.se" "jdk.compiler" "jdk.crypto.ec" "jdk.management" "jdk.naming.dns" "jdk.net" "jdk.unsupported" "jdk.zipfs" "jdk.httpserver" ];
    };
    jre-registry = jre {
      jdk = pkgs.jdk21_headless;
      modules = [ "java.se" "jdk.crypto.ec" "jdk.httpserver" "jdk.management" "jdk.naming.dns" "jdk.net" "jdk.unsupported" "jdk.zipfs" ];
    };

    # The images.
    sbom = call ./packages/sbom.nix;
    image = call ./packages/image.nix;
    images = {
      millrace = call ../images/millrace.nix;
      zookeeper = call ../images/zookeeper.nix;
      kafka = kafkaImage { release = "3.9.2"; line = "kafka-3.9.2"; };
      kafka-previous = kafkaImage { release = "3.9.1"; line = "kafka-3.9.1"; };
      kafka-kraft = kafkaImage { release = "4.1.2"; line = "kafka-4.1"; };
      schema-registry = call ../images/schema-registry.nix;
      flink = call ../images/flink.nix;
      object-store = call ../images/object-store.nix;
      job-server = call ../images/job-server.nix;
    };
    all-images = call ./packages/all-images.nix;
    load-images = call ./packages/load-images.nix;
    push-images = call ./packages/push-images.nix;

    checks = import ./packages/checks.nix {
      inherit lib;
      inherit (pkgs) runCommand;
      inherit (ours) millrace;
    };
    shell = call ./packages/shell.nix;
    formatter = pkgs.nixpkgs-fmt;
  };
in
ours
