# A JRE with the modules that a program uses, and no more.
{ jre_minimal }:
{ jdk, modules }:
jre_minimal.override {
  inherit jdk modules;
  jdkOnBuild = jdk;
}
