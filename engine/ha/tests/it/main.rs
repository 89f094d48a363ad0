//! Elections, retrieval and entries, in a real ZooKeeper quorum and in a real Kubernetes API server.

mod contender;
mod kubernetes;
mod scenarios;
mod site;
mod zookeeper;
