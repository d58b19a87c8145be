# One image for every role: migrate, code server, webserver and daemon.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE batch_assets.toml dagster.yaml ./
COPY batch_assets batch_assets
COPY sql sql
COPY examples examples
RUN python -m venv /opt/batch_assets \
    && /opt/batch_assets/bin/pip install --no-cache-dir .

FROM python:3.12-slim-bookworm
RUN useradd --system --create-home --uid 10001 batch_assets
COPY --from=build /opt/batch_assets /opt/batch_assets
ENV PATH=/opt/batch_assets/bin:$PATH \
    PYTHONUNBUFFERED=1
USER batch_assets
WORKDIR /home/batch_assets
CMD ["batch-assets", "doctor"]
