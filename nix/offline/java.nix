# Java of the host: a JDK is its folder, and a JRE the modules of it that jlink takes, loading from store paths alone.
{ lib, host, build, libraries }:
let
  jdk =
    release: found:
    build.raw {
      pname = "openjdk-headless";
      version = found.version;
      meta.mainProgram = "java";
      buildCommand = ''
        mkdir -p $out/bin $out/lib/openjdk
        ln -s ${found.home}/bin/* $out/bin/
        # A later JDK may have none, and makes a JRE of itself.
        if [ -d ${found.home}/jmods ]; then ln -s ${found.home}/jmods $out/lib/openjdk/jmods; fi
      '';
    };
  missing = release: throw "there is no JDK ${release} in nix/offline/host.json: install one and run `scripts/nix setup` again";
in
{
  jdk17_headless = if host.java ? "17" then jdk "17" host.java."17" else missing "17";
  # 21 or a later one: what wants it runs on any.
  jdk21_headless = if host.java ? "21" then jdk "21" host.java."21" else missing "21 or later";

  jre_minimal = lib.makeOverridable (
    {
      jdk ? missing "named: override it",
      jdkOnBuild ? jdk,
      modules ? [ "java.base" ],
    }:
    build.raw {
      pname = "${jdk.pname}-minimal-jre";
      inherit (jdk) version;
      meta.mainProgram = "java";
      passAsFile = [ "buildCommand" ];
      buildCommand = ''
        modules=${jdk}/lib/openjdk/jmods
        [ -d $modules ] || modules=
        ${jdkOnBuild}/bin/jlink ''${modules:+--module-path $modules} --add-modules ${lib.concatStringsSep "," modules} --output $out
        # What a headless JDK has not: windows, sound, fonts and pictures, with the libraries of the system that they want.
        for library in awt_xawt fontmanager javajpeg jawt jsound lcms splashscreen; do rm -f $out/lib/lib$library.so; done
        path=${libraries.rpath [ libraries.glibc libraries.gcc libraries.zlib ]}:$out/lib:$out/lib/server
        find $out -type f -print0 | while IFS= read -r -d "" file; do
          [ "$(head -c 4 "$file" | tail -c 3)" = ELF ] || continue
          strip --strip-unneeded "$file"
          if patchelf --print-interpreter "$file" > /dev/null 2>&1; then
            patchelf --set-interpreter ${libraries.glibc}/lib/${libraries.loader} "$file"
          fi
          patchelf --force-rpath --set-rpath "$path" "$file"
          patchelf --shrink-rpath "$file"
          for library in $(patchelf --print-needed "$file"); do
            found=
            for folder in $(patchelf --print-rpath "$file" | tr : ' ') ${libraries.glibc}/lib $out/lib $out/lib/server; do
              [ ! -e "$folder/$library" ] || found=1
            done
            [ -n "$found" ] || { echo "$file needs $library, which is in no store path" >&2; exit 1; }
          done
        done
      '';
    }
  ) { };
}
