# Of busybox the named applets alone: an image has no package manager, and nothing for accounts, disks or modules.
{ busybox, lib, runCommand }:
names:
runCommand "applets" { disallowedReferences = [ busybox ]; } ''
  mkdir -p $out/bin $out/libexec
  # The program may name its own package, for a script of udhcpc: that would bring all of its applets.
  hash=$(basename ${busybox} | cut -d - -f 1)
  sed "s/$hash/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee/g" ${busybox}/bin/busybox > $out/libexec/busybox
  chmod 555 $out/libexec/busybox
  for applet in ${lib.escapeShellArgs names}; do
    [ -e ${busybox}/bin/"$applet" ] || { echo "busybox has no applet $applet" >&2; exit 1; }
    ln -s ../libexec/busybox "$out/bin/$applet"
  done
''
