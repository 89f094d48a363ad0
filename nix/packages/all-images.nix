# All images by their names: each file is a program that writes an archive for `docker load`.
{ images, lib, runCommand }:
runCommand "millrace-images" { } ''
  mkdir $out
  ${lib.concatLines (lib.mapAttrsToList (name: image: "ln -s ${image} $out/${name}") images)}
''
