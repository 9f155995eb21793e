"""A whole RDO on one machine: real DLRN, container registries, image server, and CI that votes."""
