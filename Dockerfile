# `bertie serve` on CPUs, without PyTorch: docker build -t bertie . && docker run -p 8080:8080 -v $PWD/models:/models bertie /models/minilm
FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev python3-pip python3-venv
WORKDIR /source
COPY . .
# hf-xet only speeds up downloads of the hub, and takes 11 MB
RUN python3 -m pip wheel --no-deps --wheel-dir /wheels . \
 && python3 -m venv /opt/bertie \
 && /opt/bertie/bin/pip install --no-cache-dir --no-compile -c constraints.txt "$(ls /wheels/*.whl)[serve]" \
 && /opt/bertie/bin/pip uninstall -y hf-xet setuptools pip

FROM debian:12-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home bertie
COPY --from=build /opt/bertie /opt/bertie
ENV PATH=/opt/bertie/bin:$PATH
# an answer: the image is known to work, and holds the bytecode of what a server imports, of which it may write none
RUN bertie serve --help > /dev/null \
 && python3 -c "import bertie.serving.server_process, bertie; print(bertie.pipeline('fill-mask')('She opened the [MASK].'))"
USER 10001
EXPOSE 8080
# above --timeout, so that what was accepted is answered: docker stop --time 70
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --start-period=20s \
  CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=5)"]
ENTRYPOINT ["bertie", "serve", "--host", "0.0.0.0", "--port", "8080"]
CMD ["bertie-mini-uncased"]
