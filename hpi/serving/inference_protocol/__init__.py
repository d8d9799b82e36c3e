"""The Open Inference Protocol (KServe's v2) over HTTP and gRPC, so that its clients and routers reach the pipeline."""
