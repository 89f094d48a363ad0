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
  # Of the workspace its manifests, and the folders that they are in.
  inside = folder: path: path == folder || lib.hasPrefix (folder + "/") path;
  isManifest = path: path == "Cargo.toml" || path == "Cargo.lock" || inside ".cargo" path || lib.any (member: path == "${member}/Cargo.toml") manifest.workspace.members;
  above = path: lib.any (member: inside path member) manifest.workspace.members;
  # The sources that the engine's binary is made of: not what tests it.
  ofTheEngine = path: inside "engine" path && !(inside "engine/testkit" path) && !(inside "engine/torture" path) && !(lib.hasInfix "/tests" path);

  call = file: lib.callPackageWith (pkgs // ours) file { };
  jre = call ./packages/jre.nix;
  engineImage = call ../images/millrace.nix;
  kafkaImage = call ../images/kafka.nix;

  ours = {
    inherit revision source;
    version = manifest.workspace.package.version;

    # The engine.
    manifests = sourceOf "millrace-manifests" (path: type: isManifest path || (type == "directory" && above path));
    engineSource = sourceOf "millrace-source" (path: type: isManifest path || ofTheEngine path || (type == "directory" && above path));
    # Arguments and no package: nothing that a package set adds to one.
    engineInputs = import ./packages/engine-inputs.nix {
      inherit (pkgs) mold-wrapped openssl perl pkg-config python3 rustPlatform zlib zstd;
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
      modules = [ "java.se" "jdk.compiler" "jdk.crypto.ec" "jdk.management" "jdk.naming.dns" "jdk.net" "jdk.security.auth" "jdk.unsupported" "jdk.zipfs" "jdk.httpserver" ];
    };
    jre-registry = jre {
      jdk = pkgs.jdk21_headless;
      modules = [ "java.se" "jdk.crypto.ec" "jdk.httpserver" "jdk.management" "jdk.net" "jdk.unsupported" "jdk.zipfs" ];
    };

    # The shell of entrypoints, and what one looks around with in a container.
    applets = call ./packages/applets.nix;
    shell-tools = ours.applets [
      "[" "awk" "base64" "basename" "cat" "chmod" "cp" "cut" "date" "dd" "df" "dirname" "du" "env" "expr" "false" "find" "grep"
      "gunzip" "gzip" "head" "hexdump" "hostname" "id" "ip" "kill" "less" "ln" "ls" "mkdir" "mktemp" "mv" "nc" "netstat"
      "nslookup" "ping" "printf" "ps" "pwd" "readlink" "realpath" "rm" "sed" "seq" "sh" "sha256sum" "sleep" "sort" "stat" "tail"
      "tar" "tee" "test" "timeout" "top" "touch" "tr" "true" "uname" "uniq" "vi" "wc" "wget" "which" "xargs" "zcat"
    ];

    # The images.
    modules = call ./packages/modules.nix;
    sbom = call ./packages/sbom.nix;
    image = call ./packages/image.nix;
    images = {
      millrace = engineImage { };
      millrace-debug = engineImage { debug = true; };
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
