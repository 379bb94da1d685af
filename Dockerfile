# Seaworthy in an image without a shell: the program, ONNX Runtime, the settings and one model, on glibc and libstdc++.
#
#   docker build --tag seaworthy .
#   docker run --rm --publish 8080:8080 seaworthy
#
# `make image` does the first, and tries the result. Works with the classic builder and with BuildKit, on amd64 and arm64.
# The same inputs give the same files: docs/deploy.md says what the inputs are.

# As in rust-toolchain.toml.
ARG RUST_VERSION=1.95.0

FROM python:3-slim-bookworm AS onnxruntime
WORKDIR /src
COPY scripts/fetch_onnxruntime.py scripts/onnxruntime.txt scripts/
RUN python3 scripts/fetch_onnxruntime.py --output /onnxruntime \
    && find /onnxruntime -exec touch --date=@0 {} +

# What is below the program, in place of a base image: less to trust, and only what is used. Must not have an older glibc than the stage that builds it: both are Debian 12.
FROM debian:bookworm-slim AS root
COPY scripts/image_root.sh scripts/
RUN ["bash", "scripts/image_root.sh", "/root-files"]

FROM rust:${RUST_VERSION}-slim-bookworm AS dependencies
WORKDIR /src
ENV CARGO_INCREMENTAL=0 CARGO_TERM_COLOR=never
# The dependencies, in a layer that stays until Cargo.toml or Cargo.lock changes: an empty program stands for ours, and empty
# files for the benchmarks that Cargo.toml names, which are not built here.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
RUN mkdir src benches \
    && sed -n '/^\[\[bench\]\]/,/^$/s/^name = "\(.*\)"/benches\/\1.rs/p' Cargo.toml | xargs --no-run-if-empty touch \
    && echo 'fn main() {}' >src/main.rs \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src
# The licences of what is linked, for the stage below that has Python.
RUN mkdir --parents /notices/sources src \
    && touch src/main.rs src/lib.rs \
    && cargo metadata --locked --format-version=1 --filter-platform="$(rustc -vV | sed -n 's/^host: //p')" >/notices/metadata.json \
    && cd "$CARGO_HOME"/registry/src/* \
    && find . -maxdepth 2 -type f -regextype egrep -iregex '.*/[^/]*(licen[cs]e|copying|copyright|notice)[^/]*' \
       -exec cp --parents --target-directory=/notices/sources {} +

FROM dependencies AS build
# Cargo compares times, and the files of the checkout may be older than that build.
COPY config config
COPY src src
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked \
    && touch --date=@0 target/release/seaworthy

# The settings, the licences and the model, with times that no checkout changes.
FROM python:3-slim-bookworm AS data
WORKDIR /src
COPY LICENSE LICENSE-MIT LICENSE-APACHE ./
COPY scripts/notices.py scripts/
COPY src/http/static/swagger-ui src/http/static/swagger-ui
COPY --from=dependencies /notices /notices
RUN python3 scripts/notices.py --metadata /notices/metadata.json --sources /notices/sources --output /data/licences/third-party.txt \
    && cp LICENSE* /data/licences/
# In the image a model needs no name while it is alone: it is the default, whether it came with the image or from somebody else.
COPY config /data/config
RUN sed -i 's/^default = ".*"$/default = ""/' /data/config/default.toml && grep -q '^default = ""$' /data/config/default.toml
# The model that is baked in: <name>/<version>.
ARG MODEL=house-prices/3.2.0
COPY models/${MODEL} /data/models/${MODEL}
RUN find /data -exec touch --date=@0 {} +

FROM scratch AS program
WORKDIR /app
COPY --from=root /root-files/ /
COPY --from=onnxruntime /onnxruntime/libonnxruntime.so /opt/seaworthy/
COPY --from=onnxruntime /onnxruntime/LICENSE /onnxruntime/ThirdPartyNotices.txt /opt/seaworthy/licences/onnxruntime/
COPY --from=data /data/licences/ /opt/seaworthy/licences/
COPY --from=data /data/config/ /opt/seaworthy/config/
COPY --from=build /src/target/release/seaworthy /opt/seaworthy/
ENV PATH=/opt/seaworthy \
    ORT_DISABLE_TELEMETRY=1 \
    MIMALLOC_ALLOW_THP=0 \
    MIMALLOC_PURGE_DELAY=10
USER 65532:65532

# The model reproduces its golden rows here, or there is no image.
FROM program AS proof
COPY --from=data /data/models/ /opt/seaworthy/models/
RUN ["seaworthy", "check"]

FROM program
# From the stage of the proof, so that no builder leaves that out.
COPY --from=proof /opt/seaworthy/models/ /opt/seaworthy/models/
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["/opt/seaworthy/seaworthy", "healthcheck"]
ENTRYPOINT ["/opt/seaworthy/seaworthy"]
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
