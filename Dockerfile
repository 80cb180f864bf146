# One image, four processes: the command says which (api, rpc, worker, housekeeper).
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/ops-core
COPY locks/run.txt locks/run.txt
RUN /opt/ops-core/bin/pip install --no-cache-dir --require-hashes -r locks/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY agentkit agentkit
COPY ops_core ops_core
COPY alembic alembic
RUN /opt/ops-core/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
# TLS trust comes from the operating system, not from a Python package.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /home/ops ops
COPY --from=build /opt/ops-core /opt/ops-core
ENV PATH=/opt/ops-core/bin:$PATH PYTHONUNBUFFERED=1 OPS_CORE_LOG_JSON=true
USER ops
WORKDIR /home/ops
EXPOSE 8000 50051
# Drains on SIGTERM; see OPS_CORE_DRAIN_SECONDS.
STOPSIGNAL SIGTERM
ENTRYPOINT ["ops-core"]
CMD ["up"]
