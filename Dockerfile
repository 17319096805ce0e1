# The page in a container: `docker build -t mhc-demo .`, then `docker run -p 5006:5006 mhc-demo`.
# A first stage installs into /opt/venv, with the versions that the tests ran with; the image is a
# slim Python and that folder, and writes nothing: run it --read-only.  For several processes behind
# a proxy see compose.yaml.
#
# Build arguments:
#   BASE_IMAGE   any image with Python >= 3.11 and venv
#   EXTRAS       extras of pyproject.toml.  None: NumPy alone computes, on the CPU.  "torch" adds
#                PyTorch with CUDA (some GB) for the page's Device control; its kernels are compiled
#                on first use, for which Triton needs the C compiler that the slim image lacks:
#                docker build --build-arg EXTRAS=torch --build-arg BASE_IMAGE=python:3.13-trixie \
#                  -t mhc-demo:cuda .
#                docker run --gpus all -p 5006:5006 mhc-demo:cuda --device cuda
#                "lab" adds what the view Lab trains with, PyTorch among it.
ARG BASE_IMAGE=python:3.13.7-slim-trixie

FROM ${BASE_IMAGE} AS build
ARG EXTRAS=""
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY static static
COPY mhc_demo mhc_demo
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install -c constraints.txt ".${EXTRAS:+[$EXTRAS]}" \
 && /opt/venv/bin/pip uninstall --yes pip

FROM ${BASE_IMAGE}
COPY --from=build /opt/venv /opt/venv
# Every option of `mhc-demo serve` that takes a value can be set so: MHC_DEMO_SERVE_NUM_PROCS, ...
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    MHC_DEMO_SERVE_ADDRESS=0.0.0.0 \
    MHC_DEMO_SERVE_PORT=5006
# No account is needed for it, and a number is what Kubernetes can check.
USER 10001:10001
EXPOSE 5006
# Asks for no page: that would be a visitor's session.  http.client heeds no proxy settings.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["python", "-c", "import http.client, os, sys; server = http.client.HTTPConnection('127.0.0.1', int(os.environ['MHC_DEMO_SERVE_PORT']), timeout=4); server.request('GET', '/liveness'); sys.exit(server.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
# What comes after the image's name are further options: docker run ... mhc-demo --depth 64
ENTRYPOINT ["mhc-demo", "serve"]
