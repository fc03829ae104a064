"""The heat semigroup of a box."""
