//! The node agent: drives node-core with the runtime, network, volumes and images of one node.
