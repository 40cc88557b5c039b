# The gateway alone; php-fpm is another container. See docker-compose.yml.
#
#   docker build -t wsgate .
#   docker run -v ./wsgate.yaml:/etc/wsgate/wsgate.yaml:ro -p 8080:8080 wsgate

FROM python:3.12-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/wsgate
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY fastcgi ./fastcgi
COPY gateway ./gateway
RUN PIP_CONSTRAINT=/src/constraints.txt PIP_BUILD_CONSTRAINT=/src/constraints.txt \
    /opt/wsgate/bin/pip install --no-cache-dir ".[redis,nats,postgres,memcached]"

FROM python:3.12-slim-bookworm
RUN useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin wsgate \
 && install -d -o wsgate -g wsgate /run/wsgate
COPY --from=build /opt/wsgate /opt/wsgate
ENV PATH=/opt/wsgate/bin:$PATH PYTHONUNBUFFERED=1
USER wsgate
EXPOSE 8080
# SIGTERM drains; give it more time than shutdown.timeout (docker stop --time 45).
STOPSIGNAL SIGTERM
# No proxy: Docker sets http_proxy in containers where its user has one.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["python", "-c", \
    "import urllib.request as r; r.build_opener(r.ProxyHandler({})).open('http://127.0.0.1:8081/health/ready', timeout=2)"]
ENTRYPOINT ["wsgate"]
CMD ["serve", "-c", "/etc/wsgate/wsgate.yaml"]
