# Of busybox the named applets alone: an image has no package manager, and nothing for accounts, disks or modules.
{ busybox, lib, runCommand }:
names:
runCommand "applets" { } ''
  mkdir -p $out/bin $out/libexec
  cp ${busybox}/bin/busybox $out/libexec/busybox
  for applet in ${lib.escapeShellArgs names}; do
    [ -e ${busybox}/bin/"$applet" ] || { echo "busybox has no applet $applet" >&2; exit 1; }
    ln -s ../libexec/busybox "$out/bin/$applet"
  done
''
