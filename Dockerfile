# Seaworthy in an image without a shell: the program, ONNX Runtime, config/ and models/.
#
#   docker build --tag seaworthy .
#   docker run --rm --publish 8080:8080 seaworthy
#
# `make image` does the first, and tries the result. Works with the classic builder and with BuildKit.

# As in rust-toolchain.toml.
ARG RUST_VERSION=1.95.0

FROM python:3-slim-bookworm AS onnxruntime
WORKDIR /src
COPY scripts/fetch_onnxruntime.py scripts/onnxruntime.txt scripts/
RUN ["python3", "scripts/fetch_onnxruntime.py", "--output", "/onnxruntime"]

# The program must not need a newer glibc than the last stage has: both are Debian 12.
FROM rust:${RUST_VERSION}-slim-bookworm AS build
WORKDIR /src
ENV CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
# The dependencies, in a layer that stays until Cargo.toml or Cargo.lock changes: an empty program stands for ours.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src
# Cargo compares times, and the files of the checkout may be older than that build.
COPY config config
COPY src src
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked

FROM gcr.io/distroless/cc-debian12:nonroot
WORKDIR /app
COPY --from=onnxruntime /onnxruntime/libonnxruntime.so /onnxruntime/LICENSE /onnxruntime/ThirdPartyNotices.txt /app/onnxruntime/
COPY --from=build /src/target/release/seaworthy /app/seaworthy
COPY config /app/config
COPY models /app/models
ENV PATH=/app:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    ORT_DYLIB_PATH=/app/onnxruntime/libonnxruntime.so \
    ORT_DISABLE_TELEMETRY=1
# The models reproduce their golden rows here, or there is no image.
RUN ["/app/seaworthy", "check", "models"]

EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["/app/seaworthy", "healthcheck"]
ENTRYPOINT ["/app/seaworthy"]
CMD ["serve"]

# Last, since they change with every build.
ARG VERSION=0.1.0
ARG REVISION=unknown
# Where the source lives, for registries that link to it.
ARG SOURCE=
LABEL org.opencontainers.image.title="seaworthy" \
      org.opencontainers.image.description="Serves a trained model exactly as it was trained" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.source="${SOURCE}"
