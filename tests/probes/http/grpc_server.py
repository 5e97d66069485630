"""A gRPC server with the standard health service, as most are made: by grpcio and grpcio-health-checking.

grpc_server.py ADDRESS [--bare] [--tls CERTIFICATE KEY]: --bare leaves the health service out.
"""

import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
if "--bare" not in sys.argv:
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    servicer.set("shop.Stock", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
if "--tls" in sys.argv:
    certificate, key = sys.argv[sys.argv.index("--tls") + 1 :]
    with open(certificate, "rb") as chain, open(key, "rb") as private:
        credentials = grpc.ssl_server_credentials([(private.read(), chain.read())])
    server.add_secure_port(sys.argv[1], credentials)
else:
    server.add_insecure_port(sys.argv[1])
server.start()
server.wait_for_termination()
