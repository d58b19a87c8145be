# One image for every role: migrate, code server, webserver, daemon, API and the container of a run.
#
#   docker build -t batch_assets .
#
# Python 3.11 is the version that the lock file was made for.
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/batch_assets
ENV PATH=/opt/batch_assets/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
# First what seldom changes, so that a change of the code does not install everything again.
COPY deploy/compose/requirements.lock .
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE batch_assets.toml dagster.yaml workspace.yaml ./
COPY batch_assets batch_assets
COPY sql sql
COPY examples examples
RUN pip install --no-deps .

FROM python:3.11-slim-bookworm
# The state folder belongs to the user, so that a named volume mounted there does as well.
RUN useradd --system --no-create-home --home-dir /var/lib/batch_assets --uid 10001 batch_assets \
    && install -d -o batch_assets -m 0750 /var/lib/batch_assets /var/lib/batch_assets/dagster
COPY --from=build /opt/batch_assets /opt/batch_assets
# Nothing is written outside the state folder and /tmp: the root file system may be read-only.
ENV PATH=/opt/batch_assets/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    BATCH_ASSETS_HOME=/var/lib/batch_assets \
    DAGSTER_HOME=/var/lib/batch_assets/dagster
USER 10001
WORKDIR /var/lib/batch_assets
CMD ["batch-assets", "doctor"]
