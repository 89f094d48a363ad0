# What all images have in common: a user that is not root, labels, certificates, a list of what is inside.
{
  dockerTools,
  lib,
  revision,
  runCommand,
  sbom,
  source,
  version,
}:
{
  name,
  # The version of what is inside; the platform's own for what is its own.
  tag ? version,
  # Of the same version another image: "-debug".
  variant ? "",
  user,
  uid,
  # Packages whose bin/ is on the PATH, and files from the root on.
  contents,
  # Where a package is found under a name that does not change: { "/opt/kafka" = package; }.
  links ? { },
  # Folders of the user's, empty: volumes may be mounted there.
  folders ? [ ],
  # SPDX of what is inside.
  license,
  title,
  config,
  # What is linked into one of the packages: see sbom.nix.
  linked ? null,
}:
let
  root = runCommand "${name}-root" { } ''
    mkdir -p $out/etc
    printf '%s\n' 'root:x:0:0:root:/nonexistent:/sbin/nologin' '${user}:x:${toString uid}:${toString uid}:${user}:/nonexistent:/sbin/nologin' > $out/etc/passwd
    printf '%s\n' 'root:x:0:' '${user}:x:${toString uid}:' > $out/etc/group
    echo 'hosts: files dns' > $out/etc/nsswitch.conf
    ${lib.concatLines (
      lib.mapAttrsToList (at: package: ''
        mkdir -p "$out$(dirname ${at})"
        ln -s ${package} $out${at}
      '') links
    )}
  '';
  inside = contents ++ lib.attrValues links ++ [ dockerTools.caCertificates ];
in
dockerTools.streamLayeredImage {
  name = "millrace/${name}";
  tag = tag + variant;
  contents = contents ++ [
    root
    dockerTools.caCertificates
    (sbom { inherit name tag license linked; contents = inside; })
  ];
  # Any user may write there: a platform may choose another one than the image's, and a file system in memory that is
  # mounted there takes the folder's mode and not its owner.
  fakeRootCommands = ''
    mkdir -p tmp ${lib.concatMapStringsSep " " (folder: ".${folder}") folders}
    chmod 1777 tmp
    ${lib.concatLines (
      map (folder: ''
        chown ${toString uid}:${toString uid} .${folder}
        chmod 1777 .${folder}
      '') folders
    )}
  '';
  config = config // {
    User = "${toString uid}:${toString uid}";
    Env = [ "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" ] ++ (config.Env or [ "PATH=/bin" ]);
    Labels = {
      "org.opencontainers.image.title" = title;
      "org.opencontainers.image.version" = tag;
      "org.opencontainers.image.revision" = revision;
      "org.opencontainers.image.source" = source;
      "org.opencontainers.image.licenses" = license;
    };
  };
}
