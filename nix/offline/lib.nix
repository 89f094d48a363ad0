# nixpkgs' lib, as far as the flake uses it. A name is here only with nixpkgs' meaning.
let
  b = builtins;
in
rec {
  inherit (b)
    any
    attrNames
    attrValues
    concatMap
    concatStringsSep
    elem
    filter
    functionArgs
    genList
    hasAttr
    head
    isAttrs
    isFunction
    isList
    isString
    length
    listToAttrs
    mapAttrs
    pathExists
    readFile
    replaceStrings
    stringLength
    substring
    tail
    ;
  id = x: x;
  mapAttrs' = f: set: listToAttrs (map (name: f name set.${name}) (attrNames set));
  nameValuePair = name: value: { inherit name value; };
  genAttrs = names: f: listToAttrs (map (name: nameValuePair name (f name)) names);
  mapAttrsToList = f: set: map (name: f name set.${name}) (attrNames set);
  filterAttrs =
    keep: set: listToAttrs (concatMap (name: optional (keep name set.${name}) (nameValuePair name set.${name})) (attrNames set));
  optional = c: x: if c then [ x ] else [ ];
  optionals = c: xs: if c then xs else [ ];
  optionalString = c: s: if c then s else "";
  optionalAttrs = c: a: if c then a else { };
  hasPrefix = p: s: substring 0 (stringLength p) s == p;
  hasSuffix =
    p: s:
    let
      from = stringLength s - stringLength p;
    in
    from >= 0 && substring from (-1) s == p;
  hasInfix = part: s: b.match ".*${escapeRegex part}.*" s != null;
  removePrefix = p: s: if hasPrefix p s then substring (stringLength p) (-1) s else s;
  removeSuffix = p: s: if hasSuffix p s then substring 0 (stringLength s - stringLength p) s else s;
  splitString = sep: s: filter isString (b.split (escapeRegex sep) s);
  escapeRegex =
    let
      special = stringToCharacters "\\[{()^$?*+|.";
    in
    replaceStrings special (map (c: "\\" + c) special);
  concatStrings = concatStringsSep "";
  concatLines = concatMapStrings (line: line + "\n");
  concatMapStrings = f: xs: concatStrings (map f xs);
  concatMapStringsSep = sep: f: xs: concatStringsSep sep (map f xs);
  makeBinPath = paths: concatMapStringsSep ":" (p: "${p}/bin") paths;
  makeLibraryPath = paths: concatMapStringsSep ":" (p: "${p}/lib") paths;
  last = xs: b.elemAt xs (length xs - 1);
  init = xs: genList (b.elemAt xs) (length xs - 1);
  toList = x: if isList x then x else [ x ];
  toLower = replaceStrings (stringToCharacters "ABCDEFGHIJKLMNOPQRSTUVWXYZ") (stringToCharacters "abcdefghijklmnopqrstuvwxyz");
  stringToCharacters = s: genList (i: substring i 1 s) (stringLength s);
  escapeShellArg =
    arg:
    let
      s = toString arg;
    in
    if b.match "[[:alnum:],._+:@%/-]+" s == null then "'" + replaceStrings [ "'" ] [ "'\\''" ] s + "'" else s;
  escapeShellArgs = concatMapStringsSep " " escapeShellArg;
  cleanSourceWith =
    {
      src,
      filter ? (_: _: true),
      name ? "source",
    }:
    b.path {
      path = src;
      inherit filter name;
    };
  getExe =
    p:
    "${p}/bin/${
      p.meta.mainProgram or (throw "getExe: ${p.name} has no meta.mainProgram; nixpkgs guesses and warns")
    }";
  getExe' = p: name: "${p}/bin/${name}";
  fix =
    f:
    let
      x = f x;
    in
    x;
  callPackageWith =
    scope: f: args:
    let
      g = if isFunction f then f else import f;
      wanted = functionArgs g;
      missing = filter (name: !wanted.${name} && !(hasAttr name scope) && !(hasAttr name args)) (attrNames wanted);
    in
    if missing != [ ] then
      throw "callPackageWith: the package set has no ${concatStringsSep ", " missing}"
    else
      makeOverridable g (b.intersectAttrs wanted scope // args);
  makeOverridable =
    f: args:
    let
      result = f args;
    in
    if isAttrs result then
      result // { override = more: makeOverridable f (args // (if isFunction more then more args else more)); }
    else
      result;
  licenses = mapAttrs (shortName: spdxId: { inherit shortName spdxId; }) {
    asl20 = "Apache-2.0";
    mit = "MIT";
  };
  platforms.linux = [
    "x86_64-linux"
    "aarch64-linux"
  ];
}
