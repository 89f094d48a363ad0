//! A cluster of which every step is chosen by a seed.
