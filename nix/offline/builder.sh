# The builder of every derivation of the set: stdenv's phases, in their order, each with its hooks.
set -eu -o pipefail

runHook() {
    local text=${!1-}
    if [ -n "$text" ]; then eval "$text"; fi
}

# phase NAME: the derivation's own text, or the function of that name.
phase() {
    local text=${!1-}
    printf '%s\n' "Running phase: $1"
    if [ -n "$text" ]; then eval "$text"; else "$1"; fi
}

unpackPhase() {
    runHook preUnpack
    if [ -d "$src" ]; then
        sourceRoot=${sourceRoot:-source}
        cp -r --no-preserve=ownership,timestamps "$src" source
        chmod -R u+w source
    else
        tar -xf "$src"
        if [ -z "${sourceRoot-}" ]; then
            local found=(*/)
            [ ${#found[@]} = 1 ] || { echo "unpacker: one folder expected, not ${found[*]}; set sourceRoot" >&2; exit 1; }
            sourceRoot=${found[0]%/}
        fi
    fi
    runHook postUnpack
    cd "$sourceRoot"
}

patchPhase() {
    runHook prePatch
    local patch
    for patch in ${patches-}; do patch -p1 <"$patch"; done
    runHook postPatch
}

configurePhase() {
    runHook preConfigure
    runHook postConfigure
}

buildPhase() {
    runHook preBuild
    if [ -e Makefile ]; then
        # shellcheck disable=SC2086 # a list of words
        make -j"$NIX_BUILD_CORES" ${makeFlags-}
    fi
    runHook postBuild
}

checkPhase() {
    runHook preCheck
    runHook postCheck
}

installPhase() {
    runHook preInstall
    runHook postInstall
}

installCheckPhase() { :; }

fixupPhase() {
    runHook preFixup
    runHook postFixup
}

export PATH="$hostPath" HOME="$NIX_BUILD_TOP/home" SOURCE_DATE_EPOCH=1 TZ=UTC LC_ALL=C
umask 022
mkdir -p "$HOME"
for input in ${nativeBuildInputs-} ${buildInputs-}; do
    if [ -d "$input/bin" ]; then PATH=$input/bin:$PATH; fi
    # shellcheck disable=SC1091 # a package may bring one
    if [ -e "$input/nix-support/setup-hook" ]; then . "$input/nix-support/setup-hook"; fi
done

cd "$NIX_BUILD_TOP"
if [ -n "${buildCommandPath-}" ]; then
    # shellcheck disable=SC1090
    . "$buildCommandPath"
elif [ -n "${buildCommand-}" ]; then
    eval "$buildCommand"
else
    if [ -z "${dontUnpack-}" ]; then phase unpackPhase; fi
    phase patchPhase
    if [ -z "${dontConfigure-}" ]; then phase configurePhase; fi
    if [ -z "${dontBuild-}" ]; then phase buildPhase; fi
    if [ -n "${doCheck-}" ]; then phase checkPhase; fi
    phase installPhase
    if [ -z "${dontFixup-}" ]; then phase fixupPhase; fi
    if [ -n "${doInstallCheck-}" ]; then phase installCheckPhase; fi
fi
