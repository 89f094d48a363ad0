# The host's shared libraries as store paths: so a closure is whole, and Nix sees by itself what an image needs.
{ system, lib, host, build }:
let
  # What Debian has in versions and a store path has not.
  storable = lib.replaceStrings [ ":" "~" ] [ "." "." ];
  library =
    pname: files:
    build.raw {
      inherit pname;
      version = storable host.libraries.${pname};
      passAsFile = [ "buildCommand" ];
      buildCommand = ''
        mkdir -p $out/lib
        for file in ${toString files}; do
          cp -L ${host.libraryPath}/$file $out/lib/$file
          chmod 555 $out/lib/$file
        done
      '';
    };
  loader =
    {
      x86_64-linux = "ld-linux-x86-64.so.2";
      aarch64-linux = "ld-linux-aarch64.so.1";
    }
    .${system};
in
rec {
  inherit loader storable;
  glibc = library "glibc" [
    loader
    "libc.so.6"
    "libm.so.6"
    "libdl.so.2"
    "libpthread.so.0"
    "librt.so.1"
    "libresolv.so.2"
    "libnss_dns.so.2"
    "libnss_files.so.2"
  ];
  gcc = library "gcc" [ "libgcc_s.so.1" "libstdc++.so.6" ];
  openssl = library "openssl" [ "libssl.so.3" "libcrypto.so.3" ];
  zlib = library "zlib" [ "libz.so.1" ];

  # What patchelf is told, so that a program of the host loads from store paths alone.
  rpath = lib.makeLibraryPath;
}
