# Postbox with a PostgreSQL of yours:
#
#   docker build -t postbox .
#   docker run -p 1883:1883 -p 8080:8080 -e POSTBOX_DATABASE_URL=postgres://… postbox
#
# POSTBOX_DATABASE_URL is required: the image holds no PostgreSQL to embed.
# Accounts: docker exec -i CONTAINER postbox user add NAME --password-stdin

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /postbox ./cmd/postbox

# Nothing but the program and the certificates to check a database's with.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /postbox /usr/local/bin/postbox
USER 65532:65532

# Inside a container 127.0.0.1 would reach nobody. The private address stays
# there, for the health check; set POSTBOX_LISTEN_PRIVATE=0.0.0.0:9090 for probes
# from outside, in a network that strangers do not reach.
ENV POSTBOX_LISTEN_MQTT=0.0.0.0:1883 \
    POSTBOX_LISTEN_HTTP=0.0.0.0:8080
EXPOSE 1883 8080

HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/local/bin/postbox", "health"]
ENTRYPOINT ["/usr/local/bin/postbox"]
CMD ["serve"]
