# The builder image, from a base image by digest and packages of one moment. scripts/make-builder-image calls this and
# makes the result canonical; the master has that done for a commit whose config/builder-image.env says `docker/`.
#
# Rules:
# - The base is a digest. A tag is what somebody pushed last; an update of this line is a reviewed change (docs/adr/0019).
# - Certificates come from a stage of their own: the final image holds no package that the pinned archive did not give.
# - What a package's script writes of the moment or of the machine is removed here; dates and logs by docker-archive.
#
# debian:trixie-slim of 2026-05-08; derivative-maker wants a builder of the suite that it builds.
ARG BASE_IMAGE=debian:trixie-slim@sha256:cedb1ef40439206b673ee8b33a46a03a0c9fa90bf3732f54704f99cb061d2c5a

# Phase one, from the base's own sources: a slim base has no certificates, so an archive that is reached by HTTPS could
# not be verified if it were the only source. A base that has them needs no source at all.
FROM ${BASE_IMAGE} AS certificates
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
RUN if [[ ! -s /etc/ssl/certs/ca-certificates.crt ]]; then \
        apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends ca-certificates; \
    fi

# Phase two, from the pinned archive alone.
FROM ${BASE_IMAGE}
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# Addresses of the pinned archive, such as <archive>/debian/20260720T000000Z; scripts/make-builder-image makes them from
# config/snapshot-pin.env.
ARG DEBIAN
ARG DEBIAN_SECURITY
# The lists of packages that go in.
ARG LISTS="builder-packages.list derivative-maker-packages.list"
# Of useradd and of package scripts that keep to it: the date of the image, which docker-archive gives to all files too.
ARG SOURCE_DATE_EPOCH=1700000000
COPY --from=certificates /etc/ssl/certs/ca-certificates.crt /tmp/silvermetal/certificates.crt
COPY *.list /tmp/silvermetal/
RUN [[ -n "$DEBIAN" && -n "$DEBIAN_SECURITY" ]] \
        || { echo "DEBIAN, DEBIAN_SECURITY: expected the pinned archive's addresses, got nothing; call scripts/make-builder-image" >&2; exit 1; }; \
    export LC_ALL=C.UTF-8 TZ=UTC DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH; \
    umask 022; \
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME"); \
    rm -rf /etc/apt/sources.list.d; mkdir /etc/apt/sources.list.d; \
    options='[check-valid-until=no signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'; \
    printf 'deb %s %s %s main\n' "$options" "$DEBIAN" "$codename" "$options" "$DEBIAN" "$codename-updates" \
        "$options" "$DEBIAN_SECURITY" "$codename-security" >/etc/apt/sources.list; \
    printf '%s\n' 'path-exclude=/usr/share/man/*' 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/locale/*' \
        'path-exclude=/usr/share/info/*' >/etc/dpkg/dpkg.cfg.d/silvermetal; \
    apt=(apt-get -o Acquire::https::CaInfo=/tmp/silvermetal/certificates.crt -o Acquire::Retries=3 -o Dpkg::Use-Pty=0); \
    "${apt[@]}" update; \
    "${apt[@]}" install --yes --no-install-recommends passwd; \
    # The ids that derivative-maker expects of its package cache and of the user that builds.
    groupadd --system --gid 102 approx; \
    useradd --system --uid 101 --gid 102 --no-create-home --home-dir /var/lib/approx --shell /usr/sbin/nologin approx; \
    packages=$(cd /tmp/silvermetal && grep -hvE '^[[:space:]]*(#|$)' $LISTS); \
    "${apt[@]}" install --yes --no-install-recommends $packages; \
    useradd --create-home --uid 1000 --shell /bin/bash user; \
    mkdir -p /etc/sudoers.d; \
    echo 'user ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/silvermetal; \
    chmod 440 /etc/sudoers.d/silvermetal; \
    apt-get clean; \
    rm -rf /tmp/silvermetal /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/machine-id \
        /var/lib/dbus/machine-id /var/lib/systemd/random-seed /var/lib/dpkg/*-old /var/cache/debconf/*-old

CMD ["/bin/bash"]
