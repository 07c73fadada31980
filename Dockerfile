# Easel: gateway and engine in one image. The builder runs the same `make build` as everybody.
#   docker build -t easel .                                        for CPUs
#   docker build -t easel:cuda --build-arg LIBTORCH_VARIANT=cuda . for NVIDIA GPUs (3.6 GB of CUDA libraries)

# Debian keeps one version of a package per release, so apt's are not pinned here.
# hadolint global ignore=DL3008

FROM rust:1.95.0-bookworm AS build
ARG LIBTORCH_VARIANT=cpu
# The image's toolchain is the pinned one already; without this rustup would add rustfmt and clippy to it.
ENV RUSTUP_TOOLCHAIN=1.95.0 \
    EASEL_LIBTORCH_VARIANT=${LIBTORCH_VARIANT} \
    XDG_CACHE_HOME=/opt
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-pip \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# A layer of its own: libtorch is fetched again only when its script or the variant changes.
COPY tools/libtorch.py tools/libtorch.py
COPY tools/easel_libtorch tools/easel_libtorch
RUN python3 tools/libtorch.py --verify
COPY . .
# Registry and objects stay in the builder's cache between builds; the binaries find libtorch by their rpath, so the
# libraries keep their path.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=easel-target-${LIBTORCH_VARIANT} \
    make build \
    && mkdir -p /out/usr/local/bin /out/usr/local/share/easel \
    && cp target/release/easel target/release/easel-engine target/release/provider-sim /out/usr/local/bin/ \
    && cp -a models /out/usr/local/share/easel/models \
    && cp LICENSE-MIT LICENSE-APACHE /out/usr/local/share/easel/ \
    && cp -a --parents /opt/easel/libtorch/*/lib /out/

FROM debian:bookworm-slim AS runtime
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 easel \
    && useradd --system --uid 10001 --gid easel --home-dir /var/lib/easel --create-home --shell /usr/sbin/nologin easel
COPY --from=build /out/ /
# Loading the engine fails the build here, not the first request.
RUN easel --version && easel-engine --version
ENV EASEL_SERVER__ADDRESS=0.0.0.0:8080 \
    EASEL_STORAGE__DATA_DIR=/var/lib/easel \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /var/lib/easel
VOLUME /var/lib/easel
EXPOSE 8080
# The process answers, whether or not it has a provider: `/healthz`.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["easel", "healthcheck"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["easel"]
CMD ["serve"]
