"""The real programs of the tests and examples: found where they are, built where they are not."""
