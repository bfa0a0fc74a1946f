//! The data plane: an HTTP load balancer that runs from a routing table alone.
