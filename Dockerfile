# Outrigger as an image: one static binary and nothing else. docs/OPERATIONS.md says how to use it.
#
#   docker build -t outrigger .
#
# Needs no BuildKit. Behind a private CA or a registry of your own, give an image of Rust that knows it:
#   docker build -t outrigger --build-arg RUST_IMAGE=… .

ARG RUST_IMAGE=rust:1.95-bookworm

FROM ${RUST_IMAGE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /src
COPY . .
# Static, SQLite's C included, so that the binary runs in every image of the same CPU, whatever its libc is or whether it
# has one. That needs a named target: without one the flag would reach build scripts and macros, too. A static glibc
# since 2.34 reads /etc/hosts and asks DNS by itself, so names of upstreams are resolved without its shared libraries.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release --bin outrigger --target "$target" \
    && mkdir -p /out/data \
    && cp "target/$target/release/outrigger" /out/outrigger \
    && { ldd /out/outrigger 2>&1 || true; } | grep -E 'statically linked|not a dynamic executable' \
    && /out/outrigger --version

FROM scratch
COPY --from=build /out/outrigger /outrigger
# Owned by the user, and so is a new volume that is mounted here.
COPY --from=build --chown=10001:10001 /out/data /data
USER 10001:10001
# The data directory is .outrigger in the working directory, and outrigger.toml is looked for here. It is not named as
# store.dir, for one that is named must be writable: this one gives way to memory under a read-only root.
WORKDIR /data
EXPOSE 8080 9900
# Asks the agent's health page: 503 until the app is ready. Once a minute would do; this is soon enough to be of use at a
# deployment, and costs a few milliseconds of CPU.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["/outrigger", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/outrigger"]
# Without arguments it says what is missing, or runs before OUTRIGGER__APP__UPSTREAM.
CMD ["run"]
