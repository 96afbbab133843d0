# One image, both programs: `autossh` (the drop-in, and the supervisor in sidecars and gateways) and `autossh-operator`.
#
# `docker build .` works from a fresh clone: the first stage makes dist/ with npm. Where `npm run build` has made it before, and no
# source is newer, the first stage takes it as it is and needs no network.
FROM docker.io/library/node:24-trixie-slim AS dist
WORKDIR /src
COPY . .
# Install scripts stay off: what this build uses (esbuild) works without them.
RUN if [ ! -e dist/autossh.cjs ] || [ -n "$(find src test package.json package-lock.json -newer dist/autossh.cjs -type f -print -quit)" ]; then \
      npm ci --ignore-scripts --no-audit --no-fund && node test/support/build.ts; \
    fi

FROM docker.io/library/node:24-trixie-slim
# tini reaps what ssh leaves behind, since Node waits only for its own children. libnss-wrapper gives a uid without an entry in
# /etc/passwd (OpenShift picks one) the name that ssh insists on. setpriv is in util-linux, which Debian always has: it makes ssh end with us.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends openssh-client tini libnss-wrapper util-linux \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
# A uid that no application is likely to have: a process of the same uid in a shared process namespace could read the key.
RUN groupadd --gid 27222 autossh \
 && useradd --uid 27222 --gid 27222 --create-home --shell /usr/sbin/nologin autossh
COPY --from=dist --chown=0:0 --chmod=0755 /src/dist/ /usr/local/lib/autossh-operator/
# Only the two programs: the other files are commands of autossh-operator, which it loads from beside itself.
RUN for program in autossh autossh-operator; do \
      ln -s "../lib/autossh-operator/$program.cjs" "/usr/local/bin/$program"; \
    done
# Numeric, so that a kubelet can tell that it is not root.
USER 27222:27222
WORKDIR /home/autossh
# Nothing below / is written to: a read-only root needs only a writable /tmp, or the /dev/shm that every container has.
# -s: with a shared process namespace tini is not PID 1.
ENTRYPOINT ["/usr/bin/tini", "-s", "--"]
CMD ["autossh-operator"]
LABEL org.opencontainers.image.title="autossh-operator" \
      org.opencontainers.image.description="Keeps SSH tunnels alive, on Kubernetes and off it" \
      org.opencontainers.image.licenses="Apache-2.0"
