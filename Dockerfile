# To pin the base image: docker buildx imagetools inspect python:3.12-slim
# and write python:3.12-slim@sha256:<digest> in both FROM lines.
FROM python:3.12-slim AS packages
# requirements-models.lock adds what the bundled models import, requirements-ner.lock also spaCy.
ARG LOCK=requirements-models.lock
COPY ${LOCK} /requirements.lock
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check \
      --only-binary :all: --require-hashes -r /requirements.lock

FROM python:3.12-slim
# tini forwards signals and reaps what a killed worker leaves behind.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /aid_app
COPY --from=packages /opt/venv /opt/venv
COPY app_ver.py run_gateway.py config_gateway.txt ./
COPY basic_inference_server basic_inference_server
COPY endpoints endpoints

# The code stays root's: the gateway can write its cache and nothing else, so compile it here.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    AID_APP_DOCKER=Yes
RUN python -m compileall -q . \
 && useradd --uid 10001 --user-group --no-create-home --home-dir /aid_app gateway \
 && install -d -o 10001 -g 10001 _cache
USER 10001:10001
VOLUME /aid_app/_cache

EXPOSE 5002-5022
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:5002/v1/live', timeout=4)"]
ENTRYPOINT ["/usr/bin/tini", "--"]
CMD ["python", "run_gateway.py"]
