# One download into $out: from what an earlier one has left, else by the registry's client. Nix compares the hash.
set -eu -o pipefail
export PATH="$hostPath" HOME="${OFFLINE_HOME:-$NIX_BUILD_TOP}" SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
cd "$NIX_BUILD_TOP"

# kept DIR FILE: a file of that name below the folder.
kept() {
    if [ -d "$1" ]; then find "$1" -name '*.tmp' -prune -o -name "$2" -type f -print -quit; fi
}

case $kind in
maven)
    found=$(kept "${MILLRACE_CACHE:-/nonexistent}/downloads" "$file")
    if [ -z "$found" ]; then
        # A repository of its own: what is copied is what was fetched just now.
        mvn -q -B -Dmaven.repo.local="$NIX_BUILD_TOP/repository" \
            org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
            -Dartifact="$coordinates" -DoutputDirectory="$NIX_BUILD_TOP/copied" -Dmdep.useBaseVersion=true
        found=copied/$file
    fi
    ;;
pypi | wheel)
    found=$(kept "${MILLRACE_CACHE:-/nonexistent}/downloads" "$file")
    if [ -z "$found" ]; then
        form=--no-binary
        if [ "$kind" = wheel ]; then form=--only-binary; fi
        python3 -m pip download -q --no-deps $form :all: --dest downloaded "$pname==$version"
        found=downloaded/$file
    fi
    ;;
crate)
    export CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}"
    found=$(kept "$CARGO_HOME/registry/cache" "$crate-$version.crate")
    if [ -z "$found" ]; then
        mkdir -p wanted/src
        : >wanted/src/lib.rs
        cat >wanted/Cargo.toml <<END
[package]
name = "wanted"
version = "0.0.0"
edition = "2021"

[dependencies]
fetched = { package = "$crate", version = "=$version", default-features = false }
END
        (cd wanted && PATH="${cargo%/*}:$PATH" cargo fetch --quiet)
        found=$(kept "$CARGO_HOME/registry/cache" "$crate-$version.crate")
    fi
    ;;
go)
    cp -r "$src" source
    export GOPATH="$NIX_BUILD_TOP/go" GOCACHE="$NIX_BUILD_TOP/go-cache" GOTOOLCHAIN=auto
    # What the user's module cache has is not fetched again.
    if [ -d "$HOME/go/pkg/mod/cache/download" ]; then
        GOPROXY=file://$HOME/go/pkg/mod/cache/download,$("$go" env GOPROXY)
        export GOPROXY
    fi
    (cd source && "$go" mod download)
    rm -rf "$GOPATH/pkg/mod/cache/download/sumdb"
    cp -r "$GOPATH/pkg/mod/cache/download" "$out"
    chmod -R u+w "$GOPATH"
    exit
    ;;
esac
[ -n "$found" ] || { echo "$kind: nothing was fetched" >&2; exit 1; }
cp "$found" "$out"
