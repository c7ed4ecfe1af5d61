# The tools in an image without shell or package manager, run by an unprivileged user.
#   docker build -t kv-cache-tester .
#   mkdir -p results      # Docker itself would make it as root
#   docker run --rm --network host --user "$(id -u):$(id -g)" -v "$PWD/results:/results" kv-cache-tester cache_rate_tester --help
# docs/deploy/README.md says more, and what of it is untested.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked \
    && cargo xtask licences /out/licenses \
    && mkdir -p /out/bin /out/results \
    && find target/release -maxdepth 1 -type f -executable -exec install -s -t /out/bin {} +

# glibc of the same Debian release as the build's, libgcc, CA certificates, nothing else.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/bin/ /usr/local/bin/
COPY LICENSE /usr/share/doc/kv-cache-tester/LICENSE
COPY --from=build /out/licenses/ /usr/share/doc/kv-cache-tester/licenses/
COPY --from=build --chown=65532:65532 /out/results /results
# Results, logs and, below it, downloaded tokenizers and their token counts are written here and nowhere else.
WORKDIR /results
ENV HF_HOME=/results/.huggingface XDG_CACHE_HOME=/results/.cache
USER 65532:65532
CMD ["cache_rate_tester", "--help"]
