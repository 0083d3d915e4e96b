"""Clusters: which nodes there are, which of them is the writer, and what follows."""
