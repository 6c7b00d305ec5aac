# The builder image, for machines that can pull a base image. (Where none can be pulled: scripts/bootstrap-builder.sh.)
#
#   docker build --file docker/Dockerfile.builder --build-arg BASE_IMAGE=debian@sha256:<64 hex> \
#       [--build-arg SNAPSHOT=<base address of a Debian snapshot>] docker
#   docker push ...; then put name@sha256:<digest> into config/builder-image.env, in a commit of its own.
#
# BASE_IMAGE has to name a Debian image by digest. The default is a placeholder that no engine accepts as a reference,
# because a tag here would let today's base image decide about a release of last year. The digest is found with:
#   docker image inspect --format '{{index .RepoDigests 0}}' debian:bookworm-slim
ARG BASE_IMAGE=debian@sha256:UNFILLED-give-BASE_IMAGE-by-digest
FROM ${BASE_IMAGE}

# A pinned archive of Debian (its base address, to which /debian and /debian-security are added); empty: the base's own.
ARG SNAPSHOT=
ENV LC_ALL=C.UTF-8 TZ=UTC DEBIAN_FRONTEND=noninteractive
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

# Phase one, from the base's own sources: a slim base has no certificates, so a snapshot archive that is reached by
# HTTPS could not be verified if it were the only source.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*

# Phase two, from the pinned archive alone: the tools, from the list that the bootstrap reads, too.
COPY builder-packages.list /tmp/builder-packages.list
RUN if [[ -n "$SNAPSHOT" ]]; then \
        codename=$(. /etc/os-release && echo "$VERSION_CODENAME"); \
        rm -f /etc/apt/sources.list.d/*; \
        key=/usr/share/keyrings/debian-archive-keyring.gpg; \
        printf 'deb [check-valid-until=no signed-by=%s] %s %s main\n' \
            "$key" "$SNAPSHOT/debian" "$codename" \
            "$key" "$SNAPSHOT/debian" "$codename-updates" \
            "$key" "$SNAPSHOT/debian-security" "$codename-security" >/etc/apt/sources.list; \
    fi; \
    apt-get update; \
    apt-get install --yes --no-install-recommends $(grep -vE '^[[:space:]]*(#|$)' /tmp/builder-packages.list); \
    rm -rf /var/lib/apt/lists/* /tmp/builder-packages.list /var/log/apt /var/log/dpkg.log /var/cache/ldconfig/aux-cache

CMD ["/bin/bash"]
