//! The harness and the fixtures of the black-box tests. Not published.
