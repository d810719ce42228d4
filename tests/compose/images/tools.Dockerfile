# Stand-ins for the images of Prometheus, the database's exporter, PgBouncer and HAProxy: Debian's own packages of the
# same programs, with the entry points that docker-compose.yml relies on.
ARG BASE_IMAGE

FROM ${BASE_IMAGE} AS tools
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        prometheus prometheus-postgres-exporter pgbouncer haproxy \
    && rm -rf /var/lib/apt/lists/*

FROM tools AS prometheus
ENTRYPOINT ["prometheus"]

FROM tools AS postgres-exporter
ENTRYPOINT ["prometheus-postgres-exporter"]

FROM tools AS pgbouncer
FROM tools AS haproxy
