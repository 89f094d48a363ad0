//! Which JobManager leads, and what a new leader finds of the one before: in ZooKeeper, in Kubernetes, or nowhere.
