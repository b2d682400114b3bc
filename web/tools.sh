# Sourced by web/build and tests/web/run: makes sure of rustup's target for WebAssembly and of wasm-bindgen in the version
# of Cargo.lock, and says where that is: $bindgen. WASM_BINDGEN may name one. Run from the root of the repository.
target=wasm32-unknown-unknown
if ! ls "$(rustc --print sysroot)/lib/rustlib/$target" >/dev/null 2>&1; then
  rustup target add "$target"
fi
version="$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)"
for bindgen in "${WASM_BINDGEN:-wasm-bindgen}" target/tools/bin/wasm-bindgen; do
  [ "$("$bindgen" --version 2>/dev/null)" = "wasm-bindgen $version" ] && break
done
if [ "$("$bindgen" --version 2>/dev/null)" != "wasm-bindgen $version" ]; then
  # Its own Cargo.lock does not build.
  cargo install --quiet wasm-bindgen-cli --version "$version" --root target/tools
fi
