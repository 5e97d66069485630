# A watcher for Railway (docs/RAILWAY.md): the binary with a shell beside it, so that `railway ssh` works.
#
#   docker build -t ghcr.io/YOU/outrigger-watcher:1 -f examples/railway/watcher.Dockerfile .
FROM alpine:3.22
COPY --from=ghcr.io/YOU/outrigger:1 /outrigger /usr/local/bin/outrigger
ENTRYPOINT ["outrigger", "watch"]
