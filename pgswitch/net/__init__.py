"""The network: listening, connecting, and the protocols of both sides."""
