"""The peers: other servers of the field, each set up the way its own documentation tells."""
