#!/bin/sh
# Fetches onnxruntime-web from npm into vendor/: this version, with this checksum, and of it what the page needs.
set -eu
cd "$(dirname "$0")"
version=1.30.0
sha256=d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm pack --silent --pack-destination "$work" "onnxruntime-web@$version" >/dev/null
archive="$work/onnxruntime-web-$version.tgz"
if command -v sha256sum >/dev/null; then found=$(sha256sum "$archive"); else found=$(shasum -a 256 "$archive"); fi
if [ "${found%% *}" != "$sha256" ]; then
    echo "onnxruntime-web $version has another checksum than expected: nothing was installed" >&2
    exit 1
fi
tar -xzf "$archive" -C "$work"
mkdir -p vendor
cp "$work/package/dist/ort.wasm.bundle.min.mjs" "$work/package/dist/ort-wasm-simd-threaded.wasm" vendor/
echo "onnxruntime-web $version is in $(pwd)/vendor"
