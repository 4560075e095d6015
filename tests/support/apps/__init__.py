"""What the workers of the tests run, and what enqueues to them."""
