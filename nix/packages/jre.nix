# A JRE with the modules that a program uses, and no more.
{ jre_minimal }:
{ jdk, modules }:
let
  linked = jre_minimal.override {
    inherit jdk modules;
    jdkOnBuild = jdk;
  };
in
linked.overrideAttrs (old: {
  # Windows, sound, fonts and pictures, with the libraries of the system that they want: a server has no use for them.
  postBuild = (old.postBuild or "") + ''
    for library in awt_xawt fontmanager javajpeg jawt jsound lcms splashscreen; do rm -f $out/lib/lib$library.so; done
  '';
})
