# The page in a container: `docker build -t mhc-demo .`, then `docker run -p 5006:5006 mhc-demo`.
# The first stage installs the tested versions into /opt/venv; the image is a slim Python and that
# folder.  It writes nothing: run it --read-only.  For several servers behind a proxy see compose.yaml.
#
# Build arguments:
#   BASE_IMAGE   any image with Python >= 3.11 and venv
#   EXTRAS       extras of pyproject.toml.  None: NumPy computes, on the CPU.  "broker" adds
#                what several servers of a hall need that takes part (compose.yaml), "hall" also
#                Numba, which computes a change in a fraction of the time; "lab" adds PyTorch and
#                what else the view Lab needs.  "torch" adds PyTorch alone, for the Device control;
#                with CUDA its kernels are compiled on first use, for which Triton needs a C compiler
#                that the slim image lacks:
#                docker build --build-arg EXTRAS=torch --build-arg BASE_IMAGE=python:3.13-trixie \
#                  -t mhc-demo:cuda .
#                docker run --gpus all -p 5006:5006 mhc-demo:cuda --device cuda
#   PIP_EXTRA_INDEX_URL  another package index, as for a CPU-only PyTorch, which is some GB smaller
ARG BASE_IMAGE=python:3.13.7-slim-trixie

FROM ${BASE_IMAGE} AS build
ARG EXTRAS=""
ARG PIP_EXTRA_INDEX_URL
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
# Every option of `mhc-demo serve` that takes a value has such a variable: MHC_DEMO_SERVE_NUM_PROCS, ...
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    MHC_DEMO_SERVE_ADDRESS=0.0.0.0 \
    MHC_DEMO_SERVE_PORT=5006
# By number, without an account of that name: Kubernetes can check that it is not root.
USER 10001:10001
EXPOSE 5006
# /liveness, because a page would open a session; http.client, because it ignores proxy settings.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s CMD ["python", "-c", "import http.client, os, sys; server = http.client.HTTPConnection('127.0.0.1', int(os.environ['MHC_DEMO_SERVE_PORT']), timeout=4); server.request('GET', '/liveness'); sys.exit(server.getresponse().status != 200)"]
STOPSIGNAL SIGTERM
# Further options follow the image's name: docker run ... mhc-demo --depth 64
ENTRYPOINT ["mhc-demo", "serve"]
