# Everything that must hold before a change is published; writes nothing.
verify:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo test
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# The same against real processes and other people's clients (needs Debian's apt-get and root for the clients it installs).
acceptance:
    .ci/acceptance/run

# Brings the sources into the house's form.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all
